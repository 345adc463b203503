"""Build the state of every customer from the lake, some of the customers at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership, revisions_of
from feature_repo.spec import FeatureSpec
from feature_repo.state.bulk import bulk_states
from feature_repo.state.plan import StatePlan, plan_state
from feature_repo.state.storage import StateStorage, StoredState
from feature_repo.state.tiles import LoggedEvent

# Customers are built in parts of about so many events, which takes 1 GB.
_EVENTS_A_PART = 4_000_000
_CUSTOMERS_A_TRANSACTION = 2_000
_ROWS_A_FETCH = 20_000


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
        for state, folded in bulk_states(connection, plan_state(spec), revisions_of(membership), events_a_part):
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


def events_by_customer(
    plan: StatePlan,
    lake: Path,
    version: int | None = None,
    tail: pa.Table | None = None,
    membership: Membership | None = None,
    customers: Sequence[str] | None = None,
) -> Iterator[tuple[str, list[LoggedEvent]]]:
    """The events of every customer who has some (of `customers`, if given), ascending by position."""
    connection = duckdb.connect()
    register_customer_events(connection, lake, version, tail, membership)
    chosen = ""
    if customers is not None:
        connection.register("chosen_customers", pa.table({"customer_id": pa.array(customers, pa.string())}))
        chosen = "SEMI JOIN chosen_customers USING (customer_id)"
    # Events that no feature reads still move a customer's clock, but their properties stay unread.
    cursor = connection.execute(
        f"""
        SELECT customer_id, position, event, event_time, available_at, channel, value,
               CASE WHEN list_contains(?, event) THEN properties END
        FROM customer_events {chosen} ORDER BY customer_id, position
        """,
        [list(plan.by_event)],
    )
    for customer_id, rows in groupby(_rows(cursor), key=itemgetter(0)):
        yield customer_id, [_logged(row) for row in rows]


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_ROWS_A_FETCH):
        yield from rows


def _logged(row: tuple[Any, ...]) -> LoggedEvent:
    _, position, event, event_time, available_at, channel, value, properties = row
    parsed = {} if properties is None else msgspec.json.decode(properties)
    return LoggedEvent(position, event, event_time, available_at, channel, value, parsed)
