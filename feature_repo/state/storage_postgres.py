"""States in PostgreSQL, which the services of several processes and hosts share. Needs the extra `server` (psycopg 3).

The server is to keep what it committed (`synchronous_commit`, which is on for these sessions), so nothing is forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import errors, sql

from feature_repo.state.availability import Availability
from feature_repo.state.storage import NEVER, Progress, StoredState

Result = TypeVar("Result")
Row = tuple[Any, ...]

# Together less than what any service lets a request take. Two seconds are the least that a connection can be given.
_CONNECT_SECONDS = 2
_TIMEOUT_SECONDS = 2.0
# For builds and erasures, which nobody waits for on the other end of a request.
_BULK_SECONDS = 600.0

_TABLES: tuple[LiteralString, ...] = (
    """CREATE TABLE IF NOT EXISTS customer_state (
      revision bigint NOT NULL, position bigint NOT NULL, newest bigint NOT NULL,
      spec_hash text COLLATE "C" NOT NULL, customer_id text COLLATE "C" NOT NULL, data bytea NOT NULL,
      PRIMARY KEY (spec_hash, customer_id))""",
    "CREATE INDEX IF NOT EXISTS customer_state_newest ON customer_state (spec_hash, newest)",
    """CREATE TABLE IF NOT EXISTS state_progress (
      spec_hash text PRIMARY KEY, position bigint NOT NULL, version bigint NOT NULL, build text NOT NULL)""",
)
_SESSION = """
SET synchronous_commit = on; SET default_transaction_isolation = 'read committed'; SET lock_timeout = '2s';
SET idle_in_transaction_session_timeout = '10s'
"""
_GET = """SELECT customer_id, position, newest, data, revision FROM customer_state
WHERE spec_hash = %s AND customer_id = ANY(%s)"""
_UPSERT = """
ON CONFLICT (spec_hash, customer_id) DO UPDATE SET
  position = excluded.position, newest = excluded.newest, data = excluded.data, revision = excluded.revision
"""
_PUT = f"""
INSERT INTO customer_state AS stored (spec_hash, customer_id, position, newest, data, revision)
SELECT %s, * FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %b::bytea[], %s::bigint[])
{_UPSERT} WHERE (excluded.revision, excluded.position) >= (stored.revision, stored.position)
RETURNING customer_id
"""
_REPLACE = f"""
INSERT INTO customer_state (spec_hash, customer_id, position, newest, data, revision)
SELECT %s, * FROM fresh ORDER BY customer_id {_UPSERT}
"""
_FRESH = """CREATE TEMP TABLE fresh (
  customer_id text COLLATE "C" PRIMARY KEY, position bigint, newest bigint, data bytea, revision bigint)
  ON COMMIT DROP"""
_NOTE = """
INSERT INTO state_progress AS stored VALUES (%(spec)s, %(position)s, %(version)s, coalesce(%(build)s::text, ''))
ON CONFLICT (spec_hash) DO UPDATE SET position = greatest(stored.position, excluded.position),
  version = excluded.version, build = coalesce(%(build)s::text, stored.build)
"""
# One look into the index for each spec; DISTINCT would read all of it.
_SPECS = """
WITH RECURSIVE specs (spec) AS (
  SELECT min(spec_hash) FROM customer_state
  UNION ALL SELECT (SELECT min(spec_hash) FROM customer_state WHERE spec_hash > spec) FROM specs WHERE spec IS NOT NULL)
SELECT spec FROM specs WHERE spec IS NOT NULL ORDER BY spec
"""


class _Connection(psycopg.Connection[Row]):
    """One that gives up on a server that hangs; the server's own time-outs do not help there."""

    seconds = _TIMEOUT_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, self.seconds if timeout is None else timeout)


