"""A process that dies in the middle, a commit that is repeated, and two ingests at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pipelines.console import UserError
from pipelines.events import lake
from pipelines.ingest import commit, discard, stage, steps
from pipelines.ingest.lock import IngestLock
from pipelines.settings.workspace import CHECKOUT
from tests.unit.ingest_parts import ingest, shop, stored, written

ROWS = [f"{number},2026-03-01,{number},1,2.5" for number in range(50)]

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from pipelines.ingest import commit, convert, stage, steps
from tests.unit.ingest_parts import shop

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

folder, where = Path(sys.argv[1]), sys.argv[2]
if where == "while converting":
    convert.convert = die
if where == "before the append":
    steps.lake.append = die
if where == "while appending":
    steps._batches = lambda file: (die() for _ in range(1))
if where == "after the append":
    steps._keep_quarantine = die
if where == "while waiting":
    batch = stage(shop(folder), "shop", folder / "orders.csv")
    print("staged", flush=True)
    time.sleep(60)
commit(stage(shop(folder), "shop", folder / "orders.csv"))
"""


def run(tmp_path: Path, where: str) -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(
        [sys.executable, str(program), str(tmp_path), where],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("where", "stored_then"),
    [
        ("while converting", 0),
        ("before the append", 0),
        ("while appending", 0),
        ("after the append", 50),
    ],
)
def test_killed_in_the_middle_and_run_again(tmp_path: Path, where: str, stored_then: int) -> None:
    file = written(tmp_path, *ROWS, "x")
    process = run(tmp_path, where)
    assert process.wait(timeout=120) == -signal.SIGKILL
    settings = shop(tmp_path)
    assert len(stored(settings)) == stored_then
    assert list(settings.workspace.staging.iterdir())
    report = ingest(settings, file)
    assert (report.read, report.accepted + report.duplicate, report.quarantined) == (51, 50, 1)
    assert report.accepted == 50 - stored_then
    positions = [event["position"] for event in stored(settings)]
    # Those that the killed run had reserved are never given again.
    assert positions == list(range(positions[0], positions[0] + 50))
    assert not list(settings.workspace.staging.iterdir())
    assert report.quarantine is not None
    assert Path(report.quarantine).is_file()


def test_a_commit_that_failed_after_the_append_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = shop(tmp_path)
    batch = stage(settings, "shop", written(tmp_path, *ROWS, "x"))

    def fail(_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "_keep_quarantine", fail)
        with pytest.raises(OSError, match="no space left"):
            commit(batch)
    report = commit(batch)
    assert (report.read, report.accepted, report.duplicate, report.quarantined) == (51, 0, 50, 1)
    assert len(stored(settings)) == 50
    assert Path(str(report.quarantine)).is_file()


def test_what_another_writer_stored_meanwhile_is_a_duplicate(tmp_path: Path) -> None:
    settings = shop(tmp_path)
    batch = stage(settings, "shop", written(tmp_path, *ROWS))
    lake.append(settings.workspace.lake, (b.slice(0, 7) for b in steps._batches(batch.events)), {})
    report = commit(batch)
    assert (report.accepted, report.duplicate) == (43, 7)
    assert [event["position"] for event in stored(settings)] == list(range(1, 51))


def test_a_second_ingest_waits_says_so_and_then_gives_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = shop(tmp_path)
    file = written(tmp_path, *ROWS)
    batch = stage(settings, "shop", file)
    with pytest.raises(UserError, match="another ingest of this workspace is running"):
        IngestLock.acquire(settings.workspace.root, wait_seconds=0.2)
    assert capsys.readouterr().err.count("Another ingest of this workspace is running; waiting") == 1
    assert batch.events.is_file()
    commit(batch)
    assert ingest(settings, file).duplicate == 50


def test_a_dead_process_does_not_hold_the_lock(tmp_path: Path) -> None:
    file = written(tmp_path, *ROWS)
    process = run(tmp_path, "while waiting")
    assert process.stdout is not None
    assert process.stdout.readline() == "staged\n"
    settings = shop(tmp_path)
    with pytest.raises(UserError, match="another ingest"):
        IngestLock.acquire(settings.workspace.root, wait_seconds=0.0)
    process.kill()
    process.wait(timeout=30)
    assert ingest(settings, file).accepted == 50


def test_two_at_once_store_each_event_once(tmp_path: Path) -> None:
    written(tmp_path, *ROWS)
    processes = [run(tmp_path, "nowhere") for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    events = stored(shop(tmp_path))
    assert len({event["event_id"] for event in events}) == len(events) == 50


def test_a_failed_stage_frees_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = shop(tmp_path)
    file = written(tmp_path, *ROWS)
    with monkeypatch.context() as patch:
        patch.setattr(steps.convert, "settle", lambda *_: time.sleep(0) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stage(settings, "shop", file)
    discard(stage(settings, "shop", file))
    assert ingest(settings, file).accepted == 50
