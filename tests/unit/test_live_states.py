"""States that follow the journal: equal to a rebuild, whatever order and whoever folds."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live_states import LiveStates, StatesBusy, building
from pipelines.events.store import EventStore
from pipelines.identity.store import open_identity
from pipelines.settings import Settings, Workspace, load_settings

START = 1_780_000_000_000_000
CUSTOMERS = ("a", "b", "c")


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_settings()


def order(number: int, customer: str, at: int) -> NewEvent:
    return NewEvent(
        "web",
        f"m{number}",
        "Order Completed",
        at,
        START + number * 1_000_000,
        "web",
        user_id=customer,
        value=100 + number,
        currency="THB",
        properties={"order_id": str(number), "total": 100 + number, "units": 1},
    )


def events(count: int) -> list[NewEvent]:
    rng = random.Random(5)
    return [order(n, rng.choice(CUSTOMERS), START - rng.randrange(10**13)) for n in range(count)]


def states(storage: SQLiteStateStorage, spec_hash: str) -> dict[str, bytes]:
    return {who: state.data for who, state in storage.get_many(spec_hash, CUSTOMERS).items()}


def follow(settings: Settings, workspace: Workspace, journal: SQLiteJournal) -> LiveStates:
    """States as a process of its own has them."""
    identity = open_identity(replace(settings, workspace=workspace))
    log = CustomerLog(journal, workspace.lake, identity, lambda: frozenset({"web"}))
    storage = SQLiteStateStorage(workspace.state)
    return LiveStates(settings.features, storage, journal, identity, log, workspace.state_lock)


def rebuilt(settings: Settings, workspace: Workspace, journal: SQLiteJournal) -> dict[str, bytes]:
    now = EventStore.open(workspace.lake, journal).snapshot()
    storage = SQLiteStateStorage(workspace.root / "rebuilt.db")
    build_states(settings.features, workspace.lake, storage, now.version, tail=now.tail)
    return states(storage, settings.features.hash)


def test_folded_live_by_many_and_caught_up_are_equal_to_a_rebuild(settings: Settings, tmp_path: Path) -> None:
    workspace = Workspace("test", checkout=tmp_path)
    journal = SQLiteJournal(workspace.journal)
    storage = SQLiteStateStorage(workspace.state)
    # As two processes have it: each its own lock within.
    live = [follow(settings, workspace, journal) for _ in range(2)]
    made = events(120)

    def send(part: list[NewEvent], who: LiveStates) -> None:
        for event in part:
            journal.append([event])
            who.update([event.user_id or ""])

    threads = [threading.Thread(target=send, args=(made[n:80:4], live[n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = states(storage, settings.features.hash)
    assert first == rebuilt(settings, workspace, journal)
    journal.append(made[60:])
    assert states(storage, settings.features.hash) == first
    assert live[0].catch_up() == len(CUSTOMERS)
    assert live[1].catch_up() == 0
    assert states(storage, settings.features.hash) == rebuilt(settings, workspace, journal) != first
    journal.close()


def test_nothing_is_folded_while_states_are_built(settings: Settings, tmp_path: Path) -> None:
    workspace = Workspace("test", checkout=tmp_path)
    journal = SQLiteJournal(workspace.journal)
    live = follow(settings, workspace, journal)
    journal.append(events(1))
    with building(workspace.state_lock), pytest.raises(StatesBusy):
        live.update(CUSTOMERS)
    live.update(CUSTOMERS)
    assert not live.built, "it cannot be told that nothing else is missing"
    assert live.catch_up() == 0
    assert live.built
    journal.close()
