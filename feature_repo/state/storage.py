"""Where states are kept: one row per customer and spec, guarded by the log's position."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from feature_repo.state.tiles import decode


@dataclass(frozen=True, slots=True)
class StoredState:
    """One customer's encoded state; `newest` is its latest instant (event or arrival), microseconds UTC."""

    customer_id: str
    position: int
    newest: int
    data: bytes


def stored_state(customer_id: str, data: bytes) -> StoredState:
    """The row to keep for an encoded state."""
    state = decode(data)
    return StoredState(customer_id, state.position, max(state.newest_event, state.newest_arrival), data)


class StateStorage(Protocol):
    """A place for states. States of several specs stand side by side, told apart by the spec's hash."""

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        """The states that exist, by customer."""

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        """Store all in one transaction; a row that already stands at a later position stays."""

    def newest(self, spec_hash: str) -> int | None:
        """The latest instant in any state, microseconds UTC; None where there is no state."""

    def count(self, spec_hash: str) -> int:
        """Number of customers with a state."""

    def remove_spec(self, spec_hash: str) -> None:
        """Drop all states of one spec."""

    def spec_hashes(self) -> list[str]:
        """Specs that have states."""


_TABLE = """
CREATE TABLE IF NOT EXISTS customer_state (
  spec_hash TEXT NOT NULL, customer_id TEXT NOT NULL,
  position INTEGER NOT NULL, newest INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (spec_hash, customer_id)
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS customer_state_newest ON customer_state (spec_hash, newest)"
_PUT = """
INSERT INTO customer_state (spec_hash, customer_id, position, newest, data) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (spec_hash, customer_id) DO UPDATE SET
  position = excluded.position, newest = excluded.newest, data = excluded.data
WHERE excluded.position >= customer_state.position
"""
# SQLite's default limit of variables in one statement is far above this.
_IDS_A_QUERY = 500


class SQLiteStateStorage:
    """States in one SQLite file with a write-ahead log: readers never wait for a writer."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises sqlite3.Error if it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        with self._connection() as connection:
            connection.execute(_TABLE)
            connection.execute(_INDEX)

    def _connection(self) -> sqlite3.Connection:
        # A connection belongs to its thread; sharing one would serialise all reads.
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            self._local.connection = connection
        return connection

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        found: dict[str, StoredState] = {}
        for begin in range(0, len(customer_ids), _IDS_A_QUERY):
            ids = customer_ids[begin : begin + _IDS_A_QUERY]
            marks = ",".join("?" * len(ids))
            query = (
                "SELECT customer_id, position, newest, data FROM customer_state"
                f" WHERE spec_hash = ? AND customer_id IN ({marks})"
            )
            for row in self._connection().execute(query, (spec_hash, *ids)):
                found[row[0]] = StoredState(*row)
        return found

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        rows = ((spec_hash, s.customer_id, s.position, s.newest, s.data) for s in states)
        with self._connection() as connection:
            connection.executemany(_PUT, rows)

    def newest(self, spec_hash: str) -> int | None:
        query = "SELECT max(newest) FROM customer_state WHERE spec_hash = ?"
        found: int | None = self._connection().execute(query, (spec_hash,)).fetchone()[0]
        return found

    def count(self, spec_hash: str) -> int:
        query = "SELECT count(*) FROM customer_state WHERE spec_hash = ?"
        return int(self._connection().execute(query, (spec_hash,)).fetchone()[0])

    def remove_spec(self, spec_hash: str) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM customer_state WHERE spec_hash = ?", (spec_hash,))

    def spec_hashes(self) -> list[str]:
        query = "SELECT DISTINCT spec_hash FROM customer_state ORDER BY spec_hash"
        return [row[0] for row in self._connection().execute(query)]
