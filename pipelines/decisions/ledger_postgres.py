"""The ledger in PostgreSQL, where several hosts decide. Needs the extra `server` (psycopg 3)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from feature_repo.postgres import CONNECT_SECONDS, BoundedConnection
from pipelines.decisions.ledger import (
    Answered,
    Before,
    Kept,
    LedgerUnavailable,
    Make,
    Period,
    Question,
    check_same,
    event_of,
    event_text,
    is_whole,
    without_properties,
)
from pipelines.decisions.situation import Contact
from pipelines.events.journal import NewEvent, identifier_digest
from pipelines.events.journal_pool import ConnectionPool
from pipelines.events.journal_postgres import url_from_environment

_TIMEOUT_SECONDS = 3.0
_BULK_SECONDS = 60.0
_REWRITE_SECONDS = 3_600.0
_TABLES = (
    """CREATE TABLE IF NOT EXISTS decisions (
      decision_id text PRIMARY KEY, customer_id text NOT NULL, body text NOT NULL, action text NOT NULL, channel text,
      contacted boolean NOT NULL, cost bigint NOT NULL, as_of bigint NOT NULL, at bigint NOT NULL,
      event text NOT NULL, journaled boolean NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS decisions_contacts ON decisions (customer_id, at) WHERE contacted",
    "CREATE INDEX IF NOT EXISTS decisions_waiting ON decisions (as_of) WHERE NOT journaled",
    "CREATE INDEX IF NOT EXISTS decisions_time ON decisions (as_of, cost)",
    """CREATE TABLE IF NOT EXISTS decision_spending (
      begins bigint NOT NULL, per bigint NOT NULL, spent bigint NOT NULL, PRIMARY KEY (begins, per))""",
)
# As in the journal: durable whatever the server's default, and no host holds up the others for ever.
_SESSION = (
    "SET synchronous_commit = on",
    "SET default_transaction_isolation = 'read committed'",
    "SET statement_timeout = '60s'",
    "SET lock_timeout = '10s'",
    "SET idle_in_transaction_session_timeout = '10s'",
)
_KEPT = "action, channel, contacted, cost, as_of, at, event"
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_INSERT = "INSERT INTO decisions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, false)"
_CONTACTS = """SELECT action, channel, at FROM decisions
  WHERE customer_id = ANY(%s) AND contacted AND at >= %s ORDER BY at, decision_id"""
_BEGIN_PERIOD = """INSERT INTO decision_spending
  SELECT %(begins)s, %(per)s, coalesce(sum(cost), 0) FROM decisions
  WHERE as_of >= %(begins)s AND as_of < %(begins)s + %(per)s
  HAVING NOT EXISTS (SELECT 1 FROM decision_spending WHERE begins = %(begins)s AND per = %(per)s)"""
_SPENT = "SELECT spent FROM decision_spending WHERE begins = %(begins)s AND per = %(per)s"
_SPEND = """UPDATE decision_spending SET spent = spent + %(cost)s
  WHERE begins <= %(as_of)s AND %(as_of)s < begins + per"""
_ROWS_A_PRUNING = 5_000


