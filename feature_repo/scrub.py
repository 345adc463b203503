"""Leave nothing of deleted rows in an SQLite file: not in free pages, not in its write-ahead log."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

_POLL_SECONDS = 0.05


def scrub(path: Path, wait_seconds: float = 30.0) -> None:
    """Write the file anew and empty its log; others may go on reading and writing.

    Raises:
        sqlite3.OperationalError: somebody wrote, or read an old version, for all of `wait_seconds`.
    """
    until = time.monotonic() + wait_seconds
    with closing(sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("VACUUM")
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise sqlite3.OperationalError(f"{path.name} is read or written without a pause")
            time.sleep(_POLL_SECONDS)
