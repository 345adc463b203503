"""The three ways to a feature value, side by side: naive oracle, SQL, and the fold over tiles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa

from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec
from feature_repo.sql import features_query
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import LoggedEvent, fold
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
    return [
        naive_features(spec, names, [d.event for d in log if d.customer == point.customer], point.as_of)
        for point in points
    ]


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
    for customer in {point.customer for point in points}:
        mine = [(point.as_of, i) for i, point in enumerate(points) if point.customer == customer]
        arrivals = sorted((d.event for d in log if d.customer == customer), key=lambda e: e.available_at)
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
        if type(a) is not type(b) or a != b
    ]


EVERY_OPERATION = {
    "version": 1,
    "distinct_cap": 3,
    "views": [
        {
            "name": "orders", "description": "", "owner": "test", "event": "Order Completed",
            "windows": ["5m", "1h", "1d", "7d", "30d", "lifetime"],
            "features": [
                {"operation": "count"},
                {"operation": "count", "channels": ["web", "pos"], "windows": ["1h", "30d"]},
                {"operation": "sum", "of": "value"},
                {"operation": "mean", "of": "value"},
                {"operation": "mean", "of": "value", "channels": ["web"], "windows": ["7d"]},
                {"operation": "min", "of": "properties.units"},
                {"operation": "max", "of": "properties.units"},
                {"operation": "last", "of": "value"},
                {"operation": "last", "of": "properties.units", "windows": ["lifetime", "1d"]},
                {"operation": "distinct", "of": "properties.products[].product_id"},
                {"operation": "distinct", "of": "properties.coupon", "windows": ["1h", "7d", "lifetime"]},
                {"operation": "distinct", "of": "channel", "windows": ["30d"]},
                {"operation": "days_since_last"},
                {"operation": "days_since_first"},
                {"operation": "mean_days_between"},
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
            ],
        },
    ],
    "services": {"all": {"description": "", "views": ["orders", "clicks", "rates"]}},
}  # fmt: skip


def every_operation_spec() -> FeatureSpec:
    """A spec with every operation, every tile width, and a cap of distinct counts that is reached."""
    return compile_spec(SpecFile.model_validate(EVERY_OPERATION))
