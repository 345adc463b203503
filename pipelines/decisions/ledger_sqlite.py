"""The ledger in one SQLite file with a write-ahead log. Several threads and processes of one host may share it."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from feature_repo.scrub import scrub
from feature_repo.write_ahead import use_write_ahead_log
from pipelines.console import storage_failure
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
from pipelines.events.journal import NewEvent
from pipelines.events.journal_pool import ConnectionPool

_TABLES = (
    """CREATE TABLE IF NOT EXISTS decisions (
      decision_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, body TEXT NOT NULL, action TEXT NOT NULL, channel TEXT,
      contacted INTEGER NOT NULL, cost INTEGER NOT NULL, as_of INTEGER NOT NULL, at INTEGER NOT NULL,
      event TEXT NOT NULL, journaled INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS decisions_contacts ON decisions (customer_id, at) WHERE contacted = 1",
    "CREATE INDEX IF NOT EXISTS decisions_waiting ON decisions (as_of) WHERE journaled = 0",
    "CREATE INDEX IF NOT EXISTS decisions_time ON decisions (as_of, cost)",
    """CREATE TABLE IF NOT EXISTS decision_spending (
      begins INTEGER NOT NULL, per INTEGER NOT NULL, spent INTEGER NOT NULL, PRIMARY KEY (begins, per))""",
)
_LISTED = "(SELECT value FROM json_each(?))"
_KEPT = "action, channel, contacted, cost, as_of, at, event"
_INSERT = "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
_CONTACTS = f"""SELECT action, channel, at FROM decisions
  WHERE customer_id IN {_LISTED} AND contacted = 1 AND at >= ? ORDER BY at, decision_id"""
# The first call of a period counts what was decided before under another period, such as of another catalogue.
_BEGIN_PERIOD = """INSERT OR IGNORE INTO decision_spending
  SELECT ?1, ?2, coalesce(sum(cost), 0) FROM decisions WHERE as_of >= ?1 AND as_of < ?1 + ?2"""
_SPENT = "SELECT spent FROM decision_spending WHERE begins = ? AND per = ?"
_SPEND = "UPDATE decision_spending SET spent = spent + ?1 WHERE begins <= ?2 AND ?2 < begins + per"
_OLD = "SELECT decision_id, event FROM decisions WHERE as_of < ?1 AND journaled = 1 AND contacted = 1 AND body <> ''"
_ROWS_A_PRUNING = 2_000


