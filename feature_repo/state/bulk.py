"""States of many customers at once: DuckDB groups their events, and what it found is put together and encoded.

The same bytes as folding the events one at a time, which is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import msgspec
import numpy as np
import pyarrow as pa

from feature_repo.state import bulk_sql
from feature_repo.state.bulk_sql import StreamSQL, cells_of, event_columns, has_several, stream_queries
from feature_repo.state.plan import StatePlan
from feature_repo.state.storage import StoredState

_encoder = msgspec.msgpack.Encoder()

# Of one customer, in the order of `StreamState`; `None` where no event is settled.
_Stream = list[Any]


def bulk_states(
    connection: duckdb.DuckDBPyConnection, plan: StatePlan, revisions: Mapping[str, int], events_a_part: int
) -> Iterator[tuple[StoredState, int]]:
    """The state of every customer of `customer_events`, and the number of their events.

    Customers come in parts that have about `events_a_part` events together: a part costs one more look at
    all events, and memory for its own.
    """
    connection.execute(f"CREATE OR REPLACE TEMP TABLE all_customers AS {bulk_sql.ALL_CUSTOMERS}")
    (total,) = connection.execute("SELECT coalesce(sum(events), 0) FROM all_customers").fetchone() or (0,)
    parts = max(1, -(-int(total) // events_a_part))
    for part in range(parts):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE customers AS {bulk_sql.customers(part, parts)}")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE entries AS {bulk_sql.entries(plan)}")
        yield from _states_of_part(connection, plan, revisions)


def _states_of_part(
    connection: duckdb.DuckDBPyConnection, plan: StatePlan, revisions: Mapping[str, int]
) -> Iterator[tuple[StoredState, int]]:
    columns = "customer_id, position, newest_event, newest_arrival, settled_until, events"
    rows = _columns(connection, f"SELECT {columns} FROM customers ORDER BY customer")
    streams: list[list[_Stream | None]] = [[None] * len(plan.streams) for _ in rows[0]]
    waiting: list[list[tuple[Any, ...]]] = [[] for _ in rows[0]]
    for event in plan.by_event:
        for index, queries in stream_queries(plan, event):
            _read_stream(connection, plan, queries, index, streams)
        _read_waiting(connection, plan, event, waiting)
    numbered = zip(*rows, streams, waiting, strict=True)
    for customer_id, position, newest_event, newest_arrival, settled_until, events, of_customer, entries in numbered:
        entries.sort()
        data = _encoder.encode((position, newest_event, newest_arrival, settled_until, of_customer, entries))
        newest = max(newest_event, newest_arrival)
        yield StoredState(customer_id, position, newest, data, revisions.get(customer_id, 0)), events


def _read_stream(
    connection: duckdb.DuckDBPyConnection,
    plan: StatePlan,
    queries: StreamSQL,
    index: int,
    streams: Sequence[list[_Stream | None]],
) -> None:
    stream_plan = queries.plan
    kept: list[_Stream] = [[] for _ in streams]

    def put(query: str, make: Callable[[slice, list[list[Any]]], Any], place: int, at: int | None = None) -> None:
        """Put what `make` makes of each customer's rows where it belongs."""
        customers, *found = _columns(connection, query)
        for customer, rows in _runs(customers):
            target = kept[customer][place]
            made = make(rows, found)
            if at is None:
                kept[customer][place] = made
            else:
                target[at] = made

    customers, *columns = _columns(connection, queries.totals())
    width = len(stream_plan.layout.cells) + sum(cell.kind == "first" for cell in stream_plan.layout.cells)
    totals = zip(*cells_of(stream_plan.layout, columns[:width]), strict=True)
    lasts = _pairs(columns[width + 1 :], len(customers))
    for customer, total, last, latest_of in zip(customers, totals, columns[width], lasts, strict=True):
        kept[customer] = streams[customer][index] = [
            total,
            [{} for _ in stream_plan.levels],
            last,
            latest_of,
            [{} for _ in stream_plan.distincts],
            [[] for _ in stream_plan.tops],
            {},
        ]
    for place, level in enumerate(stream_plan.levels):
        customers, starts, *columns = _columns(connection, queries.tiles(level))
        tiles = list(zip(*cells_of(stream_plan.layout, columns), strict=True))
        for customer, rows in _runs(customers):
            kept[customer][1][place] = dict(zip(starts[rows], tiles[rows], strict=True))
    for place, measure in enumerate(stream_plan.distincts):
        put(queries.latest(measure), _latest(plan.caps.distinct), 4, place)
    for place, measure in enumerate(stream_plan.tops):
        put(queries.newest(measure, plan.caps.recent), _newest, 5, place)
    if stream_plan.keeps_days:
        put(queries.days(plan.utc_offset), _latest(plan.caps.days), 6)


def _latest(cap: int) -> Callable[[slice, list[list[Any]]], dict[Any, int]]:
    """Keys with their latest instants: the `cap` seen last, in the order of the keys."""

    def make(rows: slice, columns: list[list[Any]]) -> dict[Any, int]:
        keys, instants = columns[0][rows], columns[1][rows]
        if len(keys) > cap:
            newest = sorted(zip(instants, keys, strict=True), reverse=True)[:cap]
            return dict(sorted((key, at) for at, key in newest))
        return dict(sorted(zip(keys, instants, strict=True)))

    return make


def _newest(rows: slice, columns: list[list[Any]]) -> list[tuple[int, Any]]:
    return list(zip(columns[0][rows], columns[1][rows], strict=True))


def _pairs(columns: Sequence[list[Any]], rows: int) -> list[list[tuple[int, int] | None]]:
    """Of each row a list of (instant, value), from columns of instants and of values in turns."""
    found = [
        [None if at is None else (at, value) for at, value in zip(instants, values, strict=True)]
        for instants, values in zip(columns[::2], columns[1::2], strict=True)
    ]
    return [list(row) for row in zip(*found, strict=True)] if found else [[] for _ in range(rows)]


def _read_waiting(
    connection: duckdb.DuckDBPyConnection, plan: StatePlan, event: str, waiting: Sequence[list[tuple[Any, ...]]]
) -> None:
    """Events that are not settled, as `Entry` has them."""
    columns = event_columns(plan, event)
    read = ", ".join([*columns.flags, *columns.measures])
    query = f"""
SELECT customer, event_time, available_at, position, {read}
FROM entries WHERE NOT settled AND code = {columns.code}
"""
    single = [
        i for i, measure in enumerate(plan.measures[event]) if measure.kind == "text" and not has_several(measure)
    ]
    for customer, event_time, available_at, position, *rest in connection.execute(query).fetchall():
        flags, values = rest[: len(columns.flags)], rest[len(columns.flags) :]
        held = [index for index, flag in zip(plan.by_event[event], flags, strict=True) if flag]
        for i in single:
            values[i] = [] if values[i] is None else [values[i]]
        if held:
            waiting[customer].append((event_time, available_at, position, held, values))


def _runs(customers: Sequence[int]) -> Iterator[tuple[int, slice]]:
    """Each customer with the rows that are theirs; rows of one customer follow each other."""
    if not customers:
        return
    numbers = np.asarray(customers)
    ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    begin = 0
    for end in ends:
        yield customers[begin], slice(begin, end)
        begin = end


def _columns(connection: duckdb.DuckDBPyConnection, query: str) -> list[list[Any]]:
    """The result as Python values, a list a column."""
    return [_values(column) for column in connection.sql(query).to_arrow_table().columns]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_integer(column.type) and not column.null_count:
        values: list[Any] = column.to_numpy().tolist()
        return values
    return column.to_pylist()
