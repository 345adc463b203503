"""Features at points, some of the customers at a time: memory follows the size of a part, not of the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership
from feature_repo.spec import FeatureSpec
from feature_repo.sql import features_query

POINT_SCHEMA = pa.schema([("point", pa.int64()), ("customer_id", pa.string()), ("as_of", pa.int64())])

# A part costs one more look at all events and holds what is matched to its points: about 2 GB for
# 100,000 points of customers with a hundred events each.
_POINTS_A_PART = 100_000


@dataclass(frozen=True, slots=True)
class EventLog:
    """What features are computed from: a version of the lake (None: the newest), and whose events are whose."""

    lake: Path
    version: int | None
    membership: Membership


def features_at(
    spec: FeatureSpec, log: EventLog, points: pa.Table, names: Sequence[str], points_a_part: int = _POINTS_A_PART
) -> pa.Table:
    """The features `names` at `points` (POINT_SCHEMA, `point` counting from 0): a row a point, in their order.

    What does not fit into memory is spilled to a folder beside the lake.
    """
    parts = max(1, -(-points.num_rows // points_a_part))
    with duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [str(log.lake.parent / "spill")])
        register_customer_events(connection, log.lake, log.version, membership=log.membership)
        # Tables, not Arrow: DuckDB has to know that they are the small side of a join.
        connection.register("asked", points)
        connection.execute(f"CREATE TEMP TABLE all_points AS SELECT *, hash(customer_id) % {parts} AS part FROM asked")
        found = pa.concat_tables(_by_part(connection, features_query(spec, names), parts))
    return found if parts == 1 else found.sort_by("point")


def _by_part(connection: duckdb.DuckDBPyConnection, query: str, parts: int) -> Iterator[pa.Table]:
    """All points of a customer are in one part, so each part reads other events."""
    for part in range(parts):
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE points AS SELECT point, customer_id, as_of FROM all_points WHERE part = ?",
            [part],
        )
        yield connection.sql(query).to_arrow_table()