class SQLiteLedger:
    """BEGIN IMMEDIATE: one decision at a time, for the file has one writer; one fsync a decision."""

    def __init__(self, path: Path, wait_seconds: float = 10.0) -> None:
        """Opens the file, made if there is none. `wait_seconds` is how long to wait for another process that writes.

        Raises LedgerUnavailable, and sqlite3.DatabaseError if it is no database.
        """
        self._path = path
        self._wait_seconds = wait_seconds
        self._writing = threading.Lock()
        self._pool = ConnectionPool(self._connect)
        self._done: deque[str] = deque()
        with _available():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            for statement in _TABLES:
                connection.execute(statement)

    def decide(self, question: Question, make: Make) -> Answered:
        failed: BaseException | None = None
        answered: Answered | None = None
        with _available(), self._writing, self._pool.taken() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                answered = self._decide(connection, question, make)
            except sqlite3.Error:
                raise
            except BaseException as error:  # noqa: BLE001 (raised below, once the connection is in order again)
                failed = error
            connection.execute("COMMIT" if failed is None else "ROLLBACK")
        if answered is None:
            raise failed or RuntimeError("nothing was decided")
        return answered

    def _decide(self, connection: sqlite3.Connection, question: Question, make: Make) -> Answered:
        query = f"SELECT body, {_KEPT} FROM decisions WHERE decision_id = ?"
        row = connection.execute(query, (question.decision_id,)).fetchone()
        if row is not None:
            check_same(row[0], question)
            return Answered(_kept(row[1:]), True)
        contacts = connection.execute(_CONTACTS, (_list(question.customer_ids), question.since)).fetchall()
        spent = 0 if question.period is None else _spent(connection, question.period)
        kept = make(Before(tuple(Contact(*contact) for contact in contacts), spent))
        of = (question.decision_id, question.customer_id, question.body)
        told = (kept.action, kept.channel, kept.contacted, kept.cost, kept.as_of, kept.at, event_text(kept.event))
        connection.execute(_INSERT, (*of, *told))
        if kept.cost:
            connection.execute(_SPEND, (kept.cost, kept.as_of))
        # Last, for what raises takes the notes of its transaction back with it.
        self._note(connection)
        return Answered(kept, False)

    def find(self, decision_id: str) -> Kept | None:
        rows = self._fetch(f"SELECT {_KEPT} FROM decisions WHERE decision_id = ?", (decision_id,))
        kept = _kept(rows[0]) if rows else None
        return kept if kept is not None and is_whole(kept) else None

    def waiting(self, limit: int) -> list[NewEvent]:
        rows = self._fetch("SELECT event FROM decisions WHERE journaled = 0 ORDER BY as_of LIMIT ?", (limit,))
        return [event_of(row[0]) for row in rows]

    def journaled(self, decision_ids: Sequence[str]) -> None:
        self._done.extend(decision_ids)

    def contacts(self, since: int) -> dict[str, list[Contact]]:
        query = "SELECT customer_id, action, channel, at FROM decisions WHERE contacted = 1 AND at >= ? ORDER BY at"
        found: dict[str, list[Contact]] = {}
        for customer, *contact in self._fetch(query, (since,)):
            found.setdefault(customer, []).append(Contact(*contact))
        return found

    def spent(self, period: Period) -> int:
        with self._transaction() as connection:
            return _spent(connection, period)

    def decisions_of(self, customer_ids: Sequence[str]) -> list[Kept]:
        query = f"SELECT {_KEPT} FROM decisions WHERE customer_id IN {_LISTED} ORDER BY as_of, decision_id"
        return [_kept(row) for row in self._fetch(query, (_list(customer_ids),))]

    def prune(self, contacts_before: int, others_before: int) -> None:
        old = """SELECT decision_id FROM decisions WHERE journaled = 1
          AND (contacted = 0 AND as_of < ? OR contacted = 1 AND at < ?) LIMIT ?"""
        with self._transaction() as connection:
            self._note(connection)
            connection.execute("DELETE FROM decision_spending WHERE begins + per < ?", (contacts_before,))
        removed = _ROWS_A_PRUNING
        while removed == _ROWS_A_PRUNING:
            with self._transaction() as connection:
                limits = (others_before, contacts_before, _ROWS_A_PRUNING)
                removed = connection.execute(f"DELETE FROM decisions WHERE decision_id IN ({old})", limits).rowcount
        emptied = _ROWS_A_PRUNING
        while emptied == _ROWS_A_PRUNING:
            with self._transaction() as connection:
                rows = connection.execute(f"{_OLD} LIMIT ?2", (others_before, _ROWS_A_PRUNING)).fetchall()
                fewer = [(event_text(without_properties(event_of(event))), name) for name, event in rows]
                connection.executemany("UPDATE decisions SET event = ?, body = '' WHERE decision_id = ?", fewer)
                emptied = len(rows)

    def erase(self, customer_ids: Sequence[str]) -> int:
        with self._transaction() as connection:
            self._note(connection)
            query = f"DELETE FROM decisions WHERE customer_id IN {_LISTED}"
            removed = connection.execute(query, (_list(customer_ids),)).rowcount
        with _available(), self._writing:
            scrub(self._path, self._wait_seconds)
        return removed

    def settle(self) -> None:
        if self._done:
            with self._transaction() as connection:
                self._note(connection)

    def close(self) -> None:
        try:
            self.settle()
        finally:
            self._pool.close()

    def _note(self, connection: sqlite3.Connection) -> None:
        """What is lost of this with its process is waiting still, and appending an event again changes nothing."""
        taken = [(self._done.popleft(),) for _ in range(len(self._done))]
        connection.executemany("UPDATE decisions SET journaled = 1 WHERE decision_id = ?", taken)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._wait_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            use_write_ahead_log(connection, self._wait_seconds)
            # With a write-ahead log, FULL is what waits for the disk at each commit.
            connection.execute("PRAGMA synchronous=FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # As in the journal: a connection that saw an error is closed by the pool, which rolls back.
        with _available(), self._writing, self._pool.taken() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def _fetch(self, query: str, values: Sequence[Any]) -> list[Any]:
        with _available(), self._pool.taken() as connection:
            return connection.execute(query, values).fetchall()


def _spent(connection: sqlite3.Connection, period: Period) -> int:
    key = (period.begins, period.per)
    found = connection.execute(_SPENT, key).fetchone()
    if found is None:
        connection.execute(_BEGIN_PERIOD, key)
        found = connection.execute(_SPENT, key).fetchone()
    return int(found[0])


def _kept(row: Sequence[Any]) -> Kept:
    action, channel, contacted, cost, as_of, at, event = row
    return Kept(action, channel, bool(contacted), cost, as_of, at, event_of(event))


def _list(values: Sequence[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


@contextmanager
def _available() -> Iterator[None]:
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        told = storage_failure(error)
        reason = told.message if told is not None else str(error)
        raise LedgerUnavailable(f"the ledger of decisions cannot be used now: {reason}") from error
