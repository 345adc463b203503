"""Served features computed again by SQL over the events, with exactly what was visible when they were served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership
from feature_repo.served import ServedVector
from feature_repo.spec import FeatureSpec
from feature_repo.sql import features_query
from feature_repo.state.read import FeatureValue
from pipelines.events.store import Snapshot

_SERVED = pa.schema(
    [("point", pa.int64()), ("customer", pa.string()), ("as_of", pa.int64()), ("last_position", pa.int64())]
)
# Each vector is a customer of its own, who has the events that stood in the state which was read.
_VISIBLE = """
CREATE OR REPLACE TEMP VIEW customer_events AS
SELECT e.* REPLACE (CAST(s.point AS VARCHAR) AS customer_id)
FROM all_events e JOIN served s ON e.customer_id = s.customer AND e.position <= s.last_position
"""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """Of one vector: `features` computed again, and how many events of the customer it could see."""

    features: tuple[str, ...]
    values: list[FeatureValue]
    events: int


def recompute(
    spec: FeatureSpec,
    names: Sequence[str],
    vectors: Sequence[ServedVector],
    snapshot: Snapshot,
    membership: Membership,
) -> list[Recomputed]:
    """The features `names` of `spec` for each vector, in order: all in one query.

    Counts the customer's events up to the vector's position, of those what the feature SQL sees at its as-of instant.
    """
    with duckdb.connect() as connection:
        register_customer_events(connection, snapshot.lake_path, snapshot.version, snapshot.tail, membership)
        asked = [(point, v.customer_id, v.as_of, v.position) for point, v in enumerate(vectors)]
        columns = list(zip(*asked, strict=True)) if asked else [() for _ in _SERVED]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _SERVED, strict=True)]
        connection.register("served", pa.Table.from_arrays(arrays, schema=_SERVED))
        of_theirs = "SELECT * FROM customer_events WHERE customer_id IN (SELECT customer FROM served)"
        connection.execute(f"CREATE TEMP TABLE all_events AS {of_theirs}")
        connection.execute(_VISIBLE)
        points = "SELECT point, CAST(point AS VARCHAR) AS customer_id, as_of FROM served"
        connection.execute(f"CREATE TEMP TABLE points AS {points}")
        rows = connection.execute(features_query(spec, names)).fetchall()
        counts = "SELECT CAST(customer_id AS BIGINT), count(*) FROM customer_events GROUP BY ALL"
        events = dict(connection.execute(counts).fetchall())
    return [Recomputed(tuple(names), list(values), events.get(point, 0)) for point, *values in rows]
