"""States of several specs follow the same events: each equal to a rebuild, with one read for all of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from feature_repo.online import FeatureReader
from feature_repo.spec import FeatureSpec
from feature_repo.state.build import build_states
from feature_repo.state.storage import StoredState
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.cli.data import compact_live
from pipelines.console import UserError
from pipelines.events.compaction import compact
from pipelines.events.customer_log import CustomerLog, Logged
from pipelines.events.journal import StoredEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live import open_live_states
from pipelines.events.live_compaction import OtherStatesBehind, compact_folded
from pipelines.events.live_states import LiveStates
from pipelines.events.opening import event_store
from pipelines.events.spec_removal import remove_unused
from pipelines.events.state_lock import StatesBusy
from pipelines.events.store import EventStore
from pipelines.identity.current import current_membership
from pipelines.privacy.erase import erase
from pipelines.privacy.report import access_report
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions
from pipelines.state_build import build_state
from tests.changed_spec import ADDED, changed_settings, plain_settings
from tests.unit.serving_parts import ingest_key
from tests.unit.test_live_compaction import CUSTOMERS, order, orders


@dataclass
class Place:
    """A workspace whose spec was changed: `old` and `new` settings, and states that a process with the old has."""

    old: Settings
    new: Settings
    store: EventStore
    storage: SQLiteStateStorage
    states: LiveStates

    def data(self, spec: FeatureSpec, storage: SQLiteStateStorage | None = None) -> dict[str, bytes]:
        found = (storage or self.storage).get_many(spec.hash, CUSTOMERS)
        return {who: state.data for who, state in found.items() if state.data}

    def rebuilt(self, spec: FeatureSpec) -> dict[str, bytes]:
        """What the states have to be: all events, read as one and folded anew."""
        now, file = self.store.snapshot(), self.old.workspace.root / "rebuilt.db"
        file.unlink(missing_ok=True)
        storage = SQLiteStateStorage(file)
        members = current_membership(self.old)
        build_states(spec, self.old.workspace.lake, storage, now.version, tail=now.tail, membership=members)
        return self.data(spec, storage)

    def check(self, *specs: FeatureSpec) -> None:
        """The specs have states, no others, and what they have to be."""
        assert self.storage.built_specs() == sorted(spec.hash for spec in specs)
        for spec in specs:
            assert self.data(spec) == self.rebuilt(spec) != {}

    def send(self, first: int, count: int) -> None:
        """Live events, as the service takes them."""
        made = orders(first, count)
        answers = self.store.journal.append(made)
        self.states.take([StoredEvent(a.position, event) for a, event in zip(answers, made, strict=True)])

    def build_new(self) -> None:
        """As `twin state rebuild` does beside a service, without moving the journal."""
        build_state(self.new, self.new.features.hash)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    old = plain_settings(tmp_path, tmp_path / "configs")
    new = changed_settings(old, tmp_path / "changed")
    with event_store(old) as store:
        for source in ("web", "one"):
            ingest_key(old.workspace, source)
        storage = SQLiteStateStorage(old.workspace.state)
        with closing(open_live_states(old, store.journal)) as states:
            states.catch_up()
            yield Place(old, new, store, storage, states)


def test_events_go_into_states_that_were_built_meanwhile(place: Place) -> None:
    place.send(0, 12)
    place.check(place.old.features)
    place.build_new()
    place.check(place.old.features, place.new.features)
    before = place.data(place.new.features)
    place.send(12, 9)
    assert place.data(place.new.features) != before
    place.check(place.old.features, place.new.features)


def test_an_event_is_in_the_new_states_before_it_is_acknowledged_while_they_are_built(place: Place) -> None:
    """Events come one by one from two clients while the new spec is built; each is read right after its answer."""
    place.send(0, 200)
    lacking: list[int] = []
    ended = threading.Event()

    def client(first: int) -> None:
        number = first
        while not ended.is_set() or number < first + 40:
            answer = place.store.journal.append([order(number)])[0]
            done = False
            while not done:
                with suppress(StatesBusy):  # a 503, after which the client comes again
                    place.states.take([StoredEvent(answer.position, order(number))])
                    done = True
            if place.new.features.hash in place.storage.built_specs():
                who = order(number).user_id or ""
                state = place.storage.get_many(place.new.features.hash, [who]).get(who)
                if state is None or state.position < answer.position:
                    lacking.append(number)
            number += 2

    clients = [threading.Thread(target=client, args=(first,)) for first in (1_000, 1_001)]
    for each in clients:
        each.start()
    place.build_new()
    ended.set()
    for each in clients:
        each.join(60)
    assert lacking == []
    place.check(place.old.features, place.new.features)


class CountingLog(CustomerLog):
    """Counts how often events are read."""

    reads = 0

    def after(self, positions: Mapping[str, int]) -> Logged:
        self.reads += 1
        return super().after(positions)

    def everything(self, customer_id: str) -> list:  # type: ignore[type-arg]
        self.reads += 1
        return super().everything(customer_id)


def test_events_are_read_once_for_all_specs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.send(0, 4)
    place.build_new()
    monkeypatch.setattr(place.states._log, "__class__", CountingLog)
    place.send(5, 1)
    assert place.states._log.reads == 1, "a customer who is known"  # type: ignore[attr-defined]
    place.send(4, 1)
    assert place.states._log.reads == 2, "a customer who is new to both"  # type: ignore[attr-defined]
    place.check(place.old.features, place.new.features)


def test_states_that_lag_behind_each_other_get_what_each_lacks(place: Place) -> None:
    """As they do where a process that died had written those of one spec only."""
    place.send(0, 10)
    place.build_new()
    rng = random.Random(3)
    for first in range(10, 70, 12):
        kept = place.storage.get_many(place.new.features.hash, CUSTOMERS)
        place.send(first, 12)
        torn = [kept[who] for who in CUSTOMERS if rng.random() < 0.5]
        place.storage.replace_many(place.new.features.hash, torn)
    place.states.catch_up()
    place.check(place.old.features, place.new.features)


def test_a_build_that_was_cut_off_is_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.send(0, 10)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteStateStorage, "keep_only", killed)
        with pytest.raises(KeyboardInterrupt):
            place.build_new()
    assert place.new.features.hash in place.storage.spec_hashes()
    names = place.new.features.service_features("churn")
    assert FeatureReader(place.new.features, place.storage, names).spec_hash == place.old.features.hash
    place.send(10, 5)
    place.check(place.old.features)
    place.build_new()
    place.check(place.old.features, place.new.features)


def test_an_unbuilt_current_spec_takes_nothing_away(place: Place) -> None:
    """A service that was started with the changed spec goes on with the states there are."""
    place.send(0, 10)
    assert compact_folded(place.old.workspace, place.store.journal, place.states)
    with closing(open_live_states(place.new, place.store.journal)) as states:
        place.states = states
        place.send(10, 10)
        states.catch_up()
        place.check(place.old.features)
        assert compact_folded(place.new.workspace, place.store.journal, states)
    place.check(place.old.features)


def test_what_left_the_journal_meanwhile_leaves_states_unbuilt(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process begins to make states from the journal, while another moves it into the lake."""
    place.storage.remove_spec(place.old.features.hash)
    place.send(0, 20)
    read = SQLiteJournal.read

    def moved_meanwhile(self: SQLiteJournal, after: int, limit: int) -> Sequence[StoredEvent]:
        compact(place.old.workspace.lake, place.store.journal)
        return read(self, after, limit)

    with monkeypatch.context() as patch:
        patch.setattr(SQLiteJournal, "read", moved_meanwhile)
        place.states.catch_up()
    assert not place.states.built
    build_state(place.old)
    place.check(place.old.features)


