"""The journal moves into the lake beside live events: no state misses a row, no reader misses one or sees it twice."""

from __future__ import annotations

import fcntl
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from feature_repo.state.build import build_states
from feature_repo.state.storage import StoredState
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.cli.data import compact_live
from pipelines.cli.features import build_state
from pipelines.events.compaction import compact
from pipelines.events.journal import JournalUnavailable, NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live import open_live_states
from pipelines.events.live_compaction import OtherStatesBehind, compact_folded, holds_rows
from pipelines.events.live_states import LiveStates, StatesBusy, building
from pipelines.events.opening import event_store
from pipelines.events.store import EventStore
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from pipelines.settings.profile import IngestionProfile
from serving.compactor import Compactor
from tests.unit.serving_parts import ingest_key

START = 1_780_000_000_000_000
CUSTOMERS = tuple("abcde")


def order(number: int, source: str = "web") -> NewEvent:
    return NewEvent(
        source,
        f"m{number}",
        "Order Completed",
        START + number,
        START + number * 1_000_000,
        "web",
        user_id=CUSTOMERS[number % len(CUSTOMERS)],
        value=100 + number,
        currency="THB",
        properties={"order_id": str(number), "total": 100 + number, "units": 1},
    )


def orders(first: int, count: int) -> list[NewEvent]:
    return [order(number) for number in range(first, first + count)]


@dataclass
class Place:
    """A workspace with an open journal and states that follow it."""

    settings: Settings
    store: EventStore
    storage: SQLiteStateStorage
    states: LiveStates

    @property
    def workspace(self) -> Workspace:
        return self.settings.workspace

    def data(self, storage: SQLiteStateStorage) -> dict[str, bytes]:
        found = storage.get_many(self.settings.features.hash, CUSTOMERS)
        return {who: state.data for who, state in found.items() if state.data}

    def rebuilt(self) -> dict[str, bytes]:
        """What the states have to be: all events, read as one and folded anew."""
        now, file = self.store.snapshot(), self.workspace.root / "rebuilt.db"
        file.unlink(missing_ok=True)
        storage = SQLiteStateStorage(file)
        build_states(self.settings.features, self.workspace.lake, storage, now.version, tail=now.tail)
        return self.data(storage)

    def compact(self) -> int | None:
        report = compact_folded(self.workspace, self.store.journal, self.states)
        return None if report is None else report.moved

    def in_journal(self) -> int:
        return len(self.store.journal.read_rows(0, 100_000))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    settings = replace(load_settings(), workspace=Workspace("test", checkout=tmp_path))
    with event_store(settings) as store:
        for source in ("web", "one", "two"):
            ingest_key(settings.workspace, source)
        storage = SQLiteStateStorage(settings.workspace.state)
        with closing(open_live_states(settings, store.journal)) as states:
            yield Place(settings, store, storage, states)


def eventually(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.01)


def test_compaction_stops_at_the_position_it_was_given(place: Place) -> None:
    place.store.journal.append(orders(0, 10))
    assert compact(place.workspace.lake, place.store.journal, until=4).moved == 4
    assert [row[0] for row in place.store.journal.read_rows(0, 100)] == [5, 6, 7, 8, 9, 10]
    assert place.store.read().num_rows == 10
    # Another one was further already: nothing to do, and nothing of it is an error.
    report = compact(place.workspace.lake, place.store.journal, until=2)
    assert (report.moved, report.compacted_to) == (0, 4)
    assert compact(place.workspace.lake, place.store.journal, until=99).compacted_to == 10


def test_what_nobody_has_folded_yet_is_folded_before_it_goes(place: Place) -> None:
    place.store.journal.append(orders(0, 20))
    place.states.update(["a"])
    place.store.journal.append(orders(20, 10))
    assert place.compact() == 30
    assert place.in_journal() == 0
    assert place.data(place.storage) == place.rebuilt() != {}


def test_states_that_were_never_built_stay_unbuilt(place: Place) -> None:
    place.store.journal.append(orders(0, 5))
    compact(place.workspace.lake, place.store.journal)
    place.store.journal.append(orders(5, 5))
    assert place.compact() == 5
    assert not place.states.built
    build_state(place.settings)
    assert place.data(place.storage) == place.rebuilt()


