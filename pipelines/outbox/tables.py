"""The tables of the outbox, and its connections. SQLite with a write-ahead log, one file a workspace."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_repo.write_ahead import open_durable

TABLES = (
    """CREATE TABLE IF NOT EXISTS outbox_messages (
      id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, trigger TEXT NOT NULL, began_at INTEGER NOT NULL, endpoint TEXT,
      created_at INTEGER NOT NULL, payload TEXT NOT NULL, purpose TEXT, not_before INTEGER, state TEXT NOT NULL,
      attempts INTEGER NOT NULL, next_attempt_at INTEGER NOT NULL, error TEXT, sent_at INTEGER,
      lease TEXT, leased_until INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS outbox_next ON outbox_messages (endpoint, next_attempt_at) WHERE state = 'waiting'",
    "CREATE INDEX IF NOT EXISTS outbox_customer ON outbox_messages (customer_id, trigger)",
    "CREATE INDEX IF NOT EXISTS outbox_time ON outbox_messages (created_at, id)",
    """CREATE TABLE IF NOT EXISTS outbox_edges (
      customer_id TEXT NOT NULL, trigger TEXT NOT NULL, state TEXT NOT NULL, began_at INTEGER NOT NULL,
      due_at INTEGER, fired_at INTEGER, PRIMARY KEY (customer_id, trigger)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS outbox_due ON outbox_edges (due_at) WHERE state = 'waiting'",
    # Up to which position of a journal its events were looked at.
    "CREATE TABLE IF NOT EXISTS outbox_consulted (journal TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID",
    # Triggers, since when they are watched (by the clock that customers are read at), and whether all customers were
    # looked at since.
    """CREATE TABLE IF NOT EXISTS outbox_watched (
      trigger TEXT PRIMARY KEY, since INTEGER NOT NULL, swept INTEGER NOT NULL) WITHOUT ROWID""",
    # The sweep over all customers: when it began, and the customer that it came to; empty before the first, null at
    # the end.
    """CREATE TABLE IF NOT EXISTS outbox_sweep (
      one INTEGER PRIMARY KEY CHECK (one = 1), began_at INTEGER NOT NULL, customer_id TEXT)""",
    # Endpoints that said they want no more.
    "CREATE TABLE IF NOT EXISTS outbox_disabled (endpoint TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID",
)
WAIT_SECONDS = 10.0


class Connections:
    """One connection for all threads, which take turns; every commit is on the disk when it returns."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error where the file cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._turn = threading.Lock()
        self._connection = open_durable(path, WAIT_SECONDS)
        try:
            with self.transaction() as connection:
                for statement in TABLES:
                    connection.execute(statement)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is written within is there as a whole, or not at all; other processes wait."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def unhurried(self) -> Iterator[sqlite3.Connection]:
        """A commit that kill -9 does not undo, but a loss of power may: for what is found out again then."""
        with self._turn:
            self._connection.execute("PRAGMA synchronous=NORMAL")
            try:
                yield self._connection
            finally:
                self._connection.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        with self._turn:
            yield self._connection

    def close(self) -> None:
        with self._turn:
            self._connection.close()
