"""Build the records of moments of all customers, or of some, from all events."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership, revisions_of
from feature_repo.state.storage import StateStorage, StoredState, stored_state
from feature_repo.state.tiles import LoggedEvent
from pipelines.events.moments import MomentRecord, encode, kept_of, moment_of

_EVENTS_A_PART = 2_000_000
_CUSTOMERS_A_TRANSACTION = 2_000
_ROWS_A_FETCH = 20_000


def build_moments(
    key: str,
    lake: Path,
    storage: StateStorage,
    version: int | None = None,
    advance: Callable[[float], None] = lambda events: None,
    tail: pa.Table | None = None,
    membership: Membership | None = None,
    position: int = 0,
    finishing: Callable[[str], None] = lambda build: None,
    events_a_part: int = _EVENTS_A_PART,
) -> int:
    """Store the record of every customer under `key`, and say how many have one. As `build_states` in all else.

    Raises:
        StateUnavailable: they cannot be stored; what is there still does not count as whole.
    """
    kept_of_each = kept_of(key)
    if kept_of_each is None:
        raise ValueError(f"{key!r} is no key of records")
    life, build = storage.begin(key), uuid.uuid4().hex
    customers: list[str] = []
    batch: list[StoredState] = []
    with duckdb.connect() as connection:
        connection.execute("SET temp_directory = ?", [str(lake.parent / "spill")])
        register_customer_events(connection, lake, version, tail, membership)
        total = _count(connection)
        revisions, parts = revisions_of(membership), max(1, -(-total // events_a_part))
        for part in range(parts):
            for who, record in _records(connection, kept_of_each, f"hash(customer_id) % {parts} = {part}", []):
                batch.append(stored_state(who, encode(record), revisions.get(who, 0)))
                customers.append(who)
                advance(float(len(record.moments) + sum(record.dropped.values())))
                if len(batch) == _CUSTOMERS_A_TRANSACTION:
                    storage.replace_many(key, batch)
                    batch = []
    storage.replace_many(key, batch)
    storage.keep_only(key, customers)
    finishing(build)
    storage.note(key, position, 0 if membership is None else membership.version, life, build)
    return len(customers)


def moments_by_customer(
    kept_of_each: int,
    lake: Path,
    version: int | None,
    tail: pa.Table | None,
    membership: Membership | None,
    customers: Sequence[str],
) -> dict[str, bytes]:
    """The encoded records of those of `customers` who have events."""
    with duckdb.connect() as connection:
        register_customer_events(connection, lake, version, tail, membership)
        chosen = "list_contains(?, customer_id)"
        return {who: encode(record) for who, record in _records(connection, kept_of_each, chosen, [list(customers)])}


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT count(*) FROM customer_events").fetchone()
    return int(row[0]) if row else 0


# Of each kind the newest of what had happened at the customer's newest arrival, and all that had not; in the order of
# `moments.age_of`.
_NEWEST = """
WITH seen AS (
  SELECT *, max(available_at) OVER who AS newest_arrival, max(event_time) OVER who AS newest_event,
         max(position) OVER who AS newest_position
  FROM customer_events WHERE {chosen} WINDOW who AS (PARTITION BY customer_id)
), ranked AS (
  SELECT *, count(*) OVER kind AS of_kind, row_number() OVER (
           kind ORDER BY event_time DESC, source DESC, event_id DESC, channel DESC, position DESC) AS place
  FROM seen WINDOW kind AS (PARTITION BY customer_id, event, event_time >= newest_arrival)
)
SELECT customer_id, newest_position, newest_event, newest_arrival,
       CASE WHEN event_time < newest_arrival THEN greatest(of_kind - {kept}, 0) ELSE 0 END,
       position, event, event_time, available_at, channel, value, properties, source, event_id
FROM ranked WHERE place <= {kept} OR event_time >= newest_arrival
ORDER BY customer_id, event_time, event, source, event_id, channel, position
"""


def _records(
    connection: duckdb.DuckDBPyConnection, kept_of_each: int, chosen: str, parameters: list[Any]
) -> Iterator[tuple[str, MomentRecord]]:
    cursor = connection.execute(_NEWEST.format(chosen=chosen, kept=kept_of_each), parameters)
    for customer_id, rows in groupby(_rows(cursor), key=itemgetter(0)):
        record: MomentRecord | None = None
        for _, position, newest_event, newest_arrival, dropped, *event in rows:
            if record is None:
                record = MomentRecord(position, newest_event, newest_arrival, kept_of_each, {}, [])
            logged = _logged(event)
            record.moments.append(moment_of(logged))
            if dropped:
                record.dropped[logged.event] = dropped
        if record is not None:
            yield customer_id, record


def _rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_ROWS_A_FETCH):
        yield from rows


def _logged(row: Sequence[Any]) -> LoggedEvent:
    position, event, event_time, available_at, channel, value, properties, source, event_id = row
    parsed = msgspec.json.decode(properties)
    return LoggedEvent(position, event, event_time, available_at, channel, value, parsed, source, event_id)
