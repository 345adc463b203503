"""The newest events of each kind: one record whatever the order, and the same answer as all events of the log."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import LoggedEvent
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live_states import LiveStates
from pipelines.events.moments import decode, fold_moments, kept_of, moment_of, moments_of, record_key, visible
from pipelines.events.moments_build import build_moments, moments_by_customer
from pipelines.events.store import EventStore
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, Workspace, load_settings

KEPT = 3
KEY = record_key(KEPT)
START = 1_780_000_000_000_000
NAMES = ("Email Opened", "Order Completed", "Product Viewed")

instants = st.integers(0, 12)
logged_events = st.lists(
    st.tuples(st.sampled_from(NAMES), instants, instants), max_size=25
).map(lambda rows: [_logged(i, *row) for i, row in enumerate(rows)])  # fmt: skip


def _logged(position: int, name: str, event_time: int, available_at: int) -> LoggedEvent:
    return LoggedEvent(position, name, event_time, available_at, "web", None, {"n": position}, "web", f"m{position}")


@given(logged_events, st.randoms())
def test_one_record_whatever_the_order_and_the_parts(events: list[LoggedEvent], rng: random.Random) -> None:
    at_once = fold_moments(None, events, KEPT)
    shuffled = rng.sample(events, len(events))
    cut = rng.randint(0, len(events))
    in_parts = fold_moments(fold_moments(None, shuffled[:cut], KEPT), shuffled[cut:], KEPT)
    assert in_parts == at_once


@given(logged_events, instants)
def test_a_record_answers_as_all_events_of_the_log_do(events: list[LoggedEvent], later: int) -> None:
    record = decode(fold_moments(None, events, KEPT))
    as_of = max(record.newest_arrival, 0) + later
    assert visible(record.moments, as_of, KEPT) == visible(moments_of(events), as_of, KEPT)


@given(logged_events, st.randoms())
def test_what_is_kept_does_not_depend_on_the_order_of_arrival(events: list[LoggedEvent], rng: random.Random) -> None:
    """Also of events of one instant, of which some are not kept."""
    places = rng.sample(range(len(events)), len(events))
    at_once = [replace(event, available_at=20) for event in events]
    otherwise = [replace(event, position=place) for event, place in zip(at_once, places, strict=True)]
    kept, again = (decode(fold_moments(None, of, KEPT)).moments for of in (at_once, otherwise))
    assert [moment.event_id for moment in kept] == [moment.event_id for moment in again]


@given(logged_events)
def test_what_is_dropped_is_counted(events: list[LoggedEvent]) -> None:
    record = decode(fold_moments(None, events, KEPT))
    assert len(record.moments) + sum(record.dropped.values()) == len(events)
    past = [moment for moment in record.moments if moment.event_time < record.newest_arrival]
    assert all(sum(moment.event == name for moment in past) <= KEPT for name in NAMES)


def test_only_scalar_properties_are_kept() -> None:
    event = replace(
        _logged(1, "Order Completed", 5, 6),
        properties={
            "total": 5,
            "coupon": "X",
            "paid": True,
            "products": [1],
            "$call": {},
            "note": None,
            "long": "y" * 301,
            "huge": 2**64,
            "tiny": -(2**63) - 1,
        },
    )
    assert moment_of(event).properties == {"coupon": "X", "paid": True, "total": 5}


def test_keys_of_records_are_told_from_hashes() -> None:
    assert (kept_of(KEY), kept_of("0f3a7c21b6d94e58"), kept_of("moments-")) == (KEPT, None, None)


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings()


def event(number: int, customer: str, rng: random.Random) -> NewEvent:
    return NewEvent(
        "web", f"m{number}", rng.choice(NAMES), START - rng.randrange(10) * 10**12, START + number * 1_000_000, "web",
        user_id=customer, properties={"message_id": str(number), "products": [{"a": 1}]},
    )  # fmt: skip


def follow(settings: Settings, workspace: Workspace, journal: SQLiteJournal) -> LiveStates:
    identity = open_identity(replace(settings, workspace=workspace))
    log = CustomerLog(journal, workspace.lake, identity, lambda: frozenset({"web"}))
    states, moments = SQLiteStateStorage(workspace.state), SQLiteStateStorage(workspace.moments)
    return LiveStates(
        settings.features, states, journal, identity, log, workspace.state_lock, moments=moments, moments_key=KEY
    )


def test_kept_up_live_they_equal_those_built_in_bulk(settings: Settings, tmp_path: Path) -> None:
    workspace = Workspace("test", checkout=tmp_path)
    journal = SQLiteJournal(workspace.journal)
    live = follow(settings, workspace, journal)
    live.catch_up()
    rng, customers = random.Random(3), ("a", "b", "c")
    made = [event(number, rng.choice(customers), rng) for number in range(90)]
    # As calls come: some appended by somebody who died before folding.
    for start in range(0, 90, 9):
        part = made[start : start + 9]
        answers = journal.append(part)
        if start % 27:
            live.take(journal.read(answers[0].position - 1, len(part)))
    live.catch_up()

    now = EventStore.open(workspace.lake, journal).snapshot()
    bulk = SQLiteStateStorage(workspace.root / "bulk.db")
    # Parts of a few events each, so that customers are in several of them.
    assert build_moments(KEY, workspace.lake, bulk, now.version, tail=now.tail, events_a_part=20) == len(customers)
    kept = SQLiteStateStorage(workspace.moments).get_many(KEY, customers)
    assert kept == bulk.get_many(KEY, customers)
    assert all(decode(row.data).dropped for row in kept.values()), "enough events that some are not kept"
    chosen = moments_by_customer(KEPT, workspace.lake, now.version, now.tail, None, ["b"])
    assert chosen == {"b": kept["b"].data}


def test_a_place_without_records_begins_them_while_the_journal_has_everything(
    settings: Settings, tmp_path: Path
) -> None:
    workspace = Workspace("test", checkout=tmp_path)
    journal = SQLiteJournal(workspace.journal)
    identity = open_identity(replace(settings, workspace=workspace))
    log = CustomerLog(journal, workspace.lake, identity, lambda: frozenset({"web"}))
    states = SQLiteStateStorage(workspace.state)
    without = LiveStates(settings.features, states, journal, identity, log, workspace.state_lock)
    rng = random.Random(4)
    journal.append([event(number, "a", rng) for number in range(5)])
    without.catch_up()

    follow(settings, workspace, journal).catch_up()
    row = SQLiteStateStorage(workspace.moments).get_many(KEY, ["a"])["a"]
    record = decode(row.data)
    assert len(record.moments) + sum(record.dropped.values()) == 5
    assert SQLiteStateStorage(workspace.moments).built_specs() == [KEY]
