"""A lake of made-up events of any size, made by DuckDB a part at a time. The same numbers give the same events."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY, HOUR
from tests.benchmarks.features.spec import CALL, ORDER, PAGE

END = 20_000 * DAY + 9 * HOUR
SPAN = 730 * DAY
_ROWS_A_PART = 2_000_000
_ROWS_A_BATCH = 200_000


def customer(number: int) -> str:
    return f"c{number:07d}"


def write_events(lake: Path, events: int, customers: int) -> None:
    """Two years of events up to END, arriving as they happen, spread evenly over `customers`."""
    for first in range(0, events, _ROWS_A_PART):
        _write(lake, _sql(first, min(first + _ROWS_A_PART, events), events, customers))


def write_history(lake: Path, events: int, span: int = SPAN) -> None:
    """`events` events of one customer, spread over the `span` (microseconds) before END."""
    for first in range(0, events, _ROWS_A_PART):
        _write(lake, _sql(first, min(first + _ROWS_A_PART, events), events, 1, span))


def _write(lake: Path, query: str) -> None:
    with duckdb.connect() as connection:
        reader = connection.sql(query).to_arrow_reader(_ROWS_A_BATCH)
        batches = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, (batch.cast(EVENT_SCHEMA) for batch in reader))
        write_deltalake(str(lake), batches, mode="append")


def _sql(first: int, last: int, events: int, customers: int, span: int = SPAN) -> str:
    """Events `first` to `last` of `events`: 60 % page views, 25 % orders, 15 % calls, in the order of time."""
    return f"""
WITH drawn AS (
  SELECT i, {END - span} + CAST(i * {span}::HUGEINT // {events} AS BIGINT) AS instant,
         hash(i, 1) % {customers} AS customer, hash(i, 2) % 100 AS kind, hash(i, 3) % 200 AS product,
         hash(i, 4) % 90000 AS value, hash(i, 5) % 600 AS seconds, hash(i, 6) % 40 AS page, hash(i, 7) % 3 AS channel
  FROM range({first}, {last}) AS numbers(i)
), named AS (
  SELECT *, CASE WHEN kind < 60 THEN '{PAGE}' WHEN kind < 85 THEN '{ORDER}' ELSE '{CALL}' END AS event FROM drawn
)
SELECT i AS position, 'bench' AS source, CAST(i AS VARCHAR) AS event_id, event,
       make_timestamptz(instant) AS event_time, make_timestamptz(instant) AS available_at,
       printf('c%07d', customer) AS user_id, CAST(NULL AS VARCHAR) AS anonymous_id, '{{}}' AS identifiers,
       ['web', 'app', 'pos'][CAST(channel AS INT) + 1] AS channel,
       CASE WHEN event = '{ORDER}' THEN CAST(value AS BIGINT) END AS value,
       CASE WHEN event = '{ORDER}' THEN 'THB' END AS currency,
       CASE event
         WHEN '{ORDER}' THEN printf('{{"order_id": "%d", "product_id": "p%d"}}', i, product)
         WHEN '{PAGE}' THEN printf('{{"page": "/%d", "seconds": %d}}', page, seconds)
         ELSE printf('{{"seconds": %d, "agent": "a%d"}}', seconds, page) END AS properties
FROM named ORDER BY position
"""
