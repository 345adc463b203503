"""`twin state rebuild`: live events move into the lake, and states hold all events of both tiers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.windows import DAY
from pipelines.console import UserError
from pipelines.events.journal import NewEvent
from pipelines.events.opening import event_store
from pipelines.events.rebuild import rebuild_customers
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.state_build import build_state
from tests.contract.feature_lake import CUSTOMERS, END, write_lake
from tests.reference.lake_events import logged_events
from tests.reference.naive_features import naive_features
from tests.states import open_reader

NAMES = ("order_completed_count_lifetime", "order_completed_value_last_lifetime", "page_viewed_count_90d")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings("states"), workspace=Workspace("states", tmp_path))


def live(number: int, customer: str) -> NewEvent:
    at = END + DAY + number
    properties = {"order_id": str(number), "total": 100 + number}
    return NewEvent(
        source="online_retail",
        event_id=f"m-{number}",
        event="Order Completed",
        event_time=at,
        available_at=at,
        user_id=customer,
        channel="web",
        value=100 + number,
        currency="THB",
        properties=properties,
    )


def test_live_events_move_into_the_lake_and_are_in_the_states(settings: Settings) -> None:
    workspace = settings.workspace
    write_lake(workspace.lake)
    with event_store(settings) as store:
        store.journal.append([live(1, CUSTOMERS[0]), live(2, CUSTOMERS[1]), live(3, "newcomer"), live(1, CUSTOMERS[0])])
    built = build_state(settings)
    assert built.moved == 3
    with event_store(settings) as store:
        assert store.journal.read(0, 10) == []
    events = logged_events(workspace.lake)
    assert [event.value for event in events["newcomer"]] == [103]

    reader = open_reader(settings.features, workspace.state, NAMES)
    as_of = reader.data_end()
    assert as_of is not None
    people = [*CUSTOMERS, "newcomer"]
    truth = [naive_features(settings.features, NAMES, events[customer], as_of) for customer in people]
    matrix = reader.read(people, as_of).matrix
    assert [[None if value != value else value for value in row] for row in matrix.tolist()] == truth
    assert build_state(settings).moved == 0


def test_a_workspace_without_events_is_told(settings: Settings) -> None:
    with pytest.raises(UserError, match="has no events"):
        build_state(settings)
    assert not settings.workspace.root.exists()


def test_single_customers_are_built_anew_from_lake_and_journal(settings: Settings) -> None:
    write_lake(settings.workspace.lake)
    build_state(settings)
    storage, spec = SQLiteStateStorage(settings.workspace.state), settings.features.hash
    right = storage.get_many(spec, CUSTOMERS)
    wrong, gone, left = CUSTOMERS[:3]
    storage.replace_many(spec, [replace(right[gone], customer_id=wrong), replace(right[gone], data=b"")])
    storage.replace_many(spec, [replace(right[left], customer_id="nobody")])
    done = rebuild_customers(settings, [wrong, gone, left, "nobody", wrong])
    assert done.customers == (wrong, gone, left, "nobody")
    assert done.changed == (wrong, gone, "nobody")
    assert storage.get_many(spec, CUSTOMERS) == right
    assert storage.get_many(spec, ["nobody"])["nobody"].data == b""
    with event_store(settings) as store:
        store.journal.append([live(1, wrong)])
    assert rebuild_customers(settings, [wrong]).events == 1 + len(logged_events(settings.workspace.lake)[wrong])
    with event_store(settings) as store:
        assert len(store.journal.read(0, 10)) == 1
    one = storage.get_many(spec, [wrong])
    build_state(settings)
    assert storage.get_many(spec, [wrong]) == one != {wrong: right[wrong]}


def test_single_customers_need_states_and_events(settings: Settings) -> None:
    write_lake(settings.workspace.lake)
    with pytest.raises(UserError, match="twin state rebuild"):
        rebuild_customers(settings, [CUSTOMERS[0]])
    build_state(settings)
    storage, spec = SQLiteStateStorage(settings.workspace.state), settings.features.hash
    before = storage.get_many(spec, CUSTOMERS)
    with pytest.raises(UserError, match="nobody"):
        rebuild_customers(settings, [CUSTOMERS[0], "nobody"])
    assert storage.get_many(spec, [*CUSTOMERS, "nobody"]) == before
