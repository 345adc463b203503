"""Links, aliases, consents and decisions in any order: live states, SQL over the lake and a rebuild are equal."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.event_table import register_customer_events
from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import compile_spec
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.compaction import compact
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import NewEvent, StoredEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live_states import LiveStates
from pipelines.events.store import EventStore
from pipelines.identity.catch_up import catch_up
from pipelines.identity.decisions import Decision
from pipelines.identity.publish import membership_of
from pipelines.identity.rebuild import rebuild
from pipelines.identity.store import IdentityStore
from pipelines.settings import load_settings
from tests.changed_spec import changed_content
from tests.deep import examples
from tests.unit.test_identity_store import CONFIG, CONSENT, SEALER, decisions, happenings

SPEC: FeatureSpec = load_settings().features
# Built in the middle, while the states of the other follow.
CHANGED: FeatureSpec = compile_spec(changed_content())
HOUR = 3_600_000_000
START = 1_780_000_000_000_000
ALLOWED = frozenset({"web"})


def told(stored: StoredEvent, random: Any) -> NewEvent:
    """The event with a name that features read, at an hour of its own, from one of two sources."""
    event = stored.event
    name = event.event if event.event != "Page Viewed" else random.choice(["Page Viewed", "Order Completed"])
    at = START + event.event_time * HOUR
    return NewEvent(
        random.choice(["web", "web", "pos"]),
        event.event_id,
        name,
        at,
        at + random.choice([0, 0, 5 * HOUR]),
        "web",
        event.user_id,
        event.anonymous_id,
        event.identifiers,
        value=100 if name == "Order Completed" else None,
        currency="THB",
        properties={**event.properties, "order_id": "1", "total": 100, "units": 1},
    )


class Place:
    """One workspace, as a service has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = folder / "lake"
        self.journal = SQLiteJournal(folder / "journal.db")
        self.identity = IdentityStore(folder / "identity.db", CONFIG, CONSENT, lambda: SEALER)
        self.storage = SQLiteStateStorage(folder / "state.db")
        self.log = CustomerLog(self.journal, self.lake, self.identity, lambda: ALLOWED)
        find = {CHANGED.hash: CHANGED}.get
        lock = folder / "state.lock"
        self.states = LiveStates(SPEC, self.storage, self.journal, self.identity, self.log, lock, find=find)
        self.store = EventStore.open(self.lake, self.journal)
        self.storage.note(SPEC.hash, 0, 0, self.storage.begin(SPEC.hash))

    def send(self, events: list[NewEvent]) -> None:
        answers = self.journal.append(events)
        pairs = zip(answers, events, strict=True)
        self.states.take([StoredEvent(answer.position, event) for answer, event in pairs if not answer.duplicate])

    def compact(self) -> None:
        catch_up(self.identity, self.lake, self.journal)
        self.states.catch_up()
        compact(self.lake, self.journal)

    def build(self, spec: FeatureSpec, storage: SQLiteStateStorage) -> None:
        catch_up(self.identity, self.lake, self.journal)
        now, membership = self.store.snapshot(), membership_of(self.identity, ALLOWED)
        build_states(spec, self.lake, storage, now.version, tail=now.tail, membership=membership, position=now.position)

    def live(self, spec: FeatureSpec = SPEC) -> dict[str, tuple[bytes, int]]:
        return rows_of(self.storage, spec)

    def rebuilt(self, spec: FeatureSpec = SPEC) -> dict[str, tuple[bytes, int]]:
        fresh = SQLiteStateStorage(self.folder / "rebuilt.db")
        self.build(spec, fresh)
        return rows_of(fresh, spec)

    def in_sql(self) -> dict[str, list[tuple[int, int, int]]]:
        now = self.store.snapshot()
        found: dict[str, list[tuple[int, int, int]]] = {}
        with duckdb.connect() as connection:
            membership = membership_of(self.identity, ALLOWED)
            register_customer_events(connection, self.lake, now.version, now.tail, membership)
            query = "SELECT customer_id, position, event_time, available_at FROM customer_events ORDER BY position"
            for who, *event in connection.execute(query).fetchall():
                found.setdefault(who, []).append(tuple(event))
        return found

    def close(self) -> None:
        self.states.close()
        self.journal.close()


def rows_of(storage: SQLiteStateStorage, spec: FeatureSpec) -> dict[str, tuple[bytes, int]]:
    query = "SELECT customer_id, data, revision FROM customer_state WHERE spec_hash = ? AND length(data) > 0"
    with storage._connection() as connection:
        return {who: (data, revision) for who, data, revision in connection.execute(query, (spec.hash,))}


def live_through(
    place: Place, events: list[NewEvent], between: list[Decision | FeatureSpec], random: Any, size: int
) -> None:
    """Send `events` in groups of `size`, with decisions and builds at any time between them, and compactions."""
    steps: list[Any] = [events[i : i + size] for i in range(0, len(events), size)]
    for step in between:
        steps.insert(random.randrange(len(steps) + 1), step)
    for step in steps:
        if isinstance(step, FeatureSpec):
            place.build(step, place.storage)
        elif isinstance(step, Decision):
            place.states.update(place.identity.decide(step))
        else:
            place.send(step)
        if random.random() < 0.2:
            place.compact()


@settings(max_examples=examples(60), deadline=None)
@given(happenings(), decisions, st.randoms(use_true_random=False), st.integers(1, 4))
def test_any_order_gives_the_twins_of_a_rebuild(events, decided, random, size) -> None:
    sent = [told(event, random) for event in events]
    order = [*sent, *random.choices(sent, k=2)]
    random.shuffle(order)
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        live_through(place, order, [*decided, CHANGED], random, size)
        live, sql = place.live(), place.in_sql()
        assert live == place.rebuilt()
        assert place.live(CHANGED) == place.rebuilt(CHANGED)
        assert live.keys() == sql.keys()
        for who, expected in sql.items():
            logged = place.log.everything(who)
            assert [(e.position, e.event_time, e.available_at) for e in logged] == expected
        place.close()


@settings(max_examples=examples(30), deadline=None)
@given(happenings(), decisions, st.randoms(use_true_random=False), st.integers(1, 4))
def test_a_rebuild_of_the_map_changes_nobody(events, decided, random, size) -> None:
    sent = [told(event, random) for event in events]
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        live_through(place, sent, decided, random, size)
        before = place.live()
        done = rebuild(place.identity, place.lake, place.journal)
        assert done.changed == ()
        place.states.catch_up()
        assert place.live() == before
        # What comes afterwards is taken in by whoever had the old map open.
        place.send([told(event, random) for event in events[:1]])
        assert {who: data for who, (data, _) in place.live().items()} == {
            who: data for who, (data, _) in place.rebuilt().items()
        }
        place.close()


def test_both_ends_of_an_unmerge_have_their_states_again() -> None:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder))
        users = ("a", "b", "a")
        place.send([order(number, user) for number, user in enumerate(users)])
        apart = place.live()
        for verdict, changed in (("link", {"a", "b"}), ("apart", {"a", "b"})):
            decision = Decision(verdict, ("user_id", "a"), ("user_id", "b"), "manual", "somchai", START)
            found = place.identity.decide(decision)
            assert found == changed
            place.states.update(found)
        assert {who: data for who, (data, _) in place.live().items()} == {who: data for who, (data, _) in apart.items()}
        place.close()


def order(number: int, user_id: str) -> NewEvent:
    at = START + number * HOUR
    properties = {"order_id": str(number), "total": 100, "units": 1}
    return NewEvent("web", f"o{number}", "Order Completed", at, at, "web", user_id, None, {}, 100, "THB", properties)
