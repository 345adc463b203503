"""A lake of a made-up shop whose customers can be learned about: they live, buy at their own pace, and fall silent."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import write_deltalake

from feature_repo.event_table import EVENT_SCHEMA
from feature_repo.windows import DAY, HOUR

EVENTS_A_CUSTOMER = 100
# Some source of the checkout whose mapping says that its events may train models.
SOURCE = "online_retail"
END = 20_000 * DAY + 9 * HOUR
SPAN = 730
_CUSTOMERS_A_PART = 20_000
_ROWS_A_BATCH = 200_000


def write_shop(lake: Path, customers: int) -> None:
    """Two years of events up to END, `EVENTS_A_CUSTOMER` a customer, arriving as they happen.

    The same customers have the same events in a lake of any size. Of ten customers four fall silent before the
    end; who buys much does so at 40 % of their events, who buys little at 10 %.
    """
    for first in range(0, customers, _CUSTOMERS_A_PART):
        query = _sql(first, min(first + _CUSTOMERS_A_PART, customers))
        with duckdb.connect() as connection:
            reader = connection.sql(query).to_arrow_reader(_ROWS_A_BATCH)
            batches = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, (batch.cast(EVENT_SCHEMA) for batch in reader))
            write_deltalake(str(lake), batches, mode="append")


def _sql(first: int, last: int) -> str:
    """The events of customers `first` to `last`, in the order of time."""
    return f"""
WITH lives AS (
  SELECT c, CAST(hash(c, 1) % 300 AS BIGINT) AS begins, 10 + hash(c, 2) % 31 AS buying,
         begins + CASE WHEN hash(c, 3) % 10 < 6 THEN {SPAN} - begins
                       ELSE 30 + CAST(hash(c, 4) % 400 AS BIGINT) END AS ends
  FROM range({first}, {last}) AS customers(c)
), drawn AS (
  SELECT c, n, {END} - ({SPAN} - begins) * {DAY}
           + CAST(hash(c, n, 1) % 1000000 AS BIGINT) * CAST((ends - begins) * {DAY} // 1000000 AS BIGINT) AS instant,
         hash(c, n, 2) % 100 AS kind, hash(c, n, 3) % 200 AS product, hash(c, n, 4) % 90000 AS value,
         hash(c, n, 5) % 3 AS place, buying
  FROM lives, range({EVENTS_A_CUSTOMER}) AS numbers(n)
), named AS (
  SELECT *, CASE WHEN kind < buying THEN 'Order Completed' WHEN kind < 60 THEN 'Page Viewed'
                 WHEN kind < 75 THEN 'Product Viewed' WHEN kind < 80 THEN 'Product Added'
                 WHEN kind < 90 THEN 'Email Delivered' WHEN kind < 94 THEN 'Email Opened'
                 WHEN kind < 97 THEN 'Application Opened' ELSE 'Support Call Completed' END AS event
  FROM drawn
)
SELECT row_number() OVER (ORDER BY instant, c, n) - 1 + {first * EVENTS_A_CUSTOMER} AS position,
       '{SOURCE}' AS source, printf('%d-%d', c, n) AS event_id, event,
       make_timestamptz(instant) AS event_time, make_timestamptz(instant) AS available_at,
       printf('c%07d', c) AS user_id, CAST(NULL AS VARCHAR) AS anonymous_id, '{{}}' AS identifiers,
       ['web', 'app', 'pos'][CAST(place AS INT) + 1] AS channel,
       CASE WHEN event IN ('Order Completed', 'Product Added') THEN CAST(value AS BIGINT) END AS value,
       CASE WHEN event IN ('Order Completed', 'Product Added') THEN 'THB' END AS currency,
       CASE event
         WHEN 'Order Completed' THEN printf(
           '{{"order_id": "%d-%d", "units": %d, "lines": 1, "products": [{{"product_id": "p%d"}}]}}',
           c, n, 1 + value % 5, product)
         WHEN 'Product Viewed' THEN printf('{{"product_id": "p%d", "category": "k%d"}}', product, product % 10)
         WHEN 'Product Added' THEN printf('{{"product_id": "p%d"}}', product)
         WHEN 'Support Call Completed' THEN printf('{{"duration_seconds": %d}}', value % 900)
         ELSE '{{}}' END AS properties
FROM named ORDER BY position
"""
