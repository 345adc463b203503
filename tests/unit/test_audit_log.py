"""The audit log: any change is noticed, a process that dies changes nothing, many may append at a time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipelines.access import AuditDamaged, AuditLog, Entry
from pipelines.access import audit as module
from pipelines.cli import app
from pipelines.settings import CHECKOUT, Workspace

COUNT = 6
APPENDER = """
import sys
from pathlib import Path
from pipelines.access import AuditLog
log = AuditLog(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    log.append("act", "os:tester", f"{sys.argv[2]}:{number}", {"number": number})
    print(number, flush=True)
"""


def filled(path: Path, count: int = COUNT) -> AuditLog:
    log = AuditLog(path)
    for number in range(count):
        log.append("key.create", "os:tester", f"key:{number}", {"สมชาย": [number, None, 1.5, "\n"]})
    return log


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("audit")
    filled(folder / "audit.jsonl")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def path(whole: dict[str, bytes], tmp_path: Path) -> Path:
    restore(tmp_path, whole)
    return tmp_path / "audit.jsonl"


def restore(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)


def broken(path: Path) -> int:
    with pytest.raises(AuditDamaged) as caught:
        AuditLog(path).verify()
    return caught.value.place


def test_entries_come_back_as_they_were_logged(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    assert log.entries() == []
    assert list(tmp_path.iterdir()) == []
    first = log.append("key.create", "os:tester", "key:1", {"scopes": ("a", "b")})
    second = AuditLog(tmp_path / "audit.jsonl").append("key.revoke", "key:2", "key:1")
    assert log.entries() == [first, second]
    assert (first.sequence, second.sequence, second.previous) == (1, 2, first.hash)
    assert log.verify() == module.Head(2, 0, second.hash)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["audit.head", "audit.jsonl"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(["audit.jsonl", "audit.head"]))
def test_any_changed_byte_is_noticed(whole: dict[str, bytes], path: Path, data: st.DataObject, name: str) -> None:
    content = bytearray(whole[name])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    restore(path.parent, whole | {name: bytes(content)})
    found = broken(path)
    if name == "audit.jsonl":
        assert found == 1 + whole[name][:place].count(b"\n")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, COUNT - 1), max_size=COUNT + 2))
def test_removed_moved_and_repeated_entries_are_noticed(whole: dict[str, bytes], path: Path, order: list[int]) -> None:
    lines = whole["audit.jsonl"].splitlines(keepends=True)
    path.write_bytes(b"".join(lines[place] for place in order))
    if order == list(range(COUNT)):
        AuditLog(path).verify()
        return
    right = next((at for at, place in enumerate(order) if at != place), len(order))
    assert broken(path) == right + 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_cut_tail_is_noticed_and_nothing_is_appended_to_it(
    whole: dict[str, bytes], path: Path, data: st.DataObject
) -> None:
    content = whole["audit.jsonl"]
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    broken(path)
    with pytest.raises(AuditDamaged):
        AuditLog(path).append("act", "os:tester", "key:9")


def test_an_entry_made_by_hand_is_noticed(path: Path) -> None:
    last = AuditLog(path).entries()[-1]
    unsigned: dict[str, Any] = {**json.loads(path.read_text().splitlines()[-1]), "sequence": COUNT + 1}
    unsigned |= {"previous": last.hash}
    del unsigned["hash"]
    forged = Entry(**unsigned, hash=module._digest(unsigned))
    with path.open("ab") as file:
        file.write(module._line(forged))
    assert broken(path) == COUNT + 1


def test_a_missing_file_is_noticed(path: Path) -> None:
    head = path.with_suffix(".head")
    kept = head.read_bytes()
    head.unlink()
    broken(path)
    with pytest.raises(AuditDamaged, match=r"no audit\.head"):
        AuditLog(path).append("act", "os:tester", "key:9")
    head.write_bytes(kept)
    path.unlink()
    assert broken(path) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_line_torn_by_a_crash_is_taken_back(whole: dict[str, bytes], path: Path, data: st.DataObject) -> None:
    """Every state in which a process can die between two appends: nothing of the line, a part, all of it."""
    restore(path.parent, whole)
    log = AuditLog(path)
    before = module.Head(**json.loads(whole["audit.head"]))
    log.append("act", "os:tester", "key:9")
    line = path.read_bytes()[before.length :]
    written = data.draw(st.integers(0, len(line)))
    path.write_bytes(whole["audit.jsonl"] + line[:written])
    log._write_head(replace(before, pending=line.decode()))
    assert log.verify().count == COUNT
    entry = log.append("act", "os:tester", "key:10")
    assert entry.sequence == COUNT + 1
    assert [found.subject for found in log.entries()][COUNT:] == ["key:10"]


def test_what_cannot_be_logged_leaves_no_trace(path: Path, whole: dict[str, bytes]) -> None:
    log = AuditLog(path)
    for details in ({"a": float("nan")}, {"a": object()}, {"a": "x" * 70_000}):
        with pytest.raises((ValueError, TypeError)):
            log.append("act", "os:tester", "key:9", details)
    assert {name: (path.parent / name).read_bytes() for name in whole} == whole


def test_a_person_is_a_subject_without_being_named(tmp_path: Path) -> None:
    log, other = AuditLog(tmp_path / "audit.jsonl"), AuditLog(tmp_path / "other.jsonl")
    subject = log.pseudonym("customer", "C1")
    assert subject == AuditLog(tmp_path / "audit.jsonl").pseudonym("customer", "C1")
    assert re.fullmatch("customer:[0-9a-f]{32}", subject)
    assert len({subject, log.pseudonym("customer", "C2"), other.pseudonym("customer", "C1")}) == 3
    assert (tmp_path / "audit.key").stat().st_mode & 0o077 == 0
    log.append("erasure", "os:tester", subject)
    assert log.verify().count == 1


def start(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", APPENDER, str(path), name, str(count)]
    made = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    return made


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_and_threads_append_at_a_time(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    processes = [start(tmp_path / "audit.jsonl", f"p{number}", 15) for number in range(3)]
    for process in processes:
        go(process)
    mine = [
        threading.Thread(target=lambda n=n: [log.append("act", "os:me", f"t{n}:{i}") for i in range(15)])
        for n in range(3)
    ]
    for thread in mine:
        thread.start()
    for thread in mine:
        thread.join()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    found = log.entries()
    assert len(found) == 90
    for who in ("p0", "p1", "p2", "t0", "t1", "t2"):
        own = [entry.subject for entry in found if entry.subject.startswith(who)]
        assert own == [f"{who}:{number}" for number in range(15)]


def test_killed_at_any_time_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    told = 0
    for life in range(6):
        process = start(path, f"life{life}", 10_000)
        go(process)
        assert process.stdout is not None
        for _ in range(3 + 4 * life):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        told += 3 + 4 * life + len(process.stdout.readlines())
        process.wait()
        assert AuditLog(path).verify().count in (told, told + 1)
        told = AuditLog(path).append("act", "os:tester", "after").sequence


def test_verify_fails_and_names_the_entry(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace("audit", checkout=tmp_path)
    monkeypatch.setattr("pipelines.settings._workspace", lambda name: workspace)
    workspace.root.mkdir(parents=True)
    restore(workspace.root, whole)
    assert CliRunner().invoke(app, ["audit", "verify"]).exit_code == 0
    restore(workspace.root, {"audit.jsonl": whole["audit.jsonl"].replace(b"key:3", b"key:8")})
    answer = CliRunner().invoke(app, ["audit", "verify"])
    assert answer.exit_code != 0
    assert "entry 4" in str(answer.exception)
