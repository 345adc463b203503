"""Build the state of every customer from the lake, in bulk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership
from feature_repo.spec import FeatureSpec
from feature_repo.state.plan import StatePlan, plan_state
from feature_repo.state.storage import StateStorage, StoredState, stored_state
from feature_repo.state.tiles import LoggedEvent, fold

_ROWS_A_FETCH = 20_000
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
    connection = duckdb.connect()
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
) -> BuildSummary:
    """Fold all events of the lake (at `version`) and of `tail` (EVENT_SCHEMA) into states, and store them in batches.

    Readers see the former states until the new ones are stored; those of customers who have no events
    any more are removed at the end. `advance` is told how many events were folded. `position` is the end of the
    log that these events are of. `finishing` is told the name of the build before its states count as whole.

    Raises:
        StateUnavailable: the states cannot be stored; what is there still does not count as whole.
    """
    plan = plan_state(spec)
    life, build = storage.begin(spec.hash), uuid.uuid4().hex
    revisions = _revisions(membership)
    customers: list[str] = []
    events = 0
    batch: list[StoredState] = []
    for customer_id, logged in _by_customer(plan, lake, version, tail, membership):
        batch.append(stored_state(customer_id, fold(plan, None, logged), revisions.get(customer_id, 0)))
        customers.append(customer_id)
        events += len(logged)
        advance(len(logged))
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


def _by_customer(
    plan: StatePlan, lake: Path, version: int | None, tail: pa.Table | None, membership: Membership | None
) -> Iterator[tuple[str, list[LoggedEvent]]]:
    connection = duckdb.connect()
    register_customer_events(connection, lake, version, tail, membership)
    # Events that no feature reads still move a customer's clock, but their properties stay unread.
    cursor = connection.execute(
        """
        SELECT customer_id, position, event, event_time, available_at, channel, value,
               CASE WHEN list_contains(?, event) THEN properties END
        FROM customer_events ORDER BY customer_id, position
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
