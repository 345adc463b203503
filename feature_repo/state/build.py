"""Build the state of every customer from the lake, some of the customers at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership
from feature_repo.spec import FeatureSpec
from feature_repo.state.bulk import bulk_states
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StateStorage, StoredState

# Customers are built in parts of about so many events, which takes 1 GB.
_EVENTS_A_PART = 4_000_000
_CUSTOMERS_A_TRANSACTION = 2_000


@dataclass(frozen=True, slots=True)
class BuildSummary:
    customers: int
    events: int
    spec_hash: str


def count_events(
    lake: Path, version: int | None = None, tail: pa.Table | None = None, membership: Membership | None = None
) -> int:
    """How many events of customers a build has to read."""
    with duckdb.connect() as connection:
        register_customer_events(connection, lake, version, tail, membership)
        row = connection.execute("SELECT count(*) FROM customer_events").fetchone()
        return int(row[0]) if row else 0


def build_states(
    spec: FeatureSpec,
    lake: Path,
    storage: StateStorage,
    version: int | None = None,
    advance: Callable[[float], None] = lambda events: None,
    tail: pa.Table | None = None,
    membership: Membership | None = None,
    position: int = 0,
    finishing: Callable[[str], None] = lambda build: None,
    events_a_part: int = _EVENTS_A_PART,
) -> BuildSummary:
    """Fold all events of the lake (at `version`) and of `tail` (EVENT_SCHEMA) into states, and store them in batches.

    Readers see the former states until the new ones are stored; those of customers who have no events
    any more are removed at the end. `advance` is told how many events were folded. `position` is the end of the
    log that these events are of. `finishing` is told the name of the build before its states count as whole.

    Raises:
        StateUnavailable: the states cannot be stored; what is there still does not count as whole.
    """
    life, build = storage.begin(spec.hash), uuid.uuid4().hex
    customers: list[str] = []
    events = 0
    batch: list[StoredState] = []
    with duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [str(lake.parent / "spill")])
        register_customer_events(connection, lake, version, tail, membership)
        for state, folded in bulk_states(connection, plan_state(spec), _revisions(membership), events_a_part):
            batch.append(state)
            customers.append(state.customer_id)
            events += folded
            advance(folded)
            if len(batch) == _CUSTOMERS_A_TRANSACTION:
                storage.replace_many(spec.hash, batch)
                batch = []
    storage.replace_many(spec.hash, batch)
    storage.keep_only(spec.hash, customers)
    finishing(build)
    storage.note(spec.hash, position, 0 if membership is None else membership.version, life, build)
    return BuildSummary(len(customers), events, spec.hash)


def _revisions(membership: Membership | None) -> dict[str, int]:
    if membership is None:
        return {}
    columns = (membership.revisions.column(name).to_pylist() for name in ("customer_id", "revision"))
    return dict(zip(*columns, strict=True))
