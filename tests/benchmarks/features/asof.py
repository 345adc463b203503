"""Point-in-time features as an expert writes them by hand: running totals, and an ASOF join.

It answers what has no window (totals, latest values), and takes every event as known when it happened.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.windows import DAY
from tests.benchmarks.features.spec import ORDER, PAGE

FEATURES = (
    "order_completed_count_lifetime",
    "order_completed_value_sum_lifetime",
    "order_completed_value_max_lifetime",
    "order_completed_value_last_lifetime",
    "order_completed_days_since_last_lifetime",
    "page_viewed_count_lifetime",
    "page_viewed_seconds_sum_lifetime",
    "page_viewed_days_since_last_lifetime",
)


def asof_features(lake: Path, points: pa.Table) -> pa.Table:
    """FEATURES at each row of `points` (point, customer_id, as_of in microseconds UTC), in the order of `point`."""
    with duckdb.connect() as connection:
        register_customer_events(connection, lake)
        connection.register("points", points)
        return connection.sql(_QUERY).to_arrow_table()


_QUERY = f"""
WITH orders AS (
  SELECT customer_id, event_time, value, count(*) OVER w AS n, sum(value) OVER w AS total, max(value) OVER w AS most
  FROM customer_events WHERE event = '{ORDER}'
  WINDOW w AS (PARTITION BY customer_id ORDER BY event_time)
), pages AS (
  SELECT customer_id, event_time, count(*) OVER w AS n, sum(seconds) OVER w AS total
  FROM (
    SELECT customer_id, event_time, CAST(json_extract(properties, '$.seconds') AS BIGINT) AS seconds
    FROM customer_events WHERE event = '{PAGE}'
  )
  WINDOW w AS (PARTITION BY customer_id ORDER BY event_time)
), with_orders AS (
  SELECT p.*, o.event_time AS ordered_at, o.value, o.n, o.total, o.most
  FROM points p ASOF LEFT JOIN orders o ON o.customer_id = p.customer_id AND o.event_time < p.as_of
)
SELECT coalesce(p.n, 0), CAST(p.total AS BIGINT), p.most, p.value, (p.as_of - p.ordered_at) / {float(DAY)},
       coalesce(v.n, 0), CAST(v.total AS BIGINT), (p.as_of - v.event_time) / {float(DAY)}
FROM with_orders p ASOF LEFT JOIN pages v ON v.customer_id = p.customer_id AND v.event_time < p.as_of
ORDER BY p.point
"""
