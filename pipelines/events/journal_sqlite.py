"""The journal in one SQLite file with a write-ahead log. Several threads and processes of one host may share it."""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.scrub import scrub
from feature_repo.write_ahead import open_durable
from pipelines.console import storage_failure
from pipelines.events.journal import (
    COLUMNS,
    Appended,
    EncodedEvent,
    Identifier,
    JournalUnavailable,
    Key,
    NewEvent,
    StoredEvent,
    StoredRow,
    assign,
    decode,
    digests_of_row,
    encode,
    identifier_digest,
    key_digest,
    row_of,
)
from pipelines.events.journal_group import GroupCommit
from pipelines.events.journal_pool import ConnectionPool

_TABLES = (
    """CREATE TABLE IF NOT EXISTS journal_head (
      one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, last_position INTEGER NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS journal_events (
      position INTEGER PRIMARY KEY, source TEXT NOT NULL, event_id TEXT NOT NULL, event TEXT NOT NULL,
      event_time INTEGER NOT NULL, available_at INTEGER NOT NULL, user_id TEXT, anonymous_id TEXT,
      identifiers TEXT NOT NULL, channel TEXT NOT NULL, value INTEGER, currency TEXT, properties TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS journal_identifiers (
      identifier INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (identifier, position)) WITHOUT ROWID""",
    # Kept for ever, so as small as it can be.
    "CREATE TABLE IF NOT EXISTS journal_keys (key BLOB PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
)
_COLUMNS = ", ".join(COLUMNS)
_INSERT = f"INSERT INTO journal_events ({_COLUMNS}) VALUES ({', '.join('?' * len(COLUMNS))})"
_INSERT_IDENTIFIER = "INSERT OR IGNORE INTO journal_identifiers VALUES (?, ?)"
# So few that live appends need not wait long for their turn in between.
_KEYS_A_TRANSACTION = 20_000
_ROWS_A_REMOVAL = 5_000
_KEYS_A_QUERY = 500


