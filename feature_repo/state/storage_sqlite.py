"""States in one SQLite file, for the processes of one host."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_repo.scrub import scrub
from feature_repo.state.storage import NEVER, Progress, StateUnavailable, StoredState
from feature_repo.write_ahead import use_write_ahead_log

_TABLES = (
    """CREATE TABLE IF NOT EXISTS customer_state (
      spec_hash TEXT NOT NULL, customer_id TEXT NOT NULL,
      position INTEGER NOT NULL, newest INTEGER NOT NULL, data BLOB NOT NULL, revision INTEGER NOT NULL,
      PRIMARY KEY (spec_hash, customer_id)
    ) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS customer_state_newest ON customer_state (spec_hash, newest)",
    """CREATE TABLE IF NOT EXISTS state_progress (
      spec_hash TEXT PRIMARY KEY, position INTEGER NOT NULL, version INTEGER NOT NULL, build TEXT NOT NULL)""",
)
_PUT = """
INSERT INTO customer_state (spec_hash, customer_id, position, newest, data, revision) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (spec_hash, customer_id) DO UPDATE SET
  position = excluded.position, newest = excluded.newest, data = excluded.data, revision = excluded.revision
"""
_PUT_NEWER = f"""{_PUT}
WHERE (excluded.revision, excluded.position) >= (customer_state.revision, customer_state.position)
"""
_NOTE = """
INSERT INTO state_progress VALUES (:spec, :position, :version, coalesce(:build, ''))
ON CONFLICT (spec_hash) DO UPDATE SET position = max(position, excluded.position), version = excluded.version,
  build = coalesce(:build, build)
"""
# One look into the index for each spec; DISTINCT would read all of it.
_SPECS = """
WITH RECURSIVE specs (spec) AS (
  SELECT min(spec_hash) FROM customer_state
  UNION ALL SELECT (SELECT min(spec_hash) FROM customer_state WHERE spec_hash > spec) FROM specs WHERE spec IS NOT NULL)
SELECT spec FROM specs WHERE spec IS NOT NULL ORDER BY spec
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
    """A file with a write-ahead log: readers never wait for a writer. It keeps what it was given."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises StateUnavailable, also where it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with _available():
            path.touch(exist_ok=True)
        self._path = path
        self._local = threading.local()
        with self._transaction() as connection:
            known = {row[1] for row in connection.execute("PRAGMA table_info(customer_state)")}
            if known and "revision" not in known:
                # Of an older layout. States follow from the log: they are built again.
                connection.execute("DROP TABLE customer_state")
            connection.execute("DROP TABLE IF EXISTS state_notes")
            for statement in _TABLES:
                connection.execute(statement)

    def _connection(self) -> sqlite3.Connection:
        # A connection belongs to its thread; sharing one would serialise all reads.
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        # SQLite goes on with a file that was removed under it: it would never see states that were built anew.
        inode = os.stat(self._path).st_ino
        if connection is None or self._local.inode != inode:
            connection = sqlite3.connect(self._path, timeout=30.0)
            use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            # What is erased must not be left in free pages.
            connection.execute("PRAGMA secure_delete=ON")
            self._local.connection, self._local.inode = connection, inode
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _available(), self._connection() as connection:
            yield connection

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        found: dict[str, StoredState] = {}
        if not customer_ids:
            # Who asks for nobody wants to know whether anybody could be read.
            self._one("SELECT count(*) FROM state_progress WHERE spec_hash = ?", spec_hash)
        for begin in range(0, len(customer_ids), _IDS_A_QUERY):
            ids = customer_ids[begin : begin + _IDS_A_QUERY]
            marks = ",".join("?" * len(ids))
            query = (
                "SELECT customer_id, position, newest, data, revision FROM customer_state"
                f" WHERE spec_hash = ? AND customer_id IN ({marks})"
            )
            with _available():
                for row in self._connection().execute(query, (spec_hash, *ids)):
                    found[row[0]] = StoredState(*row)
        return found

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        stayed = []
        with self._transaction() as connection:
            for s in states:
                row = (spec_hash, s.customer_id, s.position, s.newest, s.data, s.revision)
                if connection.execute(_PUT_NEWER, row).rowcount == 0:
                    stayed.append(s.customer_id)
        return stayed

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        rows = ((spec_hash, s.customer_id, s.position, s.newest, s.data, s.revision) for s in states)
        with self._transaction() as connection:
            connection.executemany(_PUT, rows)

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        with self._transaction() as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS kept (customer_id TEXT PRIMARY KEY) WITHOUT ROWID")
            connection.execute("DELETE FROM kept")
            connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((who,) for who in customer_ids))
            others = (
                "DELETE FROM customer_state WHERE spec_hash = ? AND customer_id NOT IN (SELECT customer_id FROM kept)"
            )
            connection.execute(others, (spec_hash,))
            connection.execute("DELETE FROM kept")

    def begin(self, spec_hash: str) -> str:
        return ""

    def note(self, spec_hash: str, position: int, version: int, life: str, build: str | None = None) -> None:
        with self._transaction() as connection:
            connection.execute(_NOTE, {"spec": spec_hash, "position": position, "version": version, "build": build})

    def noted(self, spec_hash: str) -> Progress | None:
        row = self._one("SELECT position, version, build FROM state_progress WHERE spec_hash = ?", spec_hash)
        return Progress(*row) if row else None

    def as_found(self) -> SQLiteStateStorage:
        return self

    def newest(self, spec_hash: str) -> int | None:
        found: int | None = self._one("SELECT max(newest) FROM customer_state WHERE spec_hash = ?", spec_hash)[0]
        return None if found == NEVER else found

    def count(self, spec_hash: str) -> int:
        query = "SELECT count(*) FROM customer_state WHERE spec_hash = ? AND length(data) > 0"
        return int(self._one(query, spec_hash)[0])

    def built_specs(self) -> list[str]:
        with _available():
            query = "SELECT spec_hash FROM state_progress ORDER BY spec_hash"
            return [row[0] for row in self._connection().execute(query)]

    def remove_spec(self, spec_hash: str) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM state_progress WHERE spec_hash = ?", (spec_hash,))
        removed = _ROWS_A_REMOVAL
        while removed == _ROWS_A_REMOVAL:
            with self._transaction() as connection:
                removed = connection.execute(_REMOVE_SOME, (spec_hash, _ROWS_A_REMOVAL)).rowcount

    def spec_hashes(self) -> list[str]:
        with _available():
            return [row[0] for row in self._connection().execute(_SPECS)]

    def erase(self, customer_ids: Sequence[str]) -> None:
        with self._transaction() as connection:
            rows = [(who,) for who in customer_ids]
            connection.executemany("DELETE FROM customer_state WHERE customer_id = ?", rows)
        with _available():
            scrub(self._path)

    def _one(self, query: str, spec_hash: str) -> Any:
        with _available():
            return self._connection().execute(query, (spec_hash,)).fetchone()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        # SQLite's words name files and tables, never values.
        told = error if isinstance(error, sqlite3.Error) else error.strerror
        raise StateUnavailable(f"the file of states cannot be used now: {told}") from error
