"""The part about decisions: how long one takes beside a prediction, and what a plan for many customers takes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from statistics import median

from pipelines.catalogue import Catalogue
from pipelines.decisions.decide import decide as decide_one
from pipelines.decisions.situation import Situation
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, load_settings
from pipelines.state_build import build_state
from serving.bootstrap import wire
from serving.decisions.readings import Readings
from tests.benchmarks.measure import Figure, interleave, ratios, slowest_of_a_hundred
from tests.benchmarks.place import Place, Size
from tests.benchmarks.processes import run_module
from tests.benchmarks.servers import READY_SECONDS, SERVERS, KeepAlive, Predict, serving
from tests.unit.decide_batch_parts import publish_effects

PURPOSES = ("marketing",)
_GRANTED_AT = 1_600_000_000_000_000
KINDS = {
    "allocate": "a budget over predicted values", "plan": "plan from features", "whole": "twin decide --all",
}  # fmt: skip


def decide(place: Place, size: Size) -> list[Figure]:
    """A decision beside a prediction, in process and over HTTP; plans for many, a process each, with memory."""
    settings = prepared(place)
    with serving(SERVERS["ours"], settings.workspace) as port:
        posts = {"predict": KeepAlive(port).post, "decide": KeepAlive(port, "/v1/decide").post}
        _warm(posts["decide"], place.customers[0])
        over_http = compare_decisions(place, size, posts)
    return [*in_process(settings, place, size), *over_http, *plans(size)]


def prepared(place: Place) -> Settings:
    """The workspace with a champion of effects, and customers who may be contacted."""
    settings = replace(load_settings(), workspace=place.settings.workspace)
    if not (settings.workspace.bentoml_home / "models" / "next_best_action").exists():
        publish_effects(settings)
    open_identity(settings).apply([_consent(number, who) for number, who in enumerate(place.customers)])
    # What was said changes whose events count: else each state would be made anew as the service opens its files.
    build_state(settings)
    return settings


def in_process(settings: Settings, place: Place, size: Size) -> list[Figure]:
    """Features are read of the states in each call but in `decide alone`; nothing is kept."""
    catalogue, wiring = _catalogue(settings), wire(settings)
    predictor, reading = wiring.predictor("churn"), Readings(settings).reading(catalogue, wiring)
    names = [cycle(place.customers) for _ in range(3)]
    known = {customer: _situation(reading, catalogue, customer) for customer in place.customers[:200]}
    made = cycle(known.values())
    one = {
        "predict": lambda: predictor.one(next(names[0]), False),
        "decide": lambda: decide_one(catalogue, _situation(reading, catalogue, next(names[1]))),
        "decide alone": lambda: decide_one(catalogue, next(made)),
    }
    return _timed("decide", {f"{name}, in process": call for name, call in one.items()}, size)


def compare_decisions(place: Place, size: Size, posts: Mapping[str, Predict]) -> list[Figure]:
    """Over HTTP. A decision is durable: it waits for the disk twice.

    Raises:
        RuntimeError: one answers with an error.
    """

    def asking(name: str) -> Callable[[], object]:
        bodies = cycle([json.dumps({"customer_id": customer}).encode() for customer in place.customers])

        def ask() -> None:
            status, answer = posts[name](next(bodies))
            if status != 200:
                raise RuntimeError(f"{name}: {status}: {answer!r}")

        return ask

    return _timed("decide", {f"{name}, HTTP": asking(name) for name in posts}, size)


def _warm(decide: Predict, customer: str) -> None:
    """The first decision opens everything, which a busy machine may not manage within the service's time-out."""
    until = time.monotonic() + READY_SECONDS
    while decide(json.dumps({"customer_id": customer}).encode())[0] == 504 and time.monotonic() < until:
        time.sleep(1.0)


def plans(size: Size) -> list[Figure]:
    """Each in a process of its own, once a round for small sizes; the smallest is the peer by customer."""
    found = []
    for kind, words in KINDS.items():
        sizes = size.planned_whole if kind == "whole" else size.planned
        taken: list[list[float]] = []
        for customers in sizes:
            runs = [_run(kind, customers) for _ in range(min(2, size.rounds))]
            seconds = [told["seconds"] / customers for told in runs]
            taken.append(seconds)
            peak = median(told["megabytes"] for told in runs)
            name = f"{words}, {customers:,}, {median(seconds) * customers:,.1f} s, {peak:,.0f} MB"
            peer = f"{words}, {sizes[0]:,}"
            relative = () if customers == sizes[0] else ratios(seconds, taken[0])
            found.append(Figure("decide", name, tuple(seconds), "customers", 1, peer, relative))
    return found


def _run(kind: str, customers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        if kind == "whole":
            run_module("tests.benchmarks.batch", "prepare", str(customers), folder)
        return run_module("tests.benchmarks.batch", kind, str(customers), folder)


def _timed(part: str, contenders: Mapping[str, Callable[[], object]], size: Size) -> list[Figure]:
    slow = {f"{name}, p99": call for name, call in contenders.items()}
    return [
        *interleave(part, contenders, size.rounds, size.calls, "calls"),
        *interleave(part, slow, size.rounds, size.calls, "calls", summary=slowest_of_a_hundred),
    ]


def _situation(reading: object, catalogue: Catalogue, customer: str) -> Situation:
    known = reading.of(customer, {})  # type: ignore[attr-defined]
    return Situation(
        decision_id=customer, customer_id=customer, as_of=known.as_of, basis="effect", features=known.features,
        consents=PURPOSES, contacts=(), predicted=known.predicted, spent=0, shadow_price=0.0,
    )  # fmt: skip


def _catalogue(settings: Settings) -> Catalogue:
    if settings.catalogue is None:
        raise RuntimeError("configs/actions.yaml is mistaken")
    return settings.catalogue


def _consent(number: int, customer: str) -> StoredEvent:
    said = {"purpose": PURPOSES[0], "granted": True}
    event = NewEvent(
        "bench", f"consent-{number}", "Consent Updated", _GRANTED_AT, _GRANTED_AT, "web", customer, properties=said
    )
    return StoredEvent(number + 1, event)
