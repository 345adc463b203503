"""Where states are kept: one row per customer and spec, guarded by revision and position.

The revision says which events belong to the customer: it grows when identifiers are joined or parted, and
when consent changes. The position says up to where of the log they are folded.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from feature_repo.scrub import scrub
from feature_repo.state.tiles import decode


@dataclass(frozen=True, slots=True)
class StoredState:
    """One customer's encoded state; `newest` is its latest instant (event or arrival), microseconds UTC.

    Without `data` it is a grave: no event belongs to the customer any more, and no older state may come back.
    """

    customer_id: str
    position: int
    newest: int
    data: bytes
    revision: int = 0


def stored_state(customer_id: str, data: bytes, revision: int = 0) -> StoredState:
    """The row to keep for an encoded state."""
    state = decode(data)
    return StoredState(customer_id, state.position, max(state.newest_event, state.newest_arrival), data, revision)


def grave(customer_id: str, position: int, revision: int) -> StoredState:
    """The row to keep of a customer who has no events any more."""
    return StoredState(customer_id, position, _NEVER, b"", revision)


_NEVER = -(2**63)


class StateStorage(Protocol):
    """A place for states. States of several specs stand side by side, told apart by the spec's hash."""

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        """The rows that exist, graves included, by customer."""

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        """Store all in one transaction, and say whose row stayed, because it stands at a later (revision, position)."""

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        """Store all in one transaction, whatever stood there: for a build while nobody else writes."""

    def newest(self, spec_hash: str) -> int | None:
        """The latest instant in any state, microseconds UTC; None where there is no state."""

    def count(self, spec_hash: str) -> int:
        """Number of customers with a state; graves are none."""

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        """Remove the rows of all other customers."""

    def note(self, spec_hash: str, version: int) -> None:
        """Keep the version of the identity map that all states are up to."""

    def noted(self, spec_hash: str) -> int:
        """The version that was noted last; 0 at first."""

    def built_specs(self) -> list[str]:
        """Specs that have a note: their states were made to the end. Others may have rows of a build that was cut off.

        Asked at every fold, so it has to be cheap.
        """

    def remove_spec(self, spec_hash: str) -> None:
        """Drop all states of one spec, its note first; others may be read and written meanwhile."""

    def spec_hashes(self) -> list[str]:
        """Specs that have states."""

    def erase(self, customer_ids: Sequence[str]) -> None:
        """Remove the rows of customers, graves too, of every spec, and leave nothing of them in the files."""


_TABLE = """
CREATE TABLE IF NOT EXISTS customer_state (
  spec_hash TEXT NOT NULL, customer_id TEXT NOT NULL,
  position INTEGER NOT NULL, newest INTEGER NOT NULL, data BLOB NOT NULL, revision INTEGER NOT NULL,
  PRIMARY KEY (spec_hash, customer_id)
) WITHOUT ROWID
"""
_NOTES = "CREATE TABLE IF NOT EXISTS state_notes (spec_hash TEXT PRIMARY KEY, version INTEGER NOT NULL)"
_INDEX = "CREATE INDEX IF NOT EXISTS customer_state_newest ON customer_state (spec_hash, newest)"
_PUT = """
INSERT INTO customer_state (spec_hash, customer_id, position, newest, data, revision) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (spec_hash, customer_id) DO UPDATE SET
  position = excluded.position, newest = excluded.newest, data = excluded.data, revision = excluded.revision
"""
_PUT_NEWER = f"""{_PUT}
WHERE (excluded.revision, excluded.position) >= (customer_state.revision, customer_state.position)
"""
# One step from spec to spec in the index, where DISTINCT would read every row of it.
_SPECS = """
WITH RECURSIVE spec (hash) AS (
  SELECT min(spec_hash) FROM customer_state
  UNION ALL
  SELECT (SELECT min(spec_hash) FROM customer_state WHERE spec_hash > hash) FROM spec WHERE hash IS NOT NULL
)
SELECT hash FROM spec WHERE hash IS NOT NULL
"""
_REMOVE_SOME = """
DELETE FROM customer_state WHERE spec_hash = ?1 AND customer_id IN
  (SELECT customer_id FROM customer_state WHERE spec_hash = ?1 LIMIT ?2)
"""
# SQLite's default limit of variables in one statement is far above this.
_IDS_A_QUERY = 500
# Few, so that folds, which wait for the one writer that SQLite allows, hardly notice.
_ROWS_A_REMOVAL = 500


