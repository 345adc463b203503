"""The lake: the Delta table of all stored events. Everything that reads or appends goes through here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake

from feature_repo.event_table import EVENT_SCHEMA, ensure_table
from pipelines.events.exclusion import lake_commit
from pipelines.events.journal import COLUMNS

# Tokens of what names a person are long, repeat, and do not compress: a dictionary of the usual 1 MB is full of
# them after 10,000 customers, and each row would carry its own.
WRITING = WriterProperties(compression="SNAPPY", dictionary_page_size_limit=16 << 20)

# A row of the lake as the journal has it (`StoredRow`), in SQL.
STORED_ROW = ", ".join(f"epoch_us({name})" if name in ("event_time", "available_at") else name for name in COLUMNS)

STAGED_SCHEMA = pa.schema([field for field in EVENT_SCHEMA if field.name != "position"])


@dataclass(frozen=True, slots=True)
class LakeBounds:
    """What one version of the lake covers. Instants in int64 microseconds UTC; None where it is empty."""

    version: int
    rows: int
    first_event_time: int | None
    last_event_time: int | None
    first_available_at: int | None
    last_available_at: int | None


def version(path: Path) -> int | None:
    """Version of the Delta table at `path`; None where there is none."""
    return DeltaTable(str(path)).version() if DeltaTable.is_deltatable(str(path)) else None


def register(connection: duckdb.DuckDBPyConnection, path: Path, name: str, pinned: int | None = None) -> None:
    """Make the events of the lake readable in `connection` as `name` (columns of EVENT_SCHEMA).

    A lake that does not exist reads as an empty one and is not made. `pinned` reads that version.
    """
    if version(path) is None:
        connection.register(name, EVENT_SCHEMA.empty_table())
    else:
        connection.register(name, DeltaTable(str(path), version=pinned).to_pyarrow_dataset())


def data_bounds(path: Path, pinned: int | None = None) -> LakeBounds:
    """First and last instants, number of events and version of the lake (of version `pinned`).

    A lake that does not exist is made, empty.
    """
    at = ensure_table(path).version() if pinned is None else pinned
    with duckdb.connect() as connection:
        register(connection, path, "lake", at)
        row = connection.execute(
            "SELECT count(*), epoch_us(min(event_time)), epoch_us(max(event_time)),"
            " epoch_us(min(available_at)), epoch_us(max(available_at)) FROM lake"
        ).fetchone()
    if row is None:
        raise RuntimeError("an aggregate gave no row")
    return LakeBounds(at, *row)


def sources_in(path: Path) -> list[str]:
    """Sources that the lake has events of."""
    with duckdb.connect() as connection:
        register(connection, path, "lake")
        return [row[0] for row in connection.execute("SELECT DISTINCT source FROM lake ORDER BY source").fetchall()]


def last_position(path: Path) -> int:
    """The highest position in the lake; 0 where it is empty."""
    with duckdb.connect() as connection:
        register(connection, path, "lake")
        row = connection.execute("SELECT coalesce(max(position), 0) FROM lake").fetchone()
    return int(row[0]) if row else 0


def newest_position(path: Path) -> tuple[int | None, int]:
    """The lake's version, and the highest position in it, from the table's own statistics; (None, 0) without a lake."""
    if not DeltaTable.is_deltatable(str(path)):
        return None, 0
    table = DeltaTable(str(path))
    actions = pa.table(table.get_add_actions(flatten=True))
    if actions.num_rows == 0:
        return int(table.version()), 0
    newest = pc.max(actions["max.position"]).as_py()
    return int(table.version()), last_position(path) if newest is None else int(newest)


def append(
    path: Path, batches: Iterator[pa.RecordBatch], note: Mapping[str, str], first_position: int | None = None
) -> int:
    """Append events (STAGED_SCHEMA) in one commit and return the lake's new version.

    Positions ascend without a gap from `first_position`, which the journal has reserved; without it
    from the highest one in the lake, right where there is no journal. The commit is atomic: a process
    that dies before it ends leaves the lake as it was. The caller must be the only writer, and must
    have left out events that are stored already. `note` is kept with the commit.
    """
    ensure_table(path)
    first = last_position(path) + 1 if first_position is None else first_position
    reader = pa.RecordBatchReader.from_batches(EVENT_SCHEMA, _positioned(batches, first))
    properties = CommitProperties(custom_metadata=dict(note))
    with lake_commit(path):
        write_deltalake(str(path), reader, mode="append", commit_properties=properties, writer_properties=WRITING)
    return int(DeltaTable(str(path)).version())


def _positioned(batches: Iterator[pa.RecordBatch], following: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        positions = pa.array(np.arange(following, following + batch.num_rows, dtype=np.int64))
        columns = [positions, *(batch.column(field.name).cast(field.type) for field in STAGED_SCHEMA)]
        yield pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)
        following += batch.num_rows
