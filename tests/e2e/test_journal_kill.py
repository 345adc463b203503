"""kill -9 at random moments under load: what was acknowledged is there, once.

TWIN_KILLS says how often to kill (20 by default; 100 for the long run).
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from pipelines.events.compaction import compact
from pipelines.events.journal import Appended, Journal, NewEvent
from pipelines.events.journal_postgres import PostgresJournal
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.store import EventStore
from pipelines.settings.workspace import CHECKOUT
from tests.servers import needs_postgres

KILLS = int(os.environ.get("TWIN_KILLS", "20"))
CLIENTS = 4


def open_journal(address: Path | tuple[str, str]) -> Journal:
    return SQLiteJournal(address) if isinstance(address, Path) else PostgresJournal(*address)


def event(client: int, number: int) -> NewEvent:
    return NewEvent("live", f"{client}-{number}", "page viewed", number, number, "web", user_id=f"C{client}")


def work(address: Path | tuple[str, str], lake: Path, log: Path) -> None:
    """A process with four clients and a compactor, until it is killed.

    A client goes on after the last event it knows to be acknowledged, as one that retries does. What
    it is told, it writes down with a single write, which a kill cannot split.
    """
    acknowledged = read_log(log)
    store = EventStore.open(lake, open_journal(address))
    paper = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for client in range(CLIENTS):
        first = 1 + max((int(name.split("-")[1]) for name in acknowledged if name.startswith(f"{client}-")), default=-1)
        threading.Thread(target=append_for_ever, args=(store.journal, client, first, paper)).start()
    while True:
        compact(store.lake_path, store.journal)
        time.sleep(random.uniform(0, 0.02))


def append_for_ever(journal: Journal, client: int, first: int, paper: int) -> None:
    numbers = itertools.count(first)
    while True:
        batch = [event(client, next(numbers)) for _ in range(random.choice([1, 1, 1, 5, 40]))]
        answers: list[Appended] = journal.append(batch)
        lines = (f"{each.event_id} {answer.position}\n" for each, answer in zip(batch, answers, strict=True))
        os.write(paper, "".join(lines).encode())


def read_log(log: Path) -> dict[str, int]:
    """Acknowledged events and the positions that were told."""
    lines = log.read_text().splitlines() if log.exists() else []
    return {name: int(position) for name, position in (line.split() for line in lines)}


def nursery() -> None:
    """Forks a process a line of input: everything is imported once, so each starts in no time."""
    for late in ("pandas", "pyarrow.dataset", "deltalake.fs"):
        importlib.import_module(late)
    for line in sys.stdin:
        address, lake, log = json.loads(line)
        child = os.fork()
        if child == 0:
            work(Path(address) if isinstance(address, str) else tuple(address), Path(lake), Path(log))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def wait_until_larger(log: Path, size: int) -> None:
    """Until a process has acknowledged something."""
    limit = time.monotonic() + 60
    while not log.exists() or log.stat().st_size <= size:
        assert time.monotonic() < limit, "nothing was acknowledged"
        time.sleep(0.005)


@pytest.mark.slow
class JournalKillContract:
    """Subclass it with a fixture `address`."""

    def test_what_was_acknowledged_is_there_once(self, address: Path | tuple[str, str], tmp_path: Path) -> None:
        lake, log = tmp_path / "lake", tmp_path / "acknowledged"
        chance = random.Random(7)
        program = f"from {__name__} import nursery; nursery()"
        with subprocess.Popen(
            [sys.executable, "-c", program], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            for _ in range(KILLS):
                before = log.stat().st_size if log.exists() else 0
                print(json.dumps([address, lake, log], default=str), file=server.stdin, flush=True)
                process = int(server.stdout.readline())
                wait_until_larger(log, before)
                time.sleep(chance.uniform(0, 0.3))
                os.kill(process, signal.SIGKILL)
                assert int(server.stdout.readline()) == -signal.SIGKILL
                self._check(address, lake, log)
            server.stdin.close()

    @staticmethod
    def _check(address: Path | tuple[str, str], lake: Path, log: Path) -> None:
        with closing(open_journal(address)) as journal:
            stored = EventStore.open(lake, journal).read()
        times = Counter(stored["event_id"].to_pylist())
        assert times.total() == len(times), "an event is there twice"
        positions = dict(zip(stored["event_id"].to_pylist(), stored["position"].to_pylist(), strict=True))
        assert len(set(positions.values())) == len(positions)
        acknowledged = read_log(log)
        assert {name: positions.get(name) for name in acknowledged} == acknowledged
        # Not asked to be there, but each client's events are appended in order: none is skipped.
        for client in range(CLIENTS):
            numbers = sorted(int(name.split("-")[1]) for name in times if name.startswith(f"{client}-"))
            assert numbers == list(range(len(numbers)))


class TestSQLite(JournalKillContract):
    @pytest.fixture
    def address(self, tmp_path: Path) -> Path:
        return tmp_path / "journal.db"


class TestPostgres(JournalKillContract):
    @pytest.fixture
    def address(self) -> Iterator[tuple[str, str]]:
        url, schema = needs_postgres(), f"journal_test_{uuid.uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            yield url, schema
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