class PostgresLedger:
    """Locks of the server keep apart who decides on one id, one customer or, where there is a budget, one period.

    They end with their transaction, however that ends, and are taken in one order, so that nobody waits in a circle.
    """

    def __init__(self, url: str | None = None, schema: str = "customer_twin") -> None:
        """`url` is a connection string; None takes it from the environment (TWIN_POSTGRES_URL).

        The schema and its tables are made if there are none. Raises UserError where no address is given, and
        LedgerUnavailable.
        """
        self._url = url if url is not None else url_from_environment()
        self._schema = schema
        self._pool = ConnectionPool(self._connect)
        self._done: deque[str] = deque()
        self._noting = threading.Lock()
        self._prepare()

    def decide(self, question: Question, make: Make) -> Answered:
        failed: BaseException | None = None
        answered: Answered | None = None
        with self._connection() as connection, connection.transaction() as transaction:
            try:
                answered = self._decide(connection, question, make)
            except psycopg.Error:
                raise
            except BaseException as error:  # noqa: BLE001 (raised below, once the connection is in order again)
                failed = error
                raise psycopg.Rollback(transaction) from None
        if answered is None:
            raise failed or RuntimeError("nothing was decided")
        return answered

    def _decide(self, connection: BoundedConnection, question: Question, make: Make) -> Answered:
        # Each statement sees what was committed when it began: what is read is read after the locks are held. The
        # pipeline only spares the round trips.
        contacts_of = (list(question.customer_ids), question.since)
        with connection.pipeline():
            for lock in self._locks(question):
                connection.execute(_LOCK, (lock,))
            known = connection.execute(
                f"SELECT body, {_KEPT} FROM decisions WHERE decision_id = %s", (question.decision_id,)
            )
            contacts = connection.execute(_CONTACTS, contacts_of)
            spending = None if question.period is None else _spending(connection, question.period)
        row = known.fetchone()
        if row is not None:
            check_same(row[0], question)
            return Answered(_kept(row[1:]), True)
        spent = 0 if spending is None else _number(spending)
        kept = make(Before(tuple(Contact(*contact) for contact in contacts.fetchall()), spent))
        of = (question.decision_id, question.customer_id, question.body)
        told = (kept.action, kept.channel, kept.contacted, kept.cost, kept.as_of, kept.at, event_text(kept.event))
        with connection.pipeline():
            connection.execute(_INSERT, (*of, *told))
            if kept.cost:
                connection.execute(_SPEND, {"cost": kept.cost, "as_of": kept.as_of})
            self._note(connection)
        return Answered(kept, False)

    def find(self, decision_id: str) -> Kept | None:
        rows = self._fetch(f"SELECT {_KEPT} FROM decisions WHERE decision_id = %s", (decision_id,))
        kept = _kept(rows[0]) if rows else None
        return kept if kept is not None and is_whole(kept) else None

    def waiting(self, limit: int) -> list[NewEvent]:
        rows = self._fetch("SELECT event FROM decisions WHERE NOT journaled ORDER BY as_of LIMIT %s", (limit,))
        return [event_of(row[0]) for row in rows]

    def journaled(self, decision_ids: Sequence[str]) -> None:
        self._done.extend(decision_ids)

    def contacts(self, since: int) -> dict[str, list[Contact]]:
        query = "SELECT customer_id, action, channel, at FROM decisions WHERE contacted AND at >= %s ORDER BY at"
        found: dict[str, list[Contact]] = {}
        for customer, *contact in self._fetch(query, (since,), _BULK_SECONDS):
            found.setdefault(customer, []).append(Contact(*contact))
        return found

    def spent(self, period: Period) -> int:
        with self._connection() as connection, connection.transaction():
            connection.execute(_LOCK, (self._lock("budget", ""),))
            return _number(_spending(connection, period))

    def decisions_of(self, customer_ids: Sequence[str]) -> list[Kept]:
        query = f"SELECT {_KEPT} FROM decisions WHERE customer_id = ANY(%s) ORDER BY as_of, decision_id"
        return [_kept(row) for row in self._fetch(query, (list(customer_ids),))]

    def prune(self, contacts_before: int, others_before: int) -> None:
        old = """SELECT decision_id FROM decisions WHERE journaled
          AND (NOT contacted AND as_of < %s OR contacted AND at < %s) LIMIT %s"""
        limits = (others_before, contacts_before, _ROWS_A_PRUNING)
        with self._connection(_BULK_SECONDS) as connection:
            with connection.transaction():
                self._note(connection)
                connection.execute("DELETE FROM decision_spending WHERE begins + per < %s", (contacts_before,))
            while connection.execute(f"DELETE FROM decisions WHERE decision_id IN ({old})", limits).rowcount:
                continue
            while self._empty_some(connection, others_before):
                continue

    def _empty_some(self, connection: BoundedConnection, before: int) -> int:
        query = """SELECT decision_id, event FROM decisions
          WHERE as_of < %s AND journaled AND contacted AND body <> '' LIMIT %s"""
        rows = connection.execute(query, (before, _ROWS_A_PRUNING)).fetchall()
        fewer = [(event_text(without_properties(event_of(event))), name) for name, event in rows]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany("UPDATE decisions SET event = %s, body = '' WHERE decision_id = %s", fewer)
        return len(rows)

    def erase(self, customer_ids: Sequence[str]) -> int:
        with self._connection(_BULK_SECONDS) as connection, connection.transaction():
            self._note(connection)
            query = "DELETE FROM decisions WHERE customer_id = ANY(%s)"
            removed = connection.execute(query, (list(customer_ids),)).rowcount
        with self._connection(_REWRITE_SECONDS) as connection:
            # Deleted rows stay in the table's file until it is written anew.
            connection.execute("SET statement_timeout = 0")
            try:
                connection.execute("VACUUM (FULL) decisions")
            finally:
                connection.execute(_SESSION[2])
        return removed

    def settle(self) -> None:
        if self._done:
            with self._connection() as connection, connection.transaction():
                self._note(connection)

    def close(self) -> None:
        try:
            self.settle()
        finally:
            self._pool.close()

    def _locks(self, question: Question) -> list[int]:
        customers = sorted(self._lock("customer", customer) for customer in question.customer_ids)
        budget = [] if question.period is None else [self._lock("budget", "")]
        return [self._lock("decision", question.decision_id), *customers, *budget]

    def _lock(self, kind: str, name: str) -> int:
        """Locks are the whole database's: 64 bits of what is meant, the schema with it."""
        return identifier_digest((f"{self._schema} {kind}", name))

    def _note(self, connection: BoundedConnection) -> None:
        """What is lost of this with its process is waiting still, and appending an event again changes nothing."""
        with self._noting:
            taken = [self._done.popleft() for _ in range(len(self._done))]
        if taken:
            connection.execute("UPDATE decisions SET journaled = true WHERE decision_id = ANY(%s)", (sorted(taken),))

    def _connect(self) -> BoundedConnection:
        connection = BoundedConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="customer-twin decisions"
        )
        try:
            connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(self._schema)))
            for statement in _SESSION:
                connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        with self._connection(_BULK_SECONDS) as connection, connection.transaction():
            # IF NOT EXISTS alone fails where two make the same thing at the same time.
            connection.execute(_LOCK, (self._lock("tables", ""),))
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(self._schema)))
            for statement in _TABLES:
                connection.execute(statement)

    @contextmanager
    def _connection(self, seconds: float = _TIMEOUT_SECONDS) -> Iterator[BoundedConnection]:
        with _available(), self._pool.taken() as connection:
            connection.seconds = seconds
            yield connection

    def _fetch(self, query: str, values: Sequence[Any], seconds: float = _TIMEOUT_SECONDS) -> list[Any]:
        with self._connection(seconds) as connection:
            return connection.execute(query, values).fetchall()


def _spending(connection: BoundedConnection, period: Period) -> psycopg.Cursor[Any]:
    of = {"begins": period.begins, "per": period.per}
    # The first call of a period counts what was decided before under another period, such as of another catalogue.
    connection.execute(_BEGIN_PERIOD, of)
    return connection.execute(_SPENT, of)


def _number(cursor: psycopg.Cursor[Any]) -> int:
    row = cursor.fetchone()
    if row is None:
        raise RuntimeError("the period's row is missing")
    return int(row[0])


def _kept(row: Sequence[Any]) -> Kept:
    action, channel, contacted, cost, as_of, at, event = row
    return Kept(action, channel, contacted, cost, as_of, at, event_of(event))


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction) as error:
        # The server's words may hold values of rows, so only the kind of the error is told.
        raise LedgerUnavailable(f"PostgreSQL cannot be used now ({type(error).__name__}); try again later") from error
