"""The three ways to a feature value, side by side: naive oracle, SQL, and the fold over tiles."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec
from feature_repo.sql import features_query
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import LoggedEvent, fold
from feature_repo.windows import DAY, HOUR, MINUTE
from tests.reference.naive_features import naive_features


@dataclass(frozen=True)
class Delivery:
    """An event as a source delivers it: perhaps late, perhaps twice; `key` is its source and id."""

    key: str
    customer: str
    event: LoggedEvent


@dataclass(frozen=True)
class Point:
    customer: str
    as_of: int


def accept(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """What the log holds after these deliveries: each key once, positions in order of acceptance."""
    log: dict[str, Delivery] = {}
    for delivery in deliveries:
        if delivery.key not in log:
            log[delivery.key] = replace(delivery, event=replace(delivery.event, position=len(log)))
    return list(log.values())


def by_oracle(
    spec: FeatureSpec, names: Sequence[str], log: Sequence[Delivery], points: Sequence[Point]
) -> list[list[FeatureValue]]:
    events = events_of(log)
    return [naive_features(spec, names, events.get(point.customer, []), point.as_of) for point in points]


def events_of(log: Sequence[Delivery]) -> dict[str, list[LoggedEvent]]:
    """The events of each customer, in the order of the log."""
    found: dict[str, list[LoggedEvent]] = defaultdict(list)
    for delivery in log:
        found[delivery.customer].append(delivery.event)
    return found


def by_sql(
    spec: FeatureSpec, names: Sequence[str], log: Sequence[Delivery], points: Sequence[Point]
) -> list[list[FeatureValue]]:
    connection = duckdb.connect()
    connection.register("customer_events", events_table(log))
    numbered = [(i, p.customer, p.as_of) for i, p in enumerate(points)]
    connection.register("points", _table(numbered, POINT_SCHEMA))
    rows = connection.execute(features_query(spec, names)).fetchall()
    return [list(row[1:]) for row in rows]


def by_fold(
    spec: FeatureSpec, names: Sequence[str], log: Sequence[Delivery], points: Sequence[Point]
) -> list[list[FeatureValue]]:
    """Each point read from the state as it stood then: the events folded one at a time as they arrived."""
    reader = StateReader(spec, names)
    answers: dict[int, list[FeatureValue]] = {}
    events, asked = events_of(log), defaultdict(list)
    for i, point in enumerate(points):
        asked[point.customer].append((point.as_of, i))
    for customer, mine in asked.items():
        arrivals = sorted(events.get(customer, []), key=lambda e: e.available_at)
        state: bytes | None = None
        at = 0
        for as_of, i in sorted(mine):
            while at < len(arrivals) and arrivals[at].available_at <= as_of:
                state = fold(reader.plan, state, [replace(arrivals[at], position=at)])
                at += 1
            answers[i] = reader.read(state, as_of)
    return [answers[i] for i in range(len(points))]


EVENT_COLUMNS = pa.schema(
    [
        ("customer_id", pa.string()), ("event", pa.string()), ("channel", pa.string()), ("value", pa.int64()),
        ("properties", pa.string()), ("position", pa.int64()), ("event_time", pa.int64()), ("available_at", pa.int64()),
    ]
)  # fmt: skip
POINT_SCHEMA = pa.schema([("point", pa.int64()), ("customer_id", pa.string()), ("as_of", pa.int64())])


def events_table(log: Sequence[Delivery]) -> pa.Table:
    """The log as the relation `customer_events`."""
    rows = [
        (d.customer, e.event, e.channel, e.value, json.dumps(dict(e.properties)), e.position, e.event_time,
         e.available_at)
        for d in log
        for e in [d.event]
    ]  # fmt: skip
    return _table(rows, EVENT_COLUMNS)


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [[] for _ in schema]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def differences(
    names: Sequence[str], left: Sequence[Sequence[FeatureValue]], right: Sequence[Sequence[FeatureValue]]
) -> list[tuple[int, str, FeatureValue, FeatureValue]]:
    """Every value that is not the same in type and to the last bit."""
    return [
        (row, name, a, b)
        for row, (mine, theirs) in enumerate(zip(left, right, strict=True))
        for name, a, b in zip(names, mine, theirs, strict=True)
        # By their text, in which a float's bits show: 0.0 and -0.0 are equal otherwise.
        if type(a) is not type(b) or repr(a) != repr(b)
    ]


def dense_log(seed: int, events: int = 150) -> tuple[list[Delivery], list[Point]]:
    """Two customers with many events over forty days, whole runs of days among them, and points all over."""
    chance = random.Random(seed)
    begin = 19_000 * DAY
    delivered = []
    for i in range(events):
        at = begin + chance.randrange(40) * DAY + chance.choice([0, 5, 6, 11, 17, 18, 23]) * HOUR
        at += chance.choice([0, 0, 1, 17 * MINUTE, chance.randrange(HOUR)])
        properties: dict[str, object] = {"units": chance.choice([1, 2, 3, 7, -(10**12), 10**12, 2**60, True, "3"])}
        if chance.random() < 0.7:
            properties["coupon"] = chance.choice(["a", "b", "c", "d", "é 'x", "", 4])
        if chance.random() < 0.7:
            products = [{"product_id": chance.choice("abcde")} for _ in range(chance.randrange(4))]
            properties["products"] = products
        event = LoggedEvent(
            -1,
            chance.choice(["Order Completed"] * 5 + ["Clicked", "Ignored"]),
            at,
            at + chance.choice([0, 0, 0, 1, HOUR, 3 * DAY]),
            chance.choice(["web", "pos", "app"]),
            chance.choice([None, chance.randrange(-(10**6), 10**6), 10**12]),
            properties | ({"gift": chance.choice([True, False, 1])} if chance.random() < 0.3 else {}),
        )
        delivered.append(Delivery(f"source-{i}", chance.choice(["one", "two"]), event))
    instants = [chance.choice(delivered).event.event_time + chance.choice([0, 1, HOUR, DAY, 7 * DAY]) for _ in range(8)]
    instants += [begin + chance.randrange(45) * DAY + chance.choice([0, 17 * HOUR]) for _ in range(4)]
    points = [Point(chance.choice(["one", "two", "nobody"]), instant) for instant in instants]
    return delivered + chance.sample(delivered, events // 10), points


EVERY_OPERATION = {
    "version": 1,
    "utc_offset": "+07:00",
    "distinct_cap": 3,
    "recent_cap": 4,
    "days_cap": 5,
    "views": [
        {
            "name": "orders", "description": "", "owner": "test", "event": "Order Completed",
            "windows": ["5m", "1h", "1d", "7d", "30d", "lifetime"],
            "features": [
                {"operation": "count"},
                {"operation": "count", "by": {"channel": ["web", "pos"]}, "windows": ["1h", "30d"]},
                {"operation": "count", "by": {"hour": [{"below": 6}, {"at_least": 6, "below": 18}, {"at_least": 18}]},
                 "windows": ["30d"]},
                {"operation": "count", "by": {"properties.coupon": ["a", ["b", "é 'x"], {"not": "a"}]},
                 "windows": ["7d", "lifetime"]},
                {"operation": "count", "where": {"properties.coupon": {"exists": True}}, "windows": ["30d"]},
                {"operation": "count", "where": {"properties.coupon": {"exists": False}}, "windows": ["30d"]},
                {"operation": "count", "where": {"weekday": [6, 7]}, "windows": ["30d"]},
                {"operation": "count", "where": {"properties.gift": True}, "windows": ["lifetime"]},
                {"operation": "count", "where": {"properties.units": [1, True, "3"]}, "windows": ["lifetime"]},
                {"operation": "sum", "of": "value"},
                {"operation": "sum", "of": "value",
                 "where": {"properties.units": {"above": 0, "at_most": 7}, "channel": ["web", "app"]},
                 "windows": ["7d", "lifetime"]},
                {"operation": "mean", "of": "value"},
                {"operation": "mean", "of": "value", "where": {"channel": "web"}, "windows": ["7d"]},
                {"operation": "variance", "of": "value"},
                {"operation": "variance", "of": "properties.units", "windows": ["7d"]},
                {"operation": "min", "of": "properties.units"},
                {"operation": "max", "of": "properties.units"},
                {"operation": "first", "of": "value"},
                {"operation": "first", "of": "properties.units", "windows": ["lifetime", "1d"]},
                {"operation": "last", "of": "value"},
                {"operation": "last", "of": "properties.units", "windows": ["lifetime", "1d"]},
                {"operation": "distinct", "of": "properties.products[].product_id"},
                {"operation": "distinct", "of": "properties.coupon", "windows": ["1h", "7d", "lifetime"]},
                {"operation": "distinct", "of": "channel", "windows": ["30d"]},
                {"operation": "top", "of": "properties.products[].product_id", "windows": ["1h", "30d", "lifetime"]},
                {"operation": "top", "of": "channel", "windows": ["7d", "lifetime"]},
                {"operation": "top", "of": "hour", "windows": ["30d"]},
                {"operation": "top", "of": "properties.coupon", "where": {"channel": "web"}, "windows": ["30d"]},
                {"operation": "latest", "of": "properties.coupon", "windows": ["1h", "30d", "lifetime"]},
                {"operation": "latest", "of": "channel", "where": {"properties.units": {"above": 2}},
                 "windows": ["7d"]},
                {"operation": "latest", "of": "properties.products[].product_id", "windows": ["7d"]},
                {"operation": "days_since_last"},
                {"operation": "days_since_first", "windows": ["1h", "7d", "30d", "lifetime"]},
                {"operation": "mean_days_between", "windows": ["1d", "30d", "lifetime"]},
                {"operation": "deviation_days_between", "windows": ["7d", "30d", "lifetime"]},
                {"operation": "active_days", "windows": ["1d", "7d", "30d", "lifetime"]},
                {"operation": "streak", "windows": ["7d", "30d", "lifetime"]},
                {"operation": "longest_streak", "windows": ["7d", "30d", "lifetime"]},
                {"operation": "longest_streak", "where": {"channel": "web"}, "windows": ["30d"]},
            ],
        },
        {
            "name": "clicks", "description": "", "owner": "test", "event": "Clicked",
            "windows": ["1d", "7d"],
            "features": [{"operation": "count"}, {"operation": "days_since_last"}],
        },
        {
            "name": "rates", "description": "", "owner": "test",
            "features": [
                {"operation": "ratio", "numerator": "order_completed_value_sum",
                 "denominator": "order_completed_count", "windows": ["1d", "7d"]},
                {"operation": "ratio", "numerator": "order_completed_value_last",
                 "denominator": "order_completed_value_sum", "windows": ["lifetime"]},
                {"operation": "ratio", "numerator": "order_completed_days_since_last",
                 "denominator": "order_completed_mean_days_between", "windows": ["lifetime"]},
                {"operation": "ratio", "numerator": "clicked_count",
                 "denominator": "order_completed_count", "windows": ["1d"]},
                {"operation": "trend", "feature": "order_completed_count", "windows": ["1d", "7d"], "against": "30d"},
                {"operation": "trend", "feature": "order_completed_value_sum", "windows": ["5m"], "against": "7d"},
                {"operation": "trend", "feature": "order_completed_value_mean", "windows": ["7d"],
                 "against": "lifetime"},
                {"operation": "trend", "feature": "order_completed_active_days", "windows": ["7d"], "against": "30d"},
            ],
        },
    ],
    "services": {"all": {"description": "", "views": ["orders", "clicks", "rates"]}},
}  # fmt: skip


def every_operation_spec() -> FeatureSpec:
    """A spec with every operation, every tile width, and a cap of distinct counts that is reached."""
    return compile_spec(SpecFile.model_validate(EVERY_OPERATION))
