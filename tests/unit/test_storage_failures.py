"""A disk that is full or may not be written: words with a remedy, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.console import storage_failure
from pipelines.events import lake
from pipelines.ingest import commit, stage
from pipelines.validate.docs import write_whole
from tests.unit.ingest_parts import ingest, shop, stored, written

ROWS = [f"{number},2026-03-01,C{number},1,2.50" for number in range(5000)]


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_ingest_without_room_stores_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    settings, file = shop(tmp_path), written(tmp_path, *ROWS)
    with files_at_most(100_000), pytest.raises(Exception) as raised:  # noqa: PT011 (each library has its own)
        stage(settings, "shop", file)
    assert "ulimit -f" in str(storage_failure(raised.value))
    assert lake.version(settings.workspace.lake) is None
    assert not settings.workspace.staging.exists()
    assert ingest(settings, file).accepted == len(ROWS)


def test_a_commit_without_room_leaves_the_lake_as_it_was(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    ingest(settings, written(tmp_path, "first,2026-03-01,C1,1,1", name="first.csv"))
    file = written(tmp_path, *ROWS)
    batch = stage(settings, "shop", file)
    with files_at_most(20_000), pytest.raises(Exception) as raised:  # noqa: PT011
        commit(batch)
    # The journal's own error has the remedy already.
    assert "ulimit -f" in str(storage_failure(raised.value) or raised.value)
    assert [event["event_id"] for event in stored(settings)] == ["first"]
    assert commit(batch).accepted == len(ROWS)
    assert len(stored(settings)) == len(ROWS) + 1


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with files_at_most(1_000), pytest.raises(OSError, match="File too large"):
        write_whole(tmp_path / "page.json", "x" * 5_000)
    assert list(tmp_path.iterdir()) == []
    write_whole(tmp_path / "page.json", "{}")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["{}"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EMFILE])
def test_what_the_system_refuses_is_said_with_the_file(code: int) -> None:
    told = str(storage_failure(OSError(code, os.strerror(code), "lake/part.parquet")))
    assert told.endswith(": lake/part.parquet")


def test_other_errors_stay_errors() -> None:
    assert storage_failure(ValueError("a fault of the program")) is None
    assert storage_failure(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "x")) is None
