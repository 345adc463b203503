"""States built in bulk have the bytes of states folded one event at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings

from feature_repo.spec import FeatureSpec
from feature_repo.state.build import build_states
from feature_repo.state.bulk import bulk_states
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StoredState, stored_state
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import fold
from pipelines.settings import load_settings
from tests.contract.feature_lake import CUSTOMERS, write_lake
from tests.deep import examples
from tests.parity.harness import Delivery, accept, dense_log, events_table, every_operation_spec
from tests.parity.test_generated_events import deliveries
from tests.reference.lake_events import logged_events

SPEC = every_operation_spec()
REVISIONS = {"one": 3}


def folded(spec: FeatureSpec, log: Sequence[Delivery]) -> list[tuple[StoredState, int]]:
    plan, found = plan_state(spec), []
    for customer in sorted({d.customer for d in log}):
        events = [d.event for d in log if d.customer == customer]
        found.append((stored_state(customer, fold(plan, None, events), REVISIONS.get(customer, 0)), len(events)))
    return found


def in_bulk(spec: FeatureSpec, log: Sequence[Delivery], events_a_part: int) -> list[tuple[StoredState, int]]:
    with duckdb.connect() as connection:
        connection.register("customer_events", events_table(log))
        found = list(bulk_states(connection, plan_state(spec), REVISIONS, events_a_part))
    return sorted(found, key=lambda pair: pair[0].customer_id)


@settings(max_examples=examples(80), deadline=None)
@given(deliveries())
def test_any_events_give_the_same_bytes(delivered: list[Delivery]) -> None:
    log = accept(delivered)
    assert in_bulk(SPEC, log, 1_000) == folded(SPEC, log)


@pytest.mark.parametrize("seed", range(6))
def test_many_events_give_the_same_bytes_in_any_parts(seed: int) -> None:
    log = accept(dense_log(seed)[0])
    truth = folded(SPEC, log)
    assert in_bulk(SPEC, log, 1_000) == truth
    assert in_bulk(SPEC, log, 20) == truth


def test_a_lake_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = load_settings().features
    write_lake(tmp_path / "lake")
    storage = SQLiteStateStorage(tmp_path / "state.db")
    told: list[float] = []
    summary = build_states(spec, tmp_path / "lake", storage, advance=told.append, events_a_part=1_000)
    plan, events = plan_state(spec), logged_events(tmp_path / "lake")
    truth = {customer: stored_state(customer, fold(plan, None, logged)) for customer, logged in events.items()}
    assert storage.get_many(spec.hash, CUSTOMERS) == truth
    assert sum(told) == summary.events == sum(map(len, events.values()))
    assert summary.customers == len(truth)
