"""Find the events of some identifiers in the lake."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipelines.events import lake
from pipelines.events.journal import Identifier, StoredEvent, decode


def events_of(path: Path, version: int, identifiers: Sequence[Identifier], first_position: int) -> list[StoredEvent]:
    """Events that hold one of `identifiers`, with positions from `first_position` on, ascending."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for kind, value in identifiers:
        by_kind[kind].append(value)
    tests = " OR ".join(f"list_contains(${kind}, {_column(kind)})" for kind in by_kind)
    with duckdb.connect() as connection:
        lake.register(connection, path, "lake", version)
        return _fetch(
            connection, f"position >= $first_position AND ({tests})", {"first_position": first_position, **by_kind}
        )


def _column(kind: str) -> str:
    if kind in ("user_id", "anonymous_id"):
        return kind
    return f"json_extract_string(identifiers, '$.\"{kind}\"')"


def _fetch(connection: duckdb.DuckDBPyConnection, where: str, values: dict[str, object]) -> list[StoredEvent]:
    rows = connection.execute(f"SELECT {lake.STORED_ROW} FROM lake WHERE {where} ORDER BY position", values).fetchall()
    return [decode(row) for row in rows]
