"""A new SQLite file is opened by several at once: each of them waits for the others."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from feature_repo.write_ahead import use_write_ahead_log


def impatient(path: Path) -> sqlite3.Connection:
    """A connection that never waits by itself, as SQLite does at times while a file is changed over."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def test_it_waits_for_who_is_at_the_file(tmp_path: Path) -> None:
    with closing(impatient(tmp_path / "a.db")) as other, closing(impatient(tmp_path / "a.db")) as connection:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connection.execute("PRAGMA journal_mode=WAL")
        release = threading.Timer(0.05, other.execute, ["COMMIT"])
        release.start()
        use_write_ahead_log(connection)
        release.join()
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_it_gives_up_at_last_and_at_once_where_waiting_helps_nothing(tmp_path: Path) -> None:
    with closing(impatient(tmp_path / "a.db")) as other, closing(impatient(tmp_path / "a.db")) as connection:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            use_write_ahead_log(connection, wait_seconds=0.05)
    (tmp_path / "b.db").write_text("no database, but long enough to be taken for one" * 100)
    with closing(impatient(tmp_path / "b.db")) as connection, pytest.raises(sqlite3.DatabaseError, match="not a"):
        use_write_ahead_log(connection)


def test_several_open_new_files_together(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def open_each() -> None:
        for number in range(100):
            with closing(sqlite3.connect(tmp_path / f"{number}.db", timeout=30)) as connection:
                together.wait(60)
                use_write_ahead_log(connection)

    with ThreadPoolExecutor(4) as pool:
        for opener in [pool.submit(open_each) for _ in range(4)]:
            opener.result()