def test_a_spec_that_is_removed_is_not_begun_again_by_who_has_it_as_current(place: Place) -> None:
    """A service that was started before the change."""
    place.send(0, 10)
    place.build_new()
    place.storage.remove_spec(place.old.features.hash)
    place.send(10, 5)
    place.states.catch_up()
    place.check(place.new.features)


def test_states_of_unknown_features_hold_the_journal_back(place: Place) -> None:
    place.send(0, 5)
    place.storage.put_many("feedfacefeedface", [StoredState("a", 1, 1, b"state")])
    place.storage.note("feedfacefeedface", 0, 1, place.storage.begin("feedfacefeedface"))
    with pytest.raises(OtherStatesBehind, match="feedfacefeedface"):
        compact_live(place.old)
    report = compact_live(place.old, drop_other_states=True)
    assert (report.moved, report.removed) == (5, ("feedfacefeedface",))
    assert "feedfacefeedface" in report.text()


class SlowStorage(SQLiteStateStorage):
    """A storage whose next write of states is held up."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes, self.go_on = threading.Event(), threading.Event()

    def put_many(self, spec_hash: str, states: Sequence[StoredState]) -> list[str]:  # type: ignore[override]
        self.writes.set()
        assert self.go_on.wait(30)
        return super().put_many(spec_hash, states)


def test_states_that_are_removed_do_not_come_back_with_a_fold_that_runs(place: Place) -> None:
    place.send(0, 10)
    place.build_new()
    slow = SlowStorage(place.old.workspace.state)
    place.store.journal.append(orders(10, 5))
    changed = replace(place.old, features=place.new.features, config_dir=place.new.config_dir)
    with closing(open_live_states(place.old, place.store.journal, storage=slow)) as other:
        fold = threading.Thread(target=other.update, args=(CUSTOMERS,))
        fold.start()
        assert slow.writes.wait(30)
        removal = threading.Thread(target=remove_unused, args=(changed, place.storage))
        removal.start()
        removal.join(0.3)
        assert removal.is_alive(), "it waits for the fold"
        slow.go_on.set()
        fold.join(30)
        removal.join(30)
    assert place.storage.spec_hashes() == [place.new.features.hash]
    place.send(20, 5)
    place.check(place.new.features)


def test_a_build_covers_every_spec_in_use_and_moves_the_journal(place: Place) -> None:
    place.send(0, 10)
    champion = place.old.workspace.bentoml_home / "models" / "churn" / "1"
    champion.mkdir(parents=True)
    (champion / "manifest.json").write_text(f'{{"spec_hash": "{place.old.features.hash}"}}')
    (champion.parent / "latest").write_text("1")
    built = build_state(place.new)
    assert (built.spec_hash, built.moved, built.removed) == (place.new.features.hash, 10, ())
    assert [other.spec_hash for other in built.others] == [place.old.features.hash]
    place.check(place.old.features, place.new.features)
    (champion / "manifest.json").write_text(f'{{"spec_hash": "{place.new.features.hash}"}}')
    built = build_state(place.new)
    assert (built.others, built.removed) == ((), (place.old.features.hash,))
    assert place.old.features.hash in built.text()
    place.check(place.new.features)


def test_a_named_spec_is_built_alone(place: Place) -> None:
    place.send(0, 10)
    SpecVersions(place.old.workspace.specs).remember(place.new.features.hash, place.new.spec_file)
    built = build_state(place.old, place.new.features.hash)
    assert (built.spec_hash, built.moved, built.others) == (place.new.features.hash, 0, ())
    place.check(place.old.features, place.new.features)
    with pytest.raises(UserError, match="twin features versions") as caught:
        build_state(place.old, "feedfacefeedface")
    assert place.new.features.hash in caught.value.problems[0].expected


def test_access_and_erasure_reach_the_states_of_every_spec(place: Place) -> None:
    place.send(0, 10)
    place.build_new()
    report = access_report(place.old, "a", actor="test")
    assert report.features is not None
    assert report.features["spec_hash"] == place.old.features.hash
    (other,) = report.features_of_other_specs
    assert other["spec_hash"] == place.new.features.hash
    assert other["values"]["order_completed_count_lifetime"] == 2
    assert set(ADDED) <= other["values"].keys()
    place.storage.put_many("feedfacefeedface", [StoredState("a", 1, 1, b"state")])
    assert {"spec_hash": "feedfacefeedface"} in access_report(place.old, "a", actor="test").features_of_other_specs
    kept = {file: file.read_bytes() for file in place.old.workspace.specs.glob("*.json")}
    assert not erase(place.old, "a", reason="case 1", actor="test").found
    for spec in place.storage.spec_hashes():
        assert "a" not in place.storage.get_many(spec, CUSTOMERS)
    assert {file: file.read_bytes() for file in place.old.workspace.specs.glob("*.json")} == kept != {}