class SlowStorage(SQLiteStateStorage):
    """A storage whose next read of states can be held up, after it has read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.has_read, self.go_on = threading.Event(), threading.Event()

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        found = super().get_many(spec_hash, customer_ids)
        self.has_read.set()
        assert self.go_on.wait(30)
        return found


def test_rows_wait_for_a_fold_that_has_read_an_older_state(place: Place) -> None:
    place.store.journal.append(orders(0, 10))
    place.states.catch_up()
    place.store.journal.append(orders(10, 10))
    slow = SlowStorage(place.workspace.state)
    with closing(open_live_states(place.settings, place.store.journal, storage=slow)) as other:
        fold = threading.Thread(target=other.update, args=(["a"],))
        fold.start()
        assert slow.has_read.wait(30)
        moving = threading.Thread(target=place.compact)
        moving.start()
        # The states are caught up, and still the rows stay for as long as the fold may want them.
        moving.join(1.0)
        assert moving.is_alive()
        known = place.storage.get_many(place.settings.features.hash, ["e"])
        assert known["e"].position == 20
        assert place.in_journal() == 20
        place.store.journal.append(orders(20, 5))
        slow.go_on.set()
        fold.join(30)
        moving.join(30)
    assert place.in_journal() == 5
    place.states.catch_up()
    assert place.data(place.storage) == place.rebuilt()


def test_one_at_a_time(place: Place) -> None:
    place.store.journal.append(orders(0, 3))
    with place.workspace.compaction_lock.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert place.compact() is None
        assert compact_live(place.settings).moved is None
    assert place.compact() == 3


def test_nothing_moves_while_states_are_built(place: Place) -> None:
    place.store.journal.append(orders(0, 3))
    with building(place.workspace.state_lock), pytest.raises(StatesBusy):
        place.compact()
    assert place.in_journal() == 3


def test_states_of_other_features_hold_rows_back_until_they_are_dropped(place: Place) -> None:
    place.store.journal.append(orders(0, 10))
    place.states.catch_up()
    for state in place.storage.get_many(place.settings.features.hash, CUSTOMERS).values():
        place.storage.put_many("another", [state])
    assert place.compact() == 10
    place.store.journal.append(orders(10, 1))
    with pytest.raises(OtherStatesBehind, match="another"):
        place.compact()
    assert place.in_journal() == 1
    assert compact_live(place.settings, drop_other_states=True).moved == 1
    assert place.storage.spec_hashes() == [place.settings.features.hash]


@pytest.mark.parametrize(("held", "asked", "answer"), [(0, 1, False), (3, 4, False), (4, 4, True), (9, 4, True)])
def test_rows_are_counted_not_positions(place: Place, held: int, asked: int, answer: bool) -> None:
    place.store.journal.append(orders(0, held - 1) if held else [])
    place.store.journal.reserve(1_000)
    place.store.journal.append(orders(held - 1, 1) if held else [])
    assert holds_rows(place.store.journal, asked) is answer


def test_the_thread_moves_enough_rows_goes_on_after_a_failure_and_ends(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    limits = IngestionProfile(compact_every_seconds=0.01, compact_at_rows=10)
    profile = place.settings.profile.model_copy(update={"ingestion": limits})
    looks: list[int] = []

    def opened() -> tuple[SQLiteJournal, LiveStates] | None:
        looks.append(1)
        if len(looks) < 3:
            return None
        if len(looks) == 3:
            raise JournalUnavailable("somchai@example.com")
        return place.store.journal, place.states  # type: ignore[return-value]

    compactor = Compactor(replace(place.settings, profile=profile), opened)
    place.store.journal.append(orders(0, 9))
    with caplog.at_level(logging.ERROR):
        compactor.start()
        eventually(lambda: len(looks) > 10)
        assert place.in_journal() == 9
        place.store.journal.append(orders(9, 1))
        eventually(lambda: place.in_journal() == 0)
    compactor.close()
    assert not compactor._thread.is_alive()
    assert "the next run tries again: pipelines.events.journal.JournalUnavailable" in caplog.text
    assert "somchai@example.com" not in caplog.text
    assert place.data(place.storage) == place.rebuilt()


WRITER = """
    import sys
    from dataclasses import replace
    from pathlib import Path
    from pipelines.events.journal import StoredEvent
    from pipelines.events.live import open_live_states
    from pipelines.events.opening import open_journal
    from pipelines.settings import Workspace, load_settings
    from tests.unit.test_live_compaction import order

    name, folder, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    settings = replace(load_settings(), workspace=Workspace("test", checkout=folder))
    journal = open_journal(settings)
    states = open_live_states(settings, journal)
    with (folder / name).open("w", buffering=1) as acknowledged:
        for number in range(0, count, 4):
            batch = [order(each, name) for each in range(number, number + 4)]
            answers = journal.append(batch)
            states.take([StoredEvent(a.position, event) for a, event in zip(answers, batch)])
            acknowledged.write("".join(f"{name} {event.event_id}\\n" for event in batch))
    journal.close()
"""


@pytest.mark.slow
def test_each_acknowledged_event_once_in_each_snapshot_while_processes_append(place: Place, tmp_path: Path) -> None:
    names, count = ("one", "two"), 2_000
    script = [sys.executable, "-c", textwrap.dedent(WRITER)]
    writers = [
        subprocess.Popen([*script, name, str(tmp_path), str(count)], cwd=CHECKOUT, stderr=subprocess.PIPE)
        for name in names
    ]
    moved = 0
    stop = threading.Event()

    def compacting() -> None:
        nonlocal moved
        while not stop.is_set():
            with suppress(StatesBusy):
                moved += place.compact() or 0

    def acknowledged() -> set[str]:
        files = [tmp_path / name for name in names]
        # The last line may be half written.
        return {line for file in files if file.exists() for line in file.read_text().split("\n")[:-1]}

    mover = threading.Thread(target=compacting)
    mover.start()
    snapshots = running = 0
    try:
        while snapshots == 0 or any(writer.poll() is None for writer in writers):
            running += any(writer.poll() is None for writer in writers)
            wanted = acknowledged()
            table = place.store.snapshot().table()
            pairs = zip(table["source"].to_pylist(), table["event_id"].to_pylist(), strict=True)
            found = Counter(f"{source} {event_id}" for source, event_id in pairs)
            assert max(found.values(), default=1) == 1
            assert wanted <= found.keys()
            snapshots += 1
    finally:
        stop.set()
        mover.join(60)
    for writer in writers:
        assert writer.wait(60) == 0, writer.stderr.read().decode() if writer.stderr else ""
    assert len(acknowledged()) == len(names) * count == place.store.read().num_rows
    assert moved > 0
    assert running > 3
    assert place.data(place.storage) == place.rebuilt()
