"""A store of states that comes back empty, or as it was a while ago, is not gone on with as if it were whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from feature_repo.online import FeatureReader
from feature_repo.state.build import build_states
from feature_repo.state.storage import StatesLost, StateStorage
from feature_repo.state.storage_redis import RedisStateStorage
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live_compaction import compact_folded
from pipelines.events.live_states import LiveStates
from pipelines.events.state_builds import remember_build
from pipelines.events.store import EventStore
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, Workspace, load_settings
from tests.servers import OwnRedis

START = 1_780_000_000_000_000
PEOPLE = ("a", "b", "c")
END = START + 10**12


@dataclass
class Place:
    """A workspace with its states in a Redis of its own, whose files can be kept and put back."""

    settings: Settings
    redis: OwnRedis
    journal: SQLiteJournal
    storage: StateStorage
    live: LiveStates
    sent: int = field(default=0)

    def send(self, *customers: str) -> None:
        """An event of each, acknowledged: appended and folded."""
        self.live.take(self.append(*customers))

    def append(self, *customers: str) -> list[StoredEvent]:
        made = [_order(self.sent + number, customer) for number, customer in enumerate(customers)]
        self.sent += len(made)
        return [StoredEvent(a.position, e) for a, e in zip(self.journal.append(made), made, strict=True)]

    def compact(self) -> None:
        report = compact_folded(self.settings.workspace, self.journal, self.live)
        assert report is not None
        assert report.moved > 0

    def build(self) -> None:
        """As `twin state build` does."""
        workspace, now = self.settings.workspace, EventStore.open(self.settings.workspace.lake, self.journal).snapshot()
        build_states(
            self.settings.features, workspace.lake, self.storage, now.version, tail=now.tail, position=now.position,
            finishing=lambda build: remember_build(workspace.state_builds, self.settings.features.hash, build),
        )  # fmt: skip

    def load(self, *customers: str) -> None:
        """Into the lake alone, as files are ingested."""
        other = SQLiteJournal(self.settings.workspace.root / "other.db")
        first = self.journal.reserve(len(customers))
        other.reserve(first - 1 - other.last_position())
        other.append([_order(self.sent + number, customer) for number, customer in enumerate(customers)])
        self.sent += len(customers)
        from pipelines.events.compaction import compact

        compact(self.settings.workspace.lake, other)
        other.close()

    def keep_files(self) -> Path:
        copy = self.redis.folder.with_name(f"kept-{self.sent}")
        shutil.copytree(self.redis.folder / "appendonlydir", copy)
        return copy

    def put_back(self, files: Path) -> None:
        """As a server does that had not written its files for a while when it was killed."""
        self.redis.kill()
        shutil.rmtree(self.redis.folder / "appendonlydir")
        shutil.copytree(files, self.redis.folder / "appendonlydir")
        self.redis.start()

    def states(self, storage: StateStorage | None = None) -> dict[str, bytes]:
        found = (storage or self.storage).get_many(self.settings.features.hash, PEOPLE)
        return {who: state.data for who, state in found.items()}

    def rebuilt(self) -> dict[str, bytes]:
        now = EventStore.open(self.settings.workspace.lake, self.journal).snapshot()
        file = self.settings.workspace.root / f"rebuilt-{self.sent}.db"
        storage = SQLiteStateStorage(file)
        build_states(self.settings.features, self.settings.workspace.lake, storage, now.version, tail=now.tail)
        return self.states(storage)


def _order(number: int, customer: str) -> NewEvent:
    at = START + number * 1_000_000
    properties = {"order_id": str(number), "total": 100 + number}
    return NewEvent(
        "web", f"m{number}", "Order Completed", at, at, "web", user_id=customer, value=100 + number, currency="THB",
        properties=properties,
    )  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = OwnRedis(folder)
    server.start()
    workspace = Workspace("test", checkout=tmp_path)
    settings = replace(load_settings(), workspace=workspace)
    journal, identity = SQLiteJournal(workspace.journal), open_identity(settings)
    log = CustomerLog(journal, workspace.lake, identity, lambda: frozenset({"web"}))
    storage = RedisStateStorage(server.url, "test")
    live = LiveStates(settings.features, storage, journal, identity, log, workspace.state_lock, workspace.state_builds)
    EventStore.open(workspace.lake, journal)
    live.catch_up()
    yield Place(settings, server, journal, storage, live)
    journal.close()
    server.kill()


def refuses(place: Place) -> bool:
    """Whether nothing reads or folds states now."""
    reader = FeatureReader(place.settings.features, place.storage, ["order_completed_count_lifetime"])
    for act in (lambda: reader.read(["a"], END), lambda: reader.check(), lambda: place.send("a")):
        with pytest.raises(StatesLost):
            act()
    return True


def test_what_the_journal_still_has_is_folded_again(place: Place) -> None:
    place.send("a", "b")
    place.compact()
    place.send("a")
    earlier = place.keep_files()
    place.send("a", "c", "b")
    place.put_back(earlier)
    assert refuses(place)
    assert place.live.built
    # c has no state any more, a and b older ones; `refuses` appended an event of a.
    assert place.live.catch_up() == 3
    assert place.states() == place.rebuilt()
    place.send("a")
    assert place.states() == place.rebuilt()


def test_what_left_the_journal_since_has_to_be_built(place: Place) -> None:
    place.send("a", "b")
    earlier = place.keep_files()
    place.send("a", "c")
    place.compact()
    place.put_back(earlier)
    assert refuses(place)
    assert not place.live.built
    with pytest.raises(StatesLost, match="twin state build"):
        place.live.catch_up()
    assert refuses(place)
    place.build()
    assert place.states() == place.rebuilt()
    place.send("c")
    assert place.states() == place.rebuilt()


def test_a_store_of_before_the_last_build_has_to_be_built(place: Place) -> None:
    place.send("a", "b")
    place.compact()
    place.build()
    place.load("a", "c")
    earlier = place.keep_files()
    place.build()
    assert place.states() == place.rebuilt()
    place.put_back(earlier)
    assert refuses(place)
    assert not place.live.built, "what the files brought is in the lake alone"
    place.build()
    assert place.states() == place.rebuilt()


def test_an_empty_one_is_filled_from_the_journal_only_where_that_has_everything(place: Place) -> None:
    place.send("a", "b", "a")
    empty = place.redis.folder.with_name("nothing")
    empty.mkdir()
    place.put_back(empty)
    assert refuses(place)
    assert place.live.catch_up() == 2
    assert place.states() == place.rebuilt()
    place.compact()
    place.put_back(empty)
    assert refuses(place)
    with pytest.raises(StatesLost):
        place.live.catch_up()
    place.build()
    assert place.states() == place.rebuilt()


def test_a_build_that_the_server_did_not_live_through_counts_for_nothing(place: Place) -> None:
    place.send("a", "b")
    place.compact()
    place.send("c")
    restarted = []

    class Restarting(RedisStateStorage):
        def keep_only(self, spec_hash: str, customer_ids: object) -> None:
            restarted.append(place.redis.kill())
            place.redis.start()

    place.storage, whole = Restarting(place.redis.url, "test"), place.storage
    with pytest.raises(StatesLost, match="make them again"):
        place.build()
    place.storage = whole
    assert restarted == [None]
    assert refuses(place)
