"""The table of events that features are computed from: its columns, and how to open it.

Raw events never change, and keep the identifiers they came with. Who an event belongs to is
decided when it is read: `customer_events` is the relation that feature SQL sees.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import duckdb
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from feature_repo import membership as membership_sql
from feature_repo.membership import Membership

INSTANT = pa.timestamp("us", tz="UTC")

EVENT_SCHEMA = pa.schema(
    [
        # Ascending over the whole store: what had been stored when a prediction was made.
        pa.field("position", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("event_time", INSTANT, nullable=False),
        pa.field("available_at", INSTANT, nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("anonymous_id", pa.string()),
        # JSON object of further identifiers, kind to value: {"email": "...", "line_id": "..."}.
        pa.field("identifiers", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        # Minor units of `currency` (satang, pence).
        pa.field("value", pa.int64()),
        pa.field("currency", pa.string()),
        # JSON object; what stands in it is declared in the tracking plan.
        pa.field("properties", pa.string(), nullable=False),
    ]
)


# Whoever opens the table reads every commit since the last checkpoint, each in a thread of its own: with the 100 that
# are the default, a service that compacts has ever more threads and memory until then, and takes ever longer.
_CONFIGURATION: Mapping[str, str | None] = {"delta.checkpointInterval": "10"}


def ensure_table(path: Path) -> DeltaTable:
    """The Delta table at `path`, made empty if there is none."""
    if not DeltaTable.is_deltatable(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_deltalake(str(path), EVENT_SCHEMA.empty_table(), mode="ignore", configuration=_CONFIGURATION)
    return DeltaTable(str(path))


def register_customer_events(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    version: int | None = None,
    tail: pa.Table | None = None,
    membership: Membership | None = None,
) -> None:
    """Make the view `customer_events` in `connection`: the events that belong to a customer, and count.

    Columns: customer_id, event, channel, value, properties, position, source, event_id, and event_time and
    available_at as int64 microseconds UTC. `version` pins a version of the Delta table; `tail`
    (EVENT_SCHEMA) holds events that are not in it yet. An event that came to be known as the
    customer's later than it arrived is available from then on. Without `membership` a customer is a user id,
    and every source counts.
    """
    table = ensure_table(path) if version is None else DeltaTable(str(path), version=version)
    connection.register("event_table_tail", EVENT_SCHEMA.empty_table() if tail is None else tail)
    parts = [*_lake_sql(path, table), "SELECT * FROM event_table_tail"]
    connection.execute(f"CREATE OR REPLACE TEMP VIEW event_table AS {' UNION ALL '.join(parts)}")
    view = CUSTOMER_EVENTS_VIEW if membership is None else membership_sql.register(connection, membership)
    connection.execute(view)


def _lake_sql(path: Path, table: DeltaTable) -> list[str]:
    """SQL that reads the files of the table at `path`; none where there are none.

    DuckDB reads them itself, in a quarter of the time it takes through Arrow.
    """
    # All files stand in the table's own folder: it has no partitions. The URIs are percent-encoded.
    files = (str(path / PurePosixPath(uri).name) for uri in table.file_uris())
    # What means something in a pattern is put in brackets.
    escaped = [re.sub(r"([*?\[])", r"[\1]", file).replace("'", "''") for file in files]
    listed = ", ".join(f"'{file}'" for file in escaped)
    return [f"SELECT {', '.join(EVENT_SCHEMA.names)} FROM read_parquet([{listed}])"] if escaped else []


CUSTOMER_EVENTS_VIEW = """
CREATE OR REPLACE TEMP VIEW customer_events AS
SELECT user_id AS customer_id, event, channel, value, properties, position, source, event_id,
       epoch_us(event_time) AS event_time, epoch_us(available_at) AS available_at
FROM event_table
WHERE user_id IS NOT NULL
"""