class SQLiteJournal:
    """Group commit within a process, BEGIN IMMEDIATE between processes, one fsync a transaction."""

    def __init__(self, path: Path, wait_seconds: float = 10.0) -> None:
        """Opens the file, made if there is none. Open it after a fork, not before.

        `wait_seconds` is how long to wait for another process that writes. Raises JournalUnavailable,
        and sqlite3.DatabaseError if it is no database.
        """
        self._path = path
        self._wait_seconds = wait_seconds
        self._writing = threading.Lock()
        self._pool = ConnectionPool(self._connect)
        self.identity = self._prepare()
        self._inode = path.stat().st_ino
        self._group = GroupCommit(self._store)

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        return self.submit(events).result()

    def submit(self, events: Sequence[NewEvent]) -> Future[list[Appended]]:
        return self._group.submit(encode(events))

    def reserve(self, count: int) -> int:
        if count < 0:
            raise ValueError("count must not be negative")
        with self._transaction() as connection:
            last = _last_position(connection)
            connection.execute("UPDATE journal_head SET last_position = ?", (last + count,))
        return last + 1

    def remember(self, keys: Sequence[Key], first_position: int) -> None:
        # In the order of the digests, neighbours in the tree are written together.
        rows = sorted((key_digest(key), first_position + index) for index, key in enumerate(keys))
        for begin in range(0, len(rows), _KEYS_A_TRANSACTION):
            with self._transaction() as connection:
                chunk = rows[begin : begin + _KEYS_A_TRANSACTION]
                connection.executemany("INSERT OR IGNORE INTO journal_keys VALUES (?, ?)", chunk)

    def contains(self, keys: Sequence[Key]) -> set[Key]:
        digests = {key_digest(key): key for key in keys}
        wanted = list(digests)
        found: set[Key] = set()
        with _available(), self._pool.taken() as connection:
            for begin in range(0, len(wanted), _KEYS_A_QUERY):
                chunk = wanted[begin : begin + _KEYS_A_QUERY]
                query = f"SELECT key FROM journal_keys WHERE key IN ({', '.join('?' * len(chunk))})"
                found.update(digests[row[0]] for row in connection.execute(query, chunk))
        return found

    def read(self, after: int, limit: int) -> list[StoredEvent]:
        return [decode(row) for row in self.read_rows(after, limit)]

    def read_rows(self, after: int, limit: int) -> list[StoredRow]:
        query = f"SELECT {_COLUMNS} FROM journal_events WHERE position > ? ORDER BY position LIMIT ?"
        return self._fetch(query, (after, limit))

    def read_identifiers(self, after: Mapping[Identifier, int]) -> list[StoredEvent]:
        wanted = [[identifier_digest(identifier), position] for identifier, position in after.items()]
        query = f"""SELECT {_COLUMNS} FROM journal_events WHERE position IN (
          SELECT i.position FROM json_each(?) AS wanted JOIN journal_identifiers i
          ON i.identifier = wanted.value ->> 0 AND i.position > wanted.value ->> 1) ORDER BY position"""
        return [decode(row) for row in self._fetch(query, (msgspec.json.encode(wanted).decode(),))]

    def last_position(self) -> int:
        with _available(), self._pool.taken() as connection:
            return _last_position(connection)

    def remove_until(self, position: int) -> None:
        query = f"SELECT {_COLUMNS} FROM journal_events WHERE position <= ? ORDER BY position LIMIT ?"
        removed = _ROWS_A_REMOVAL
        while removed == _ROWS_A_REMOVAL:
            with self._transaction() as connection:
                rows = connection.execute(query, (position, _ROWS_A_REMOVAL)).fetchall()
                _remove(connection, rows)
                removed = len(rows)

    def erase(self, events: Sequence[StoredEvent], replaced: Sequence[StoredEvent] = ()) -> None:
        keys = [(key_digest((e.event.source, e.event.event_id)), e.position) for e in events]
        gone = [(stored.position,) for stored in (*events, *replaced)]
        with self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO journal_keys VALUES (?, ?)", keys)
            query = f"SELECT {_COLUMNS} FROM journal_events WHERE position = ?"
            found = [row for position in gone for row in connection.execute(query, position)]
            _remove(connection, found)
            here = {row[0] for row in found}
            rows = [row_of(stored) for stored in replaced if stored.position in here]
            connection.executemany(_INSERT, rows)
            identifiers = [(digest, row[0]) for row in rows for digest in digests_of_row(row)]
            connection.executemany(_INSERT_IDENTIFIER, identifiers)
        with _available(), self._writing:
            scrub(self._path, self._wait_seconds)

    def close(self) -> None:
        self._group.close()
        self._pool.close()

    def _connect(self) -> sqlite3.Connection:
        return open_durable(self._path, self._wait_seconds)

    def _prepare(self) -> str:
        with _available():
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute("INSERT OR IGNORE INTO journal_head VALUES (1, ?, 0)", (uuid.uuid4().hex,))
            _index_identifiers(connection)
            return str(connection.execute("SELECT identity FROM journal_head").fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # The lock queues this process's threads fairly; SQLite's own waiting only polls. A connection
        # that saw an error is closed by the pool, which rolls back.
        with _available(), self._writing, self._pool.taken() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _store(self, events: Sequence[EncodedEvent]) -> list[Appended]:
        with self._transaction() as connection:
            keys = [event.key for event in events]
            answers = assign(keys, _known(connection, keys), _last_position(connection))
            new = [(answer.position, event) for answer, event in zip(answers, events, strict=True) if not answer[1]]
            if new:
                connection.executemany(_INSERT, [(position, *event.values) for position, event in new])
                connection.executemany(
                    "INSERT INTO journal_keys VALUES (?, ?)", [(event.key, position) for position, event in new]
                )
                identifiers = [(digest, position) for position, event in new for digest in event.identifiers]
                connection.executemany(_INSERT_IDENTIFIER, identifiers)
                connection.execute("UPDATE journal_head SET last_position = ?", (new[-1][0],))
            self._check_in_place()
        return answers

    def _check_in_place(self) -> None:
        """SQLite writes on into a file that was removed under it, and nobody would find the events again.

        Raises OSError.
        """
        if self._path.stat().st_ino != self._inode:
            raise OSError("another file stands in its place; start again to use that one")

    def _fetch(self, query: str, values: Sequence[Any]) -> list[StoredRow]:
        with _available(), self._pool.taken() as connection:
            return connection.execute(query, values).fetchall()


def _last_position(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT last_position FROM journal_head").fetchone()[0])


def _remove(connection: sqlite3.Connection, rows: Sequence[StoredRow]) -> None:
    connection.executemany("DELETE FROM journal_events WHERE position = ?", [(row[0],) for row in rows])
    identifiers = [(digest, row[0]) for row in rows for digest in digests_of_row(row)]
    connection.executemany("DELETE FROM journal_identifiers WHERE identifier = ? AND position = ?", identifiers)


def _index_identifiers(connection: sqlite3.Connection) -> None:
    """Once, for a journal that was made before it had this index."""
    if connection.execute("SELECT 1 FROM journal_identifiers LIMIT 1").fetchone() is None:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM journal_events")
        connection.executemany(_INSERT_IDENTIFIER, ((digest, row[0]) for row in rows for digest in digests_of_row(row)))


def _known(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, int]:
    known = {}
    for key in keys:
        row = connection.execute("SELECT position FROM journal_keys WHERE key = ?", (key,)).fetchone()
        if row is not None:
            known[key] = row[0]
    return known


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        told = storage_failure(error)
        reason = told.message if told is not None else str(error)
        raise JournalUnavailable(f"the journal cannot be used now: {reason}") from error