class SQLiteStateStorage:
    """States in one SQLite file with a write-ahead log: readers never wait for a writer."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises sqlite3.Error if it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._local = threading.local()
        with self._connection() as connection:
            known = {row[1] for row in connection.execute("PRAGMA table_info(customer_state)")}
            if known and "revision" not in known:
                # Of an older layout. States follow from the log: they are built again.
                connection.execute("DROP TABLE customer_state")
            connection.execute(_TABLE)
            connection.execute(_INDEX)
            connection.execute(_NOTES)

    def _connection(self) -> sqlite3.Connection:
        # A connection belongs to its thread; sharing one would serialise all reads.
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=30.0)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            # What is erased must not be left in free pages.
            connection.execute("PRAGMA secure_delete=ON")
            self._local.connection = connection
        return connection

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        found: dict[str, StoredState] = {}
        for begin in range(0, len(customer_ids), _IDS_A_QUERY):
            ids = customer_ids[begin : begin + _IDS_A_QUERY]
            marks = ",".join("?" * len(ids))
            query = (
                "SELECT customer_id, position, newest, data, revision FROM customer_state"
                f" WHERE spec_hash = ? AND customer_id IN ({marks})"
            )
            for row in self._connection().execute(query, (spec_hash, *ids)):
                found[row[0]] = StoredState(*row)
        return found

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        stayed = []
        with self._connection() as connection:
            for s in states:
                row = (spec_hash, s.customer_id, s.position, s.newest, s.data, s.revision)
                if connection.execute(_PUT_NEWER, row).rowcount == 0:
                    stayed.append(s.customer_id)
        return stayed

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        rows = ((spec_hash, s.customer_id, s.position, s.newest, s.data, s.revision) for s in states)
        with self._connection() as connection:
            connection.executemany(_PUT, rows)

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        with self._connection() as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (customer_id TEXT PRIMARY KEY) WITHOUT ROWID")
            connection.execute("DELETE FROM kept")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((who,) for who in customer_ids))
            others = (
                "DELETE FROM customer_state WHERE spec_hash = ? AND customer_id NOT IN (SELECT customer_id FROM kept)"
            )
            connection.execute(others, (spec_hash,))
            connection.execute("DELETE FROM kept")

    def note(self, spec_hash: str, version: int) -> None:
        with self._connection() as connection:
            connection.execute("INSERT OR REPLACE INTO state_notes VALUES (?, ?)", (spec_hash, version))

    def noted(self, spec_hash: str) -> int:
        query = "SELECT version FROM state_notes WHERE spec_hash = ?"
        row = self._connection().execute(query, (spec_hash,)).fetchone()
        return int(row[0]) if row else 0

    def newest(self, spec_hash: str) -> int | None:
        query = "SELECT max(newest) FROM customer_state WHERE spec_hash = ?"
        found: int | None = self._connection().execute(query, (spec_hash,)).fetchone()[0]
        return None if found == _NEVER else found

    def count(self, spec_hash: str) -> int:
        query = "SELECT count(*) FROM customer_state WHERE spec_hash = ? AND length(data) > 0"
        return int(self._connection().execute(query, (spec_hash,)).fetchone()[0])

    def built_specs(self) -> list[str]:
        return [row[0] for row in self._connection().execute("SELECT spec_hash FROM state_notes ORDER BY spec_hash")]

    def remove_spec(self, spec_hash: str) -> None:
        with self._connection() as connection:
            connection.execute("DELETE FROM state_notes WHERE spec_hash = ?", (spec_hash,))
        removed = _ROWS_A_REMOVAL
        while removed == _ROWS_A_REMOVAL:
            with self._connection() as connection:
                removed = connection.execute(_REMOVE_SOME, (spec_hash, _ROWS_A_REMOVAL)).rowcount

    def spec_hashes(self) -> list[str]:
        return [row[0] for row in self._connection().execute(_SPECS)]

    def erase(self, customer_ids: Sequence[str]) -> None:
        with self._connection() as connection:
            rows = [(who,) for who in customer_ids]
            connection.executemany("DELETE FROM customer_state WHERE customer_id = ?", rows)
        scrub(self._path)
