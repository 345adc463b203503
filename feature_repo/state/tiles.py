"""A customer's state: tiles, running totals and latest instants, a pure function of a set of events.

Events that no allowed read can miss are settled into tiles; the others wait as entries until time
has passed them. `settled_until` follows from the newest arrival alone, so the state is the same
whatever order the events came in, and reads are exact at any instant from there on.

All instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from feature_repo.extract import columns_of, holds, integer_of, texts_of
from feature_repo.spec import Measure
from feature_repo.state.cells import Accumulator
from feature_repo.state.plan import SETTLED_EVERY, Level, StatePlan, StreamPlan
from feature_repo.state.recency import keep_latest, keep_newest
from feature_repo.windows import day_of, floor

Value = int | list[str] | None


class Entry(msgspec.Struct, array_like=True, order=True):
    """One event reduced to what the spec reads.

    `streams` are the places of those it belongs to, all of one canonical event; `values` are in the
    order of that event's measures in the plan.
    """

    event_time: int
    available_at: int
    position: int
    streams: list[int]
    values: list[Value]


class StreamState(msgspec.Struct, array_like=True):
    """What is kept of one stream.

    `total` and the tiles are accumulators (see `cells`); `levels` map the start of a tile to it.
    `latest_of` holds (instant, value) of each measure of `last`; `distinct` each value's latest instant,
    for each measure of `distinct`; `newest` the newest (instant, value), newest first, for each measure
    of `top`; `days` the latest instant of each day.
    """

    total: Accumulator
    levels: list[dict[int, Accumulator]]
    last: int | None
    latest_of: list[tuple[int, int] | None]
    distinct: list[dict[str, int]]
    newest: list[list[tuple[int, Any]]]
    days: dict[int, int]


class Head(msgspec.Struct, array_like=True):
    """What every encoded state begins with, to be read without the rest."""

    position: int
    newest_event: int
    newest_arrival: int


class CustomerState(msgspec.Struct, array_like=True):
    """State of one customer under one spec, as of the log's `position`. It begins as `Head`."""

    position: int
    newest_event: int
    newest_arrival: int
    settled_until: int
    streams: list[StreamState | None]
    waiting: list[Entry]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log as the state needs it; `source` and `event_id` name it where it has to be found again."""

    position: int
    event: str
    event_time: int
    available_at: int
    channel: str
    value: int | None
    properties: Mapping[str, Any]
    source: str = ""
    event_id: str = ""


class PositionError(ValueError):
    """Events were handed to a state out of the order of their positions in the log."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CustomerState)
_head_decoder = msgspec.msgpack.Decoder(Head)


def encode(state: CustomerState) -> bytes:
    """Canonical bytes: equal states have equal bytes."""
    for stream in state.streams:
        if stream is not None:
            stream.levels = [dict(sorted(tiles.items())) for tiles in stream.levels]
            stream.distinct = [dict(sorted(latest.items())) for latest in stream.distinct]
            stream.days = dict(sorted(stream.days.items()))
    return _encoder.encode(state)


def decode(data: bytes) -> CustomerState:
    """Raises msgspec.DecodeError if `data` is not an encoded state."""
    return _decoder.decode(data)


def head_of(data: bytes) -> Head:
    """Of an encoded state, or of whatever else begins as `Head`. Raises msgspec.DecodeError if `data` does not."""
    return _head_decoder.decode(data)


def empty_state(plan: StatePlan) -> CustomerState:
    """The state of a customer without events."""
    return CustomerState(-1, _NEVER, _NEVER, _NEVER, [None] * len(plan.streams), [])


_NEVER = -(2**62)


def entry_of(plan: StatePlan, event: LoggedEvent) -> Entry | None:
    """What the spec reads of `event`; None where no feature reads it."""
    candidates = plan.by_event.get(event.event)
    if candidates is None:
        return None
    columns = columns_of(event.event_time, event.channel, event.value, plan.utc_offset)
    streams = [
        index
        for index in candidates
        if all(holds(test, columns, event.properties) for test in plan.streams[index].stream.conditions)
    ]
    if not streams:
        return None
    values = [_value(measure, columns, event.properties) for measure in plan.measures[event.event]]
    return Entry(event.event_time, event.available_at, event.position, streams, values)


def _value(measure: Measure, columns: Mapping[str, Any], properties: Mapping[str, Any]) -> Value:
    read = integer_of if measure.kind == "integer" else texts_of
    return read(measure, columns, properties)


def fold(plan: StatePlan, data: bytes | None, events: Iterable[LoggedEvent]) -> bytes:
    """The state after `events`, from the encoded state before them (None: no state yet).

    Events at or before the state's position are in it already and change nothing.

    Raises:
        PositionError: positions do not ascend, so that one might be skipped for ever.
    """
    state = empty_state(plan) if data is None else decode(data)
    previous = -1
    for event in events:
        if event.position <= previous:
            raise PositionError(f"positions must ascend; {event.position} came after {previous}")
        previous = event.position
        if event.position > state.position:
            add(plan, state, event)
    return encode(state)


