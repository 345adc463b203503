"""What a user of stock Feast computes beforehand: each view's features right after each of its events, in SQL.

A value stays as it was at the customer's last event until the next one comes: windows that end at any
instant between two events cannot be had from it, so they do not age.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from feature_repo.event_table import register_customer_events
from feature_repo.extract import integer_sql, text_sql
from feature_repo.spec import Feature, FeatureSpec, View
from tests.benchmarks.features.stock import STAMP, table_of

_DAY = "86400000000.0"


def precompute(spec: FeatureSpec, lake: Path, folder: Path) -> None:
    """Write the table of every view into `folder`: a row for each of its events."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        register_customer_events(connection, lake)
        for view in spec.views:
            connection.execute(f"COPY ({_query(view)}) TO '{table_of(folder, view.name)}' (FORMAT parquet)")


def _query(view: View) -> str:
    streams = {feature.stream for feature in view.features}
    event = next(stream.event for stream in streams if stream)
    measures = sorted({f.measure for f in view.features if f.measure})
    columns = [
        f"{integer_sql(m.path)} AS measure_{i}" if m.kind == "integer" else f"{text_sql(m.path)} AS measure_{i}"
        for i, m in enumerate(measures)
    ]
    values = [f"{_expression(f, measures.index(f.measure) if f.measure else None)} AS {f.name}" for f in view.features]
    windows = {f.window.label: _frame(f) for f in view.features}
    named = ",\n  ".join(f"w_{label} AS ({frame})" for label, frame in windows.items())
    return f"""
SELECT customer_id, make_timestamptz(event_time) AS {STAMP}, {", ".join(values)}
FROM (SELECT customer_id, event_time, {", ".join(columns)} FROM customer_events WHERE event = '{event}')
WINDOW {named}
"""


def _frame(feature: Feature) -> str:
    before = "UNBOUNDED" if feature.window.length is None else str(feature.window.length)
    return f"PARTITION BY customer_id ORDER BY event_time RANGE BETWEEN {before} PRECEDING AND CURRENT ROW"


def _expression(feature: Feature, measure: int | None) -> str:
    over = f"OVER w_{feature.window.label}"
    column = f"measure_{measure}"
    between = f"(max(event_time) {over} - min(event_time) {over}) / {_DAY} / nullif(count(*) {over} - 1, 0)"
    return {
        "count": f"count(*) {over}",
        "sum": f"CAST(sum({column}) {over} AS BIGINT)",
        "mean": f"avg({column}) {over}",
        "min": f"min({column}) {over}",
        "max": f"max({column}) {over}",
        "last": f"last_value({column}) {over}",
        "distinct": f"count(DISTINCT {column}) {over}",
        "days_since_last": f"(event_time - max(event_time) {over}) / {_DAY}",
        "days_since_first": f"(event_time - min(event_time) {over}) / {_DAY}",
        "mean_days_between": between,
    }[feature.operation]
