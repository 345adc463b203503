"""The journal in PostgreSQL, where several hosts ingest. Needs the extra `server` (psycopg 3)."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from feature_repo.postgres import STATEMENT_TIMEOUT, BoundedConnection, open_durable_session
from pipelines.console import UserError
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

URL_VARIABLE = "TWIN_POSTGRES_URL"

Connection = BoundedConnection

# For what a request waits for, and for what nobody does.
_TIMEOUT_SECONDS = 3.0
_BULK_SECONDS = 60.0
# The tables are written anew, however large they are.
_REWRITE_SECONDS = 3_600.0

_TABLES = (
    """CREATE TABLE IF NOT EXISTS journal_head (
      one integer PRIMARY KEY CHECK (one = 1), identity text NOT NULL, last_position bigint NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS journal_events (
      position bigint PRIMARY KEY, source text NOT NULL, event_id text NOT NULL, event text NOT NULL,
      event_time bigint NOT NULL, available_at bigint NOT NULL, user_id text, anonymous_id text,
      identifiers text NOT NULL, channel text NOT NULL, value bigint, currency text, properties text NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS journal_identifiers (
      identifier bigint NOT NULL, position bigint NOT NULL, PRIMARY KEY (identifier, position))""",
    "CREATE TABLE IF NOT EXISTS journal_keys (key bytea PRIMARY KEY, position bigint NOT NULL)",
)
_COLUMNS = ", ".join(COLUMNS)
_LOCK = "SELECT last_position FROM journal_head FOR UPDATE"
_KNOWN = "SELECT key, position FROM journal_keys WHERE key = ANY(%s)"
_TEXTS = "%s::text[]"
_INTEGERS = "%s::bigint[]"
_ARRAYS = ", ".join(
    _INTEGERS if name in ("position", "event_time", "available_at", "value") else _TEXTS for name in COLUMNS
)
_INSERT = f"""
WITH events AS (INSERT INTO journal_events ({_COLUMNS}) SELECT * FROM unnest({_ARRAYS})),
     keys AS (INSERT INTO journal_keys SELECT * FROM unnest(%s::bytea[], {_INTEGERS})),
     identifiers AS (INSERT INTO journal_identifiers SELECT * FROM unnest({_INTEGERS}, {_INTEGERS}))
UPDATE journal_head SET last_position = %s
"""
_REMEMBER = f"INSERT INTO journal_keys SELECT * FROM unnest(%s::bytea[], {_INTEGERS}) ON CONFLICT DO NOTHING"
_INDEX = f"INSERT INTO journal_identifiers SELECT * FROM unnest({_INTEGERS}, {_INTEGERS}) ON CONFLICT DO NOTHING"
_REMOVE = f"""DELETE FROM journal_events WHERE position IN (
  SELECT position FROM journal_events WHERE position <= %s ORDER BY position LIMIT %s) RETURNING {_COLUMNS}"""
_REMOVE_IDENTIFIERS = f"""DELETE FROM journal_identifiers i
USING unnest({_INTEGERS}, {_INTEGERS}) AS gone (identifier, position)
WHERE i.identifier = gone.identifier AND i.position = gone.position"""
_ERASE = f"DELETE FROM journal_events WHERE position = ANY(%s) RETURNING {_COLUMNS}"
_PUT_BACK = f"INSERT INTO journal_events ({_COLUMNS}) SELECT * FROM unnest({_ARRAYS})"
_ERASED_KEYS = f"INSERT INTO journal_keys SELECT * FROM unnest(%s::bytea[], {_INTEGERS}) ON CONFLICT DO NOTHING"
_KEYS_A_QUERY = 20_000
_ROWS_A_REMOVAL = 20_000


class PostgresJournal:
    """Appends take turns by locking the head row, so positions become visible in their order.

    The lock is held over the wait for the disk; group commit makes up for it within a process.
    """

    def __init__(self, url: str | None = None, schema: str = "customer_twin") -> None:
        """`url` is a connection string; None takes it from the environment (TWIN_POSTGRES_URL).

        The schema and its tables are made if there are none. Raises UserError where no address is
        given, and JournalUnavailable.
        """
        self._url = url if url is not None else url_from_environment()
        self._schema = schema
        self._writing = threading.Lock()
        self._pool = ConnectionPool(self._connect)
        self.identity = self._prepare()
        self._group = GroupCommit(self._store)

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        return self.submit(events).result()

    def submit(self, events: Sequence[NewEvent]) -> Future[list[Appended]]:
        return self._group.submit(encode(events))

    def reserve(self, count: int) -> int:
        if count < 0:
            raise ValueError("count must not be negative")
        query = "UPDATE journal_head SET last_position = last_position + %s RETURNING last_position"
        with self._transaction() as connection:
            return _one(connection.execute(query, (count,))) - count + 1

    def remember(self, keys: Sequence[Key], first_position: int) -> None:
        # In the order of the digests, neighbours in the tree are written together. Appends insert keys
        # only while they hold the head row; holding it here too rules out a deadlock over keys.
        rows = sorted((key_digest(key), first_position + index) for index, key in enumerate(keys))
        for begin in range(0, len(rows), _KEYS_A_QUERY):
            chunk = rows[begin : begin + _KEYS_A_QUERY]
            with self._transaction(_BULK_SECONDS) as connection:
                connection.execute(_LOCK)
                connection.execute(_REMEMBER, [list(column) for column in zip(*chunk, strict=True)])

    def contains(self, keys: Sequence[Key]) -> set[Key]:
        digests = {key_digest(key): key for key in keys}
        wanted = list(digests)
        found: set[Key] = set()
        for begin in range(0, len(wanted), _KEYS_A_QUERY):
            found.update(digests[row[0]] for row in self._fetch(_KNOWN, (wanted[begin : begin + _KEYS_A_QUERY],)))
        return found

    def read(self, after: int, limit: int) -> list[StoredEvent]:
        return [decode(row) for row in self.read_rows(after, limit)]

    def read_rows(self, after: int, limit: int) -> list[StoredRow]:
        query = f"SELECT {_COLUMNS} FROM journal_events WHERE position > %s ORDER BY position LIMIT %s"
        return self._fetch(query, (after, limit))

    def read_identifiers(self, after: Mapping[Identifier, int]) -> list[StoredEvent]:
        query = f"""SELECT {_COLUMNS} FROM journal_events WHERE position IN (
          SELECT i.position FROM unnest({_INTEGERS}, {_INTEGERS}) AS wanted (identifier, after)
          JOIN journal_identifiers i ON i.identifier = wanted.identifier AND i.position > wanted.after)
          ORDER BY position"""
        digests = [identifier_digest(identifier) for identifier in after]
        return [decode(row) for row in self._fetch(query, (digests, list(after.values())))]

    def last_position(self) -> int:
        return int(self._fetch("SELECT last_position FROM journal_head", ())[0][0])

    def remove_until(self, position: int) -> None:
        removed = _ROWS_A_REMOVAL
        while removed == _ROWS_A_REMOVAL:
            with self._transaction(_BULK_SECONDS) as connection:
                rows = connection.execute(_REMOVE, (position, _ROWS_A_REMOVAL)).fetchall()
                connection.execute(_REMOVE_IDENTIFIERS, _identifier_columns(rows))
                removed = len(rows)

    def erase(self, events: Sequence[StoredEvent], replaced: Sequence[StoredEvent] = ()) -> None:
        keys = [key_digest((e.event.source, e.event.event_id)) for e in events]
        gone = [stored.position for stored in (*events, *replaced)]
        with self._transaction(_BULK_SECONDS) as connection:
            connection.execute(_LOCK)
            connection.execute(_ERASED_KEYS, (keys, [e.position for e in events]))
            found = connection.execute(_ERASE, (gone,)).fetchall()
            connection.execute(_REMOVE_IDENTIFIERS, _identifier_columns(found))
            here = {row[0] for row in found}
            rows = [row_of(stored) for stored in replaced if stored.position in here]
            if rows:
                connection.execute(_PUT_BACK, [list(column) for column in zip(*rows, strict=True)])
                connection.execute(_INDEX, _identifier_columns(rows))
        with self._connection_to_write(_REWRITE_SECONDS) as connection:
            # Deleted rows stay in the tables' files until these are written anew.
            connection.execute("SET statement_timeout = 0")
            try:
                for table in ("journal_events", "journal_identifiers"):
                    connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table)))
            finally:
                connection.execute(STATEMENT_TIMEOUT)

    def close(self) -> None:
        self._group.close()
        self._pool.close()

    def _connect(self) -> Connection:
        return open_durable_session(self._url, self._schema, "customer-twin journal")

    def _prepare(self) -> str:
        with self._transaction(_BULK_SECONDS) as connection:
            # IF NOT EXISTS alone fails where two make the same thing at the same time.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('customer-twin journal', 0))")
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
            for statement in _TABLES:
                connection.execute(statement)
            made = "INSERT INTO journal_head VALUES (1, %s, 0) ON CONFLICT DO NOTHING"
            connection.execute(made, (uuid.uuid4().hex,))
            _index_identifiers(connection)
            return str(_one(connection.execute("SELECT identity FROM journal_head")))

    @contextmanager
    def _connection_to_write(self, seconds: float = _TIMEOUT_SECONDS) -> Iterator[Connection]:
        with _available(), self._writing, self._pool.taken() as connection:
            connection.seconds = seconds
            yield connection

    @contextmanager
    def _transaction(self, seconds: float = _TIMEOUT_SECONDS) -> Iterator[Connection]:
        with self._connection_to_write(seconds) as connection, connection.transaction():
            yield connection

    def _store(self, events: Sequence[EncodedEvent]) -> list[Appended]:
        # Each statement sees what was committed when it began, so the keys are looked up after the
        # lock is held, in a statement of its own; the pipeline only spares the round trips.
        keys = [event.key for event in events]
        with self._connection_to_write() as connection, connection.pipeline(), connection.transaction():
            head = connection.execute(_LOCK)
            found = connection.execute(_KNOWN, (keys,))
            answers = assign(keys, dict(found.fetchall()), _one(head))
            new = [(a.position, e) for a, e in zip(answers, events, strict=True) if not a.duplicate]
            if new:
                positions = [position for position, _ in new]
                columns = [list(column) for column in zip(*(event.values for _, event in new), strict=True)]
                digests = [event.key for _, event in new]
                found_in = [(digest, position) for position, event in new for digest in event.identifiers]
                identifiers = [[digest for digest, _ in found_in], [position for _, position in found_in]]
                connection.execute(_INSERT, [positions, *columns, digests, positions, *identifiers, positions[-1]])
        return answers

    def _fetch(self, query: str, values: Sequence[Any]) -> list[StoredRow]:
        with _available(), self._pool.taken() as connection:
            connection.seconds = _TIMEOUT_SECONDS
            return connection.execute(query, values).fetchall()


def _identifier_columns(rows: Sequence[StoredRow]) -> list[list[int]]:
    found = [(digest, row[0]) for row in rows for digest in digests_of_row(row)]
    return [[digest for digest, _ in found], [position for _, position in found]]


def _index_identifiers(connection: Connection) -> None:
    """Once, for a journal that was made before it had this index."""
    if connection.execute("SELECT 1 FROM journal_identifiers LIMIT 1").fetchone() is None:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM journal_events").fetchall()
        connection.execute(_INDEX, _identifier_columns(rows))


def url_from_environment() -> str:
    """The connection string in TWIN_POSTGRES_URL. Raises UserError where it is not set."""
    url = os.environ.get(URL_VARIABLE)
    if not url:
        raise UserError(f"{URL_VARIABLE} is not set; it says where PostgreSQL is: postgresql://user@host:5432/name")
    return url


def _one(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Any:
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the journal's head row is missing")
    return row[0]


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction) as error:
        # The server's words may hold values of rows, so only the kind of the error is told.
        raise JournalUnavailable(f"PostgreSQL cannot be used now ({type(error).__name__}); try again later") from error
