"""Replay a lake's real events, with delays and repetitions put in, and compare the three ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from feature_repo.state.tiles import LoggedEvent
from feature_repo.windows import DAY, HOUR, MINUTE
from tests.parity.harness import Delivery, Point, accept, by_fold, by_oracle, by_sql, differences
from tests.reference.lake_events import logged_events


@dataclass(frozen=True)
class Comparison:
    """One row of the parity matrix."""

    left: str
    right: str
    values: int
    different: int
    first: tuple[tuple[int, str, FeatureValue, FeatureValue], ...]


@dataclass(frozen=True)
class Replay:
    """A log as it would have arrived, and the points to compare at."""

    log: list[Delivery]
    points: list[Point]


def replay_of(lake: Path, points: int, seed: int = 11) -> Replay:
    """About `points` points of customers drawn at random, each with all of the customer's events.

    A tenth of the events arrive late, some arrive twice, and instants stand where windows open or
    close, at events themselves, and long after the last one, when only the clock moves.
    """
    chance = random.Random(seed)
    by_customer = logged_events(lake)
    chosen = chance.sample(sorted(by_customer), min(len(by_customer), max(1, points // 5)))
    deliveries: list[Delivery] = []
    asked: list[Point] = []
    for customer in chosen:
        events = [_delayed(event, chance) for event in by_customer[customer]]
        deliveries += [Delivery(f"{customer}/{event.position}", customer, event) for event in events]
        asked += [Point(customer, instant) for instant in _instants(events, chance)]
    repeated = chance.sample(deliveries, len(deliveries) // 20)
    arriving = sorted(deliveries + repeated, key=lambda d: d.event.available_at)
    return Replay(accept(arriving), asked)


def _delayed(event: LoggedEvent, chance: random.Random) -> LoggedEvent:
    late = chance.choice([MINUTE, HOUR, 3 * DAY, 40 * DAY]) if chance.random() < 0.1 else 0
    return replace(event, available_at=event.available_at + late)


def _instants(events: Sequence[LoggedEvent], chance: random.Random) -> list[int]:
    any_event = chance.choice(events).event_time
    edge = any_event + chance.choice([MINUTE, HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY])
    last = max(max(e.event_time, e.available_at) for e in events)
    return [
        any_event,
        edge + chance.choice([-1, 0, 1]),
        (edge // DAY + 1) * DAY,
        last + 1,
        last + chance.choice([DAY, 31 * DAY, 400 * DAY]),
    ]


def compare(
    spec: FeatureSpec, names: Sequence[str], replay: Replay, step: Callable[[str], None] = lambda name: None
) -> list[Comparison]:
    """Oracle against SQL and fold, and SQL against itself on the log cut at each as-of instant."""
    ways: dict[str, list[list[FeatureValue]]] = {}
    for name, way in (("oracle", by_oracle), ("SQL", by_sql), ("fold", by_fold)):
        step(name)
        ways[name] = way(spec, names, replay.log, replay.points)
    step("SQL on the cut log")
    ways["SQL on the cut log"] = by_sql_on_cut_logs(spec, names, replay)
    pairs = [("oracle", "SQL"), ("oracle", "fold"), ("SQL", "fold"), ("SQL", "SQL on the cut log")]
    return [_comparison(names, left, right, ways[left], ways[right]) for left, right in pairs]


def by_sql_on_cut_logs(spec: FeatureSpec, names: Sequence[str], replay: Replay) -> list[list[FeatureValue]]:
    """Each point over a log that ends at its as-of instant, as if nothing later had ever been stored.

    The cut log of a point is given to a customer of its own, so that one query answers all points.
    """
    of_customer: dict[str, list[Delivery]] = {}
    for delivery in replay.log:
        of_customer.setdefault(delivery.customer, []).append(delivery)
    log: list[Delivery] = []
    points: list[Point] = []
    for i, point in enumerate(replay.points):
        alone = f"{i}"
        points.append(Point(alone, point.as_of))
        for delivery in of_customer[point.customer]:
            event = delivery.event
            if event.event_time < point.as_of and event.available_at <= point.as_of:
                log.append(replace(delivery, customer=alone))
    return by_sql(spec, names, log, points)


def _comparison(
    names: Sequence[str],
    left: str,
    right: str,
    a: Sequence[Sequence[FeatureValue]],
    b: Sequence[Sequence[FeatureValue]],
) -> Comparison:
    found = differences(names, a, b)
    return Comparison(left, right, len(a) * len(names), len(found), tuple(found[:3]))
