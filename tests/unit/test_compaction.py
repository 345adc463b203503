"""Journal and lake as one store: each event once, whatever compaction does and wherever it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake

from feature_repo.event_table import EVENT_SCHEMA, ensure_table
from pipelines.events import compaction, lake
from pipelines.events.compaction import JournalBehindLake, compact, watermark
from pipelines.events.journal import JournalUnavailable, NewEvent, StoredRow, encode
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.store import EventStore
from pipelines.settings.workspace import CHECKOUT

NOON = 1_767_268_800_000_000


def event(number: int, source: str = "live") -> NewEvent:
    return NewEvent(
        source,
        f"e{number}",
        "order completed",
        NOON + number,
        NOON + number + 7,
        "web",
        user_id=f"C{number % 5}" if number % 7 else None,
        identifiers={"email": "ก@example.com"},
        value=-number,
        currency="THB",
        properties={"number": number, "text": "สวัสดี 'x"},
    )


def events(*numbers: int, source: str = "live") -> list[NewEvent]:
    return [event(number, source) for number in numbers]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SQLiteJournal]:
    with closing(SQLiteJournal(tmp_path / "journal.db")) as journal:
        yield journal


@pytest.fixture
def store(tmp_path: Path, journal: SQLiteJournal) -> EventStore:
    return EventStore.open(tmp_path / "lake", journal)


def bulk_load(store: EventStore, *numbers: int) -> None:
    """What an ingest does: reserve, commit, remember."""
    new = events(*numbers, source="bulk")
    first = store.journal.reserve(len(new))
    batch = compaction._batch([(first + index, *encoded.values) for index, encoded in enumerate(encode(new))])
    write_deltalake(str(store.lake_path), pa.Table.from_batches([batch]), mode="append")
    store.journal.remember([(each.source, each.event_id) for each in new], first)


def ids(table: pa.Table) -> list[str]:
    columns = (table[name].to_pylist() for name in ("source", "event_id"))
    return sorted(f"{source} {event_id}" for source, event_id in zip(*columns, strict=True))


def named(*numbers: int, source: str = "live") -> list[str]:
    return sorted(f"{source} e{number}" for number in numbers)


def test_an_event_is_the_same_in_journal_and_lake(store: EventStore) -> None:
    store.journal.append(events(*range(20)))
    before = store.read().sort_by("position")
    report = compact(store.lake_path, store.journal)
    assert (report.moved, report.compacted_to, report.lake_version) == (20, 20, 1)
    assert store.read().sort_by("position").equals(before)
    assert before.schema == EVENT_SCHEMA
    assert store.snapshot().tail.num_rows == 0 == len(store.journal.read(0, 10))
    assert DeltaTable(str(store.lake_path)).history(1)[0]["compacted_to"] == "20"


def test_nothing_to_move_makes_no_commit(store: EventStore) -> None:
    assert compact(store.lake_path, store.journal).lake_version == 0
    store.journal.append(events(1))
    compact(store.lake_path, store.journal)
    store.journal.reserve(5)
    assert (report := compact(store.lake_path, store.journal)).moved == 0
    assert (report.lake_version, report.compacted_to) == (1, 1)


def test_bulk_loads_stand_between_compactions(store: EventStore) -> None:
    store.journal.append(events(1, 2))
    bulk_load(store, 1, 2, 3)
    assert compact(store.lake_path, store.journal).compacted_to == 5
    bulk_load(store, 4)
    assert watermark(DeltaTable(str(store.lake_path)), store.journal.identity) == 5
    store.journal.append([*events(2, 3), *events(4, source="bulk")])
    everything = named(1, 2, 3) + named(1, 2, 3, 4, source="bulk")
    assert ids(store.read()) == sorted(everything)
    compact(store.lake_path, store.journal)
    assert ids(store.read()) == sorted(everything)
    assert sorted(store.read()["position"].to_pylist()) == list(range(1, 8))


def test_more_rows_than_a_page_move_in_one_commit(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS_A_PAGE", 7)
    store.journal.append(events(*range(30)))
    assert ids(store.read()) == named(*range(30))
    assert (report := compact(store.lake_path, store.journal)).moved == 30
    assert report.lake_version == 1
    assert ids(store.read()) == named(*range(30))


def test_a_snapshot_stays_what_it_was(store: EventStore) -> None:
    store.journal.append(events(1, 2))
    compact(store.lake_path, store.journal)
    store.journal.append(events(3))
    snapshot = store.snapshot()
    store.journal.append(events(4))
    compact(store.lake_path, store.journal)
    bulk_load(store, 1)
    assert (snapshot.version, snapshot.position) == (1, 3)
    assert ids(snapshot.table()) == named(1, 2, 3)
    with duckdb.connect() as connection:
        snapshot.register(connection, "events")
        found = connection.execute("SELECT source || ' ' || event_id FROM events ORDER BY 1").fetchall()
        types = connection.execute("SELECT typeof(event_time), typeof(value) FROM events LIMIT 1").fetchone()
    assert [row[0] for row in found] == named(1, 2, 3)
    assert types == ("TIMESTAMP WITH TIME ZONE", "BIGINT")


def test_the_watermark_outlives_checkpoints_and_deletes(store: EventStore) -> None:
    store.journal.append(events(1, 2))
    compact(store.lake_path, store.journal)
    table = DeltaTable(str(store.lake_path))
    table.delete("event_id = 'e1'")
    table.create_checkpoint()
    store.journal.append(events(3))
    assert ids(store.read()) == named(2, 3)
    table = DeltaTable(str(store.lake_path))
    table.optimize.compact()
    assert compact(store.lake_path, store.journal).compacted_to == 3
    assert ids(store.read()) == named(2, 3)


def test_a_new_journal_beside_an_old_lake_gives_later_positions(store: EventStore, tmp_path: Path) -> None:
    store.journal.append(events(1, 2, 3))
    compact(store.lake_path, store.journal)
    store.journal.append(events(4))
    with closing(SQLiteJournal(tmp_path / "other.db")) as other:
        second = EventStore.open(store.lake_path, other)
        other.append(events(5))
        assert ids(second.read()) == named(1, 2, 3, 5)
        assert other.read(0, 10)[0].position == 4
        compact(store.lake_path, other)
    assert ids(store.read()) == named(1, 2, 3, 4, 5)


def test_an_older_copy_of_the_journal_is_noticed_and_moved_on(store: EventStore, tmp_path: Path) -> None:
    old = SQLiteJournal(tmp_path / "copy" / "journal.db")
    with old._transaction() as connection:
        connection.execute("UPDATE journal_head SET identity = ?", (store.journal.identity,))
    old.close()
    store.journal.append(events(1, 2, 3))
    compact(store.lake_path, store.journal)
    with closing(SQLiteJournal(tmp_path / "copy" / "journal.db")) as copy:
        copy.append(events(4))
        with pytest.raises(JournalBehindLake, match="ends at position 1, but the lake has it up to 3"):
            compact(store.lake_path, copy)
        with pytest.raises(JournalBehindLake):
            EventStore(store.lake_path, copy).snapshot()
        assert EventStore.open(store.lake_path, copy).journal.append(events(5))[0].position == 4


def test_a_journal_that_fails_while_it_is_read_says_so(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS_A_PAGE", 7)
    store.journal.append(events(*range(30)))
    read = store.journal.read_rows

    def fail(after: int, limit: int) -> list[StoredRow]:
        if after > 10:
            raise JournalUnavailable("gone")
        return read(after, limit)

    with monkeypatch.context() as patch:
        patch.setattr(store.journal, "read_rows", fail)
        with pytest.raises(JournalUnavailable, match="gone"):
            compact(store.lake_path, store.journal)
    assert lake.version(store.lake_path) == 0
    assert compact(store.lake_path, store.journal).moved == 30


class Reader(threading.Thread):
    """Reads over and over; keeps what was wrong. Every event acknowledged before a read has to be in it, once."""

    def __init__(self, store: EventStore, acknowledged: list[str]) -> None:
        super().__init__()
        self.store, self.acknowledged = store, acknowledged
        self.stop = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        seen = 0
        while not self.stop.is_set():
            expected = set(self.acknowledged[:])
            snapshot = self.store.snapshot()
            found = ids(snapshot.table())
            if len(found) != len(set(found)):
                self.wrong.append("an event twice")
            if missing := expected - set(found):
                self.wrong.append(f"{len(missing)} events in neither")
            live = pc.max(snapshot.table()["position"]).as_py() or 0
            if live < seen:
                self.wrong.append("an older state than before")
            seen = live
            self.reads += 1


def test_readers_see_each_event_once_while_compactions_run(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS_A_PAGE", 50)
    acknowledged: list[str] = []
    readers = [Reader(store, acknowledged) for _ in range(2)]
    rival = threading.Event()

    def compact_too() -> None:
        while not rival.is_set():
            compact(store.lake_path, store.journal)

    other = threading.Thread(target=compact_too)
    for thread in (*readers, other):
        thread.start()
    for turn in range(40):
        numbers = range(turn * 30, turn * 30 + 30)
        store.journal.append(events(*numbers))
        acknowledged.extend(named(*numbers))
        if turn % 10 == 5:
            bulk_load(store, *range(turn * 10, turn * 10 + 10))
            acknowledged.extend(named(*range(turn * 10, turn * 10 + 10), source="bulk"))
        compact(store.lake_path, store.journal)
    rival.set()
    other.join()
    for reader in readers:
        reader.stop.set()
        reader.join()
        assert reader.wrong == []
        assert reader.reads > 3
    assert ids(store.read()) == sorted(acknowledged)
    assert len(store.journal.read(0, 10)) == 0


class Disturbed:
    """A reader's way to the journal; before its call number `moment`, appends and a compaction happen."""

    def __init__(self, store: EventStore, moment: int, number: int) -> None:
        self.store, self.moment, self.number, self.calls = store, moment, number, 0

    def __getattr__(self, name: str) -> object:
        if name in ("read_rows", "last_position"):
            if self.calls == self.moment:
                self.append()
                compact(self.store.lake_path, self.store.journal)
                self.append()
            self.calls += 1
        return getattr(self.store.journal, name)

    def append(self) -> None:
        self.store.journal.append(events(self.number))
        self.number += 1