class PostgresStateStorage:
    """States in a schema of their own, made with its tables when first used. A connection belongs to its thread."""

    def __init__(self, url: str, schema: str, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        """`url` is a connection string. Connects when first used."""
        self._url, self._schema, self._seconds = url, schema, timeout_seconds
        self._local = threading.local()
        self._prepared = False
        self._available = Availability("PostgreSQL", self._ask, (psycopg.Error,), _is_away)

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        # A text of PostgreSQL has no NUL, so no customer is called so.
        ids = [who for who in customer_ids if "\0" not in who]
        rows = self._fetch(_GET, (spec_hash, ids))
        return {row[0]: StoredState(*row) for row in rows}

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        latest, stayed = _latest(states)
        if not latest:
            return stayed
        # In one order everywhere, so that two that write the same customers never wait for each other.
        rows = [_row(latest[who]) for who in sorted(latest)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        stored = {row[0] for row in self._fetch(_PUT, (spec_hash, *columns))}
        return stayed + [who for who in latest if who not in stored]

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        rows = {state.customer_id: _row(state) for state in states}

        def replace(connection: _Connection) -> None:
            connection.execute(_FRESH)
            with connection.cursor().copy("COPY fresh FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "int8", "int8", "bytea", "int8"])
                for row in rows.values():
                    copy.write_row(row)
            connection.execute(_REPLACE, (spec_hash,))

        self._in_bulk(replace)

    def newest(self, spec_hash: str) -> int | None:
        found: int | None = self._fetch("SELECT max(newest) FROM customer_state WHERE spec_hash = %s", (spec_hash,))[0][
            0
        ]
        return None if found == NEVER else found

    def count(self, spec_hash: str) -> int:
        query = "SELECT count(*) FROM customer_state WHERE spec_hash = %s AND length(data) > 0"
        return int(self._fetch(query, (spec_hash,))[0][0])

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        def keep(connection: _Connection) -> None:
            connection.execute('CREATE TEMP TABLE kept (customer_id text COLLATE "C" PRIMARY KEY) ON COMMIT DROP')
            with connection.cursor().copy("COPY kept FROM STDIN") as copy:
                for who in dict.fromkeys(customer_ids):
                    copy.write_row((who,))
            others = """DELETE FROM customer_state s WHERE spec_hash = %s
              AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.customer_id = s.customer_id)"""
            connection.execute(others, (spec_hash,))

        self._in_bulk(keep)

    def begin(self, spec_hash: str) -> str:
        return ""

    def note(self, spec_hash: str, position: int, version: int, life: str, build: str | None = None) -> None:
        values = {"spec": spec_hash, "position": position, "version": version, "build": build}
        self._done(lambda connection: connection.execute(_NOTE, values))

    def noted(self, spec_hash: str) -> Progress | None:
        rows = self._fetch("SELECT position, version, build FROM state_progress WHERE spec_hash = %s", (spec_hash,))
        return Progress(*rows[0]) if rows else None

    def as_found(self) -> PostgresStateStorage:
        return self

    def remove_spec(self, spec_hash: str) -> None:
        def remove(connection: _Connection) -> None:
            connection.execute("DELETE FROM customer_state WHERE spec_hash = %s", (spec_hash,))
            connection.execute("DELETE FROM state_progress WHERE spec_hash = %s", (spec_hash,))

        self._in_bulk(remove)

    def spec_hashes(self) -> list[str]:
        return [row[0] for row in self._fetch(_SPECS, ())]

    def erase(self, customer_ids: Sequence[str]) -> None:
        query = "DELETE FROM customer_state WHERE customer_id = ANY(%s)"
        self._in_bulk(lambda connection: connection.execute(query, (list(customer_ids),)))
        # Deleted rows stay in the table's file until it is written anew.
        self._done(lambda connection: connection.execute("VACUUM (FULL) customer_state"), _BULK_SECONDS)

    def _fetch(self, query: LiteralString, values: Sequence[Any]) -> list[Row]:
        return self._done(lambda connection: connection.execute(query, values, binary=True).fetchall())

    def _in_bulk(self, work: Callable[[_Connection], object]) -> None:
        def transaction(connection: _Connection) -> None:
            with connection.transaction():
                work(connection)

        self._done(transaction, _BULK_SECONDS)

    def _done(self, work: Callable[[_Connection], Result], seconds: float | None = None) -> Result:
        """What `work` gives. Done once more where the connection lay idle and was broken: nothing had begun then."""
        with self._available.needed():
            idle = self._idle()
            if idle is not None:
                try:
                    return self._within(work, idle, seconds)
                except psycopg.OperationalError as error:
                    if not _is_away(error) or isinstance(error, errors._WaitTimeout):
                        raise
            return self._within(work, self._fresh(), seconds)

    def _within(self, work: Callable[[_Connection], Result], connection: _Connection, seconds: float | None) -> Result:
        connection.seconds = self._seconds if seconds is None else seconds
        try:
            return work(connection)
        except psycopg.Error as error:
            if _is_away(error):
                connection.close()
            raise

    def _idle(self) -> _Connection | None:
        connection: _Connection | None = getattr(self._local, "connection", None)
        return None if connection is None or connection.closed else connection

    def _fresh(self) -> _Connection:
        self._local.connection = self._connect()
        return self._local.connection

    def _connect(self) -> _Connection:
        connection = _Connection.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="customer-twin states"
        )
        connection.seconds = self._seconds
        try:
            if not self._prepared:
                self._prepare(connection)
                self._prepared = True
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))
            connection.execute(_SESSION)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: _Connection) -> None:
        there = connection.execute("SELECT to_regclass(%s)", (f'"{self._schema}".state_progress',)).fetchone()
        if there is not None and there[0] is not None:
            return
        with connection.transaction():
            # IF NOT EXISTS alone fails where two make the same thing at the same time.
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('customer-twin states', 0))")
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
            connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(self._schema)))
            for statement in _TABLES:
                connection.execute(statement)

    def _ask(self) -> None:
        with self._connect() as connection:
            connection.execute("SELECT 1")


def _row(state: StoredState) -> Row:
    return state.customer_id, state.position, state.newest, state.data, state.revision


def _latest(states: Iterable[StoredState]) -> tuple[dict[str, StoredState], list[str]]:
    """The state of each customer that would be left if one were stored after the other, and whose would have stayed."""
    latest: dict[str, StoredState] = {}
    stayed = []
    for new in states:
        known = latest.get(new.customer_id)
        if known is not None and (new.revision, new.position) < (known.revision, known.position):
            stayed.append(new.customer_id)
        else:
            latest[new.customer_id] = new
    return latest, stayed


def _is_away(error: Exception) -> bool:
    """Whether nobody answers: no server, one that starts or stops, or a connection that broke."""
    state = getattr(error, "sqlstate", None)
    broken = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and state is None
    return broken or (state is not None and (state[:2] == "08" or state[:4] == "57P0"))
