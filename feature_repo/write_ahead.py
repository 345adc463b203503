"""SQLite files with a write-ahead log, also where several processes open a new file at the same time."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

_POLL_SECONDS = 0.01


def use_write_ahead_log(connection: sqlite3.Connection, wait_seconds: float = 30.0) -> None:
    """Readers of the file never wait for a writer from now on. The file remembers it.

    A new file has to be changed over once. SQLite does not always wait there for another process that does
    the same, however long the connection's timeout is, so this does.

    Raises:
        sqlite3.OperationalError: somebody else was at the file for all of `wait_seconds`, or it cannot be used.
    """
    until = time.monotonic() + wait_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(_POLL_SECONDS)


def open_durable(path: Path, wait_seconds: float) -> sqlite3.Connection:
    """A connection whose commits are on the disk; threads may hand it on. Raises sqlite3.OperationalError."""
    connection = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None, check_same_thread=False)
    try:
        use_write_ahead_log(connection, wait_seconds)
        # With a write-ahead log, FULL is what waits for the disk at each commit; NORMAL does not.
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection
