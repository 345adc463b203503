"""The soak: how much the service can do, then most of that for a while, with everything going on beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from pipelines.events import lake
from pipelines.events.opening import event_store
from pipelines.feature_audit.vectors import audit_vectors
from tests.soak.calls import call
from tests.soak.http import Connection
from tests.soak.load import Heard, closed_loop, timetable
from tests.soak.memory import Growth, Samples, growth
from tests.soak.place import SOURCE, Place

CLIENTS, CONNECTIONS = 8, 64
_WARM_SHARE = 0.2
_SAMPLE = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """`share` of the capacity is asked for; memory may not grow by more than `bound` megabytes a minute."""

    seconds: float
    capacity_seconds: float = 20.0
    share: float = 0.7
    swaps: int = 3
    bound: float = 1.0


@dataclass(frozen=True, slots=True)
class Soaked:
    """`percentiles` in milliseconds (p50, p99, p99.9) by kind; `pauses` in milliseconds by generation."""

    plan: Plan
    capacity: float
    rate: float
    calls: int
    percentiles: Mapping[str, tuple[int, float, float, float]]
    errors: Counter[str]
    memory: Growth
    pauses: Mapping[int, list[float]]
    swaps: list[str]
    moves: int
    lost: int
    twice: int
    audit: str
    audit_passed: bool
    restarted: bool

    @property
    def mistakes(self) -> list[str]:
        """All that must not be; empty where it holds."""
        found = [f"{count} times {what}" for what, count in self.errors.most_common(10)]
        found += [f"{self.lost} acknowledged events are not there"] if self.lost else []
        found += [f"{self.twice} events are there twice"] if self.twice else []
        found += [f"{len(self.swaps)} swaps of {self.plan.swaps}"] if len(self.swaps) < self.plan.swaps else []
        found += ["the journal did not move"] if self.moves == 0 else []
        found += ["a worker was started again"] if self.restarted else []
        found += [] if self.audit_passed else [self.audit]
        if self.memory.low > self.plan.bound:
            found.append(f"memory grows by more than {self.plan.bound} MB a minute")
        return found

    def text(self) -> str:
        memory = self.memory
        lines = [
            f"capacity {self.capacity:,.0f} calls/s ({CLIENTS} clients, {self.plan.capacity_seconds:.0f} s); then"
            f" {self.rate:,.0f} calls/s by a timetable for {self.plan.seconds:.0f} s: {self.calls:,} calls,"
            f" {self.errors.total()} errors",
            f"{'kind':<14}{'calls':>9}{'p50 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}",
            *(
                f"{kind:<14}{count:>9,}{p50:>10.2f}{p99:>10.2f}{p999:>10.2f}"
                for kind, (count, p50, p99, p999) in self.percentiles.items()
            ),
            f"memory of the worker after warm-up, in MB: {' '.join(f'{size:.0f}' for size in memory.windows)};"
            f" {memory.most:.0f} at most; {memory.slope:+.2f} MB a minute"
            f" (95 %: {memory.low:+.2f} to {memory.high:+.2f}; bound {self.plan.bound})",
            *(
                f"collections of generation {generation} over 1 ms: {len(taken)}, longest {max(taken):.1f} ms"
                for generation, taken in sorted(self.pauses.items())
            ),
            f"model swaps: {', '.join(self.swaps)}; the journal moved {self.moves} times",
            f"{self.audit.splitlines()[0]}",
        ]
        return "\n".join([*lines, *(f"MISTAKE: {what}" for what in self.mistakes)])


def soak(place: Place, plan: Plan) -> Soaked:
    """Measure, load, and look at what is left afterwards."""
    host, port = place.address
    key, customers = place.key, place.customers

    def connect() -> Connection:
        return Connection(host, port, key)

    _warm(place)
    workers = place.server.workers()
    measured, capacity = asyncio.run(
        closed_loop(lambda number: call(number, "capacity", customers), connect, CLIENTS, plan.capacity_seconds)
    )
    rate = capacity * plan.share
    before = lake.version(place.settings.workspace.lake) or 0
    swaps: list[str] = []
    done = threading.Event()
    swapper = threading.Thread(target=_swap, args=(place, plan, swaps, done), daemon=True)
    with Samples(place.server.workers) as samples:
        swapper.start()
        heard = asyncio.run(
            timetable(lambda number: call(number, "soak", customers), connect, CONNECTIONS, rate, plan.seconds)
        )
        done.set()
        swapper.join()
    moves = (lake.version(place.settings.workspace.lake) or 0) - before
    lost, twice = _missing(place, [*measured.acknowledged, *heard.acknowledged])
    audit = audit_vectors(place.settings, _SAMPLE, seed=1)
    return Soaked(
        plan,
        capacity,
        rate,
        heard.calls,
        _percentiles(heard),
        measured.errors + heard.errors,
        growth(samples.taken, plan.seconds * _WARM_SHARE),
        _pauses(place.folder, workers),
        swaps,
        moves,
        lost,
        twice,
        audit.text(),
        audit.passed,
        place.server.workers() != workers,
    )


def _warm(place: Place) -> None:
    """Until an event, a prediction and a decision are answered: the first of each imports engines."""
    host, port = place.address
    until = time.monotonic() + 120
    with httpx.Client(base_url=f"http://{host}:{port}", auth=(place.key, ""), timeout=60, trust_env=False) as client:
        for number in range(100):
            asked = call(number, "warm", place.customers)
            while (answer := client.post(asked.path, content=asked.body, headers=_JSON)).status_code != 200:
                assert time.monotonic() < until, answer.text
                time.sleep(0.1)


_JSON = {"Content-Type": "application/json"}


def _swap(place: Place, plan: Plan, swaps: list[str], done: threading.Event) -> None:
    for _ in range(plan.swaps):
        if done.wait(plan.seconds / (plan.swaps + 1)):
            return
        swaps.append(place.swap())


def _percentiles(heard: Heard) -> dict[str, tuple[int, float, float, float]]:
    found = {}
    for kind, seconds in sorted(heard.waited.items()):
        p50, p99, p999 = np.percentile(np.array(seconds) * 1e3, [50, 99, 99.9])
        found[kind] = (len(seconds), float(p50), float(p99), float(p999))
    return found


def _pauses(folder: Path, workers: list[int]) -> dict[int, list[float]]:
    found: dict[int, list[float]] = {}
    for pid in workers:
        file = folder / f"gc-{pid}"
        for line in file.read_text().splitlines() if file.exists() else []:
            generation, seconds = line.split()
            found.setdefault(int(generation), []).append(float(seconds) * 1e3)
    return found


def _missing(place: Place, acknowledged: list[str]) -> tuple[int, int]:
    """How many acknowledged events are in neither lake nor journal, and how many are there twice."""
    with event_store(place.settings) as store:
        events = store.read()
    pairs = zip(events["source"].to_pylist(), events["event_id"].to_pylist(), strict=True)
    stored = Counter(event_id for source, event_id in pairs if source == SOURCE)
    return len(set(acknowledged) - set(stored)), sum(count > 1 for count in stored.values())
