"""Replay events, with delays and repetitions put in, and compare all ways to their features."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from feature_repo.state.storage import StateStorage
from feature_repo.state.tiles import LoggedEvent
from feature_repo.windows import DAY, HOUR, MINUTE
from tests.parity.harness import Delivery, Point, accept, by_fold, by_oracle, by_sql, dense_log, differences
from tests.parity.spark import by_spark
from tests.parity.stores import by_stores
from tests.reference.lake_events import logged_events

Way = Callable[[FeatureSpec, Sequence[str], Sequence[Delivery], Sequence[Point]], list[list[FeatureValue]]]


@dataclass(frozen=True)
class Comparison:
    """One row of the parity matrix: a way to features against the oracle."""

    way: str
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
    spec: FeatureSpec,
    names: Sequence[str],
    replay: Replay,
    stores: Mapping[str, StateStorage],
    step: Callable[[str], None] = lambda name: None,
    spark: bool = True,
) -> list[Comparison]:
    """The oracle against every other way: SQL (also on the log cut at each as-of instant), Spark, fold, each store."""
    ways: dict[str, list[list[FeatureValue]]] = {}
    known: dict[str, Way] = {"SQL": by_sql, "SQL, log cut": by_sql_on_cut_logs, "fold, one by one": by_fold}
    if spark:
        known["Spark"] = by_spark
    step("oracle")
    truth = by_oracle(spec, names, replay.log, replay.points)
    for name, way in known.items():
        step(name)
        ways[name] = way(spec, names, replay.log, replay.points)
    step("bulk builds and online stores")
    ways |= by_stores(spec, names, replay.log, replay.points, stores)
    return [_comparison(names, name, truth, found) for name, found in ways.items()]


def by_sql_on_cut_logs(
    spec: FeatureSpec, names: Sequence[str], deliveries: Sequence[Delivery], at: Sequence[Point]
) -> list[list[FeatureValue]]:
    """Each point over a log that ends at its as-of instant, as if nothing later had ever been stored.

    The cut log of a point is given to a customer of its own, so that one query answers all points.
    """
    of_customer: dict[str, list[Delivery]] = {}
    for delivery in deliveries:
        of_customer.setdefault(delivery.customer, []).append(delivery)
    log: list[Delivery] = []
    points: list[Point] = []
    for i, point in enumerate(at):
        alone = f"{i}"
        points.append(Point(alone, point.as_of))
        for delivery in of_customer.get(point.customer, ()):
            event = delivery.event
            if event.event_time < point.as_of and event.available_at <= point.as_of:
                log.append(replace(delivery, customer=alone))
    return by_sql(spec, names, log, points)


def _comparison(
    names: Sequence[str], way: str, truth: Sequence[Sequence[FeatureValue]], found: Sequence[Sequence[FeatureValue]]
) -> Comparison:
    different = differences(names, truth, found)
    return Comparison(way, len(truth) * len(names), len(different), tuple(different[:3]))


def dense_replay(seeds: range) -> Replay:
    """Made-up logs with many events a customer and every nasty value, as one, with customers of their own."""
    log: list[Delivery] = []
    points: list[Point] = []
    for seed in seeds:
        delivered, at = dense_log(seed)
        for delivery in accept(delivered):
            log.append(replace(delivery, key=f"{seed}/{delivery.key}", customer=f"{seed}/{delivery.customer}"))
        points += [replace(point, customer=f"{seed}/{point.customer}") for point in at]
    return Replay(accept(log), points)