def test_every_order_of_a_reader_and_a_compaction(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole compaction, or an append and one, stands at each call a reader makes to the journal."""
    monkeypatch.setattr(compaction, "ROWS_A_PAGE", 3)
    number = 0
    for moment in range(8):
        store.journal.append(events(*range(number, number + 8)))
        number += 8
        disturbed = Disturbed(store, moment, number)
        found = ids(EventStore(store.lake_path, disturbed).read())  # type: ignore[arg-type]
        assert len(found) == len(set(found))
        assert set(named(*range(number))) <= set(found) <= set(named(*range(disturbed.number)))
        assert disturbed.calls > 0
        number = disturbed.number
    assert ids(store.read()) == named(*range(number))


PROGRAM = """
import os, signal, sys
from pathlib import Path
from pipelines.events import compaction
from pipelines.events.journal_sqlite import SQLiteJournal

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

folder, where = Path(sys.argv[1]), sys.argv[2]
journal = SQLiteJournal(folder / "journal.db")
compaction.ROWS_A_PAGE = 10
pages, write = compaction.journal_batches, compaction.write_deltalake

def some_pages(*arguments):
    for number, page in enumerate(pages(*arguments)):
        if number == 2:
            die()
        yield page

def written_but_not_committed(table, data, **_):
    files = Path(folder / "lake")
    write(str(files.with_name("aside")), data, mode="append")
    for file in files.with_name("aside").glob("*.parquet"):
        file.rename(files / file.name)
    die()

def removed_in_part(position):
    SQLiteJournal.remove_until(journal, position - 15)
    die()

if where == "before the commit":
    compaction.write_deltalake = die
if where == "while reading":
    compaction.journal_batches = some_pages
if where == "between files and commit":
    compaction.write_deltalake = written_but_not_committed
if where == "after the commit":
    compaction.sync_lake = die
if where == "before the removal":
    journal.remove_until = die
if where == "while removing":
    journal.remove_until = removed_in_part
if where == "after all":
    compaction.CompactionReport = die
compaction.compact(folder / "lake", journal)
"""


@pytest.mark.parametrize(
    ("where", "in_lake", "in_journal"),
    [
        ("before the commit", 0, 50),
        ("while reading", 0, 50),
        ("between files and commit", 0, 50),
        ("after the commit", 50, 50),
        ("before the removal", 50, 50),
        ("while removing", 50, 15),
        ("after all", 50, 0),
    ],
)
def test_killed_at_any_step_and_run_again(
    store: EventStore, tmp_path: Path, where: str, in_lake: int, in_journal: int
) -> None:
    store.journal.append(events(*range(50)))
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    ended = subprocess.run([sys.executable, str(program), str(tmp_path), where], env=environment, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert DeltaTable(str(store.lake_path)).count() == in_lake
    assert len(store.journal.read(0, 100)) == in_journal
    assert ids(store.read()) == named(*range(50))
    store.journal.append(events(*range(45, 55)))
    assert ids(store.read()) == named(*range(55))
    assert compact(store.lake_path, store.journal).moved == 55 - in_lake
    assert ids(store.read()) == named(*range(55))
    assert store.journal.read(0, 10) == []
    assert DeltaTable(str(store.lake_path)).count() == 55


def test_a_log_of_many_commits_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    """Whoever opens the table reads the commits since then: few, however often the journal moves."""
    for _ in range(12):
        write_deltalake(ensure_table(tmp_path / "lake"), EVENT_SCHEMA.empty_table(), mode="append")
    assert (tmp_path / "lake" / "_delta_log" / "_last_checkpoint").exists()