def fold_more(plan: StatePlan, data: bytes | None, events: Iterable[LoggedEvent]) -> bytes:
    """The state after `events`, none of which is in it yet, in any order and at any position.

    For events that come to belong to a customer after they were logged.
    """
    state = empty_state(plan) if data is None else decode(data)
    for event in events:
        add(plan, state, event)
    return encode(state)


def add(plan: StatePlan, state: CustomerState, event: LoggedEvent) -> None:
    """Put one event into `state`, in place."""
    state.position = max(state.position, event.position)
    state.newest_event = max(state.newest_event, event.event_time)
    entry = entry_of(plan, event)
    if event.available_at > state.newest_arrival:
        state.newest_arrival = event.available_at
        _advance(plan, state, floor(event.available_at, SETTLED_EVERY))
    if entry is None:
        return
    if entry.event_time < state.settled_until and entry.available_at <= state.settled_until:
        settle(plan, state, entry)
    else:
        state.waiting.append(entry)
        state.waiting.sort()


def _advance(plan: StatePlan, state: CustomerState, until: int) -> None:
    """Settle what time has passed, and drop tiles that no read from `until` on can reach."""
    if until <= state.settled_until:
        return
    state.settled_until = until
    waiting, state.waiting = state.waiting, []
    for entry in waiting:
        if entry.event_time < until and entry.available_at <= until:
            settle(plan, state, entry)
        else:
            state.waiting.append(entry)
    for stream_plan, stream in zip(plan.streams, state.streams, strict=True):
        if stream is not None:
            _drop_unreachable(stream_plan, stream, until)


def _drop_unreachable(plan: StreamPlan, stream: StreamState, until: int) -> None:
    for i, level in enumerate(plan.levels):
        reach = earliest_tile(level, until)
        tiles = stream.levels[i]
        if tiles and min(tiles) < reach:
            stream.levels[i] = {start: tile for start, tile in tiles.items() if start >= reach}


def earliest_tile(level: Level, as_of: int) -> int:
    """Start of the earliest tile that a read at `as_of` or later can need."""
    return floor(as_of - level.longest, level.hop)


def settle(plan: StatePlan, state: CustomerState, entry: Entry) -> None:
    """Put one entry into what is kept of every stream it belongs to, in place."""
    event = plan.streams[entry.streams[0]].stream.event
    values: dict[Measure, Any] = dict(zip(plan.measures[event], entry.values, strict=True))
    for index in entry.streams:
        stream_plan = plan.streams[index]
        stream = state.streams[index]
        if stream is None:
            stream = state.streams[index] = _empty_stream(stream_plan)
        _settle_cells(stream_plan, stream, entry.event_time, values, state.settled_until)
        _settle_recency(plan, stream_plan, stream, entry.event_time, values)


def _empty_stream(plan: StreamPlan) -> StreamState:
    return StreamState(
        plan.layout.empty(),
        [{} for _ in plan.levels],
        None,
        [None for _ in plan.lasts],
        [{} for _ in plan.distincts],
        [[] for _ in plan.tops],
        {},
    )


def _settle_cells(
    plan: StreamPlan, stream: StreamState, at: int, values: Mapping[Measure, Any], settled_until: int
) -> None:
    numbers = [values[measure] for measure in plan.layout.measures]
    plan.layout.add(stream.total, at, numbers)
    for level, tiles in zip(plan.levels, stream.levels, strict=True):
        start = floor(at, level.hop)
        if start < earliest_tile(level, settled_until):
            continue
        tile = tiles.get(start)
        if tile is None:
            tile = tiles[start] = plan.layout.empty()
        plan.layout.add(tile, at, numbers)


def _settle_recency(
    plan: StatePlan, stream_plan: StreamPlan, stream: StreamState, at: int, values: Mapping[Measure, Any]
) -> None:
    stream.last = at if stream.last is None else max(stream.last, at)
    for i, measure in enumerate(stream_plan.lasts):
        value, latest = values[measure], stream.latest_of[i]
        if value is not None:
            # Of several values at the latest instant, the greatest: no order of arrival can change it.
            stream.latest_of[i] = (at, value) if latest is None else max(latest, (at, value))
    for i, measure in enumerate(stream_plan.distincts):
        keep_latest(stream.distinct[i], values[measure], at, plan.caps.distinct)
    for i, measure in enumerate(stream_plan.tops):
        keep_newest(stream.newest[i], _items(values[measure]), at, plan.caps.recent)
    if stream_plan.keeps_days:
        keep_latest(stream.days, (day_of(at, plan.utc_offset),), at, plan.caps.days)


def _items(value: Value) -> list[Any]:
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
