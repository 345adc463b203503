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

from feature_repo.extract import integer_of, texts_of
from feature_repo.state.plan import Level, StatePlan, StreamPlan
from feature_repo.windows import HOUR, floor

# `[count, (n, sum, min, max) of each integer measure]`: whole numbers, min and max None where n is 0.
Accumulator = list[Any]
ACCUMULATOR_WIDTH = 4


class Entry(msgspec.Struct, array_like=True, order=True):
    """One event reduced to what the spec reads; `values` in the order of the plan's measures."""

    event_time: int
    available_at: int
    position: int
    event: str
    channel: str
    values: list[int | list[str] | None]


class StreamState(msgspec.Struct, array_like=True):
    """What is kept of one stream.

    A tile is `[count, (n, sum, min, max) of each integer measure]`; `levels` map the start of a tile
    to it. `latest_of` holds (instant, value) of each integer measure; `distinct` holds, for each text
    measure, every value's latest instant, the most recent `distinct_cap` of them: an older value
    cannot matter, because any window that holds it already holds the cap.
    """

    total: Accumulator
    levels: list[dict[int, Accumulator]]
    first: int | None
    last: int | None
    latest_of: list[tuple[int, int] | None]
    distinct: list[dict[str, int]]


class CustomerState(msgspec.Struct, array_like=True):
    """State of one customer under one spec, as of the log's `position`."""

    position: int
    newest_event: int
    newest_arrival: int
    settled_until: int
    streams: list[StreamState | None]
    waiting: list[Entry]


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event of the log as the state needs it."""

    position: int
    event: str
    event_time: int
    available_at: int
    channel: str
    value: int | None
    properties: Mapping[str, Any]


class PositionError(ValueError):
    """Events were handed to a state out of the order of their positions in the log."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(CustomerState)


def encode(state: CustomerState) -> bytes:
    """Canonical bytes: equal states have equal bytes."""
    for stream in state.streams:
        if stream is not None:
            stream.levels = [dict(sorted(tiles.items())) for tiles in stream.levels]
            stream.distinct = [dict(sorted(latest.items())) for latest in stream.distinct]
    return _encoder.encode(state)


def decode(data: bytes) -> CustomerState:
    """Raises msgspec.DecodeError if `data` is not an encoded state."""
    return _decoder.decode(data)


def empty_state(plan: StatePlan) -> CustomerState:
    """The state of a customer without events."""
    return CustomerState(-1, _NEVER, _NEVER, _NEVER, [None] * len(plan.streams), [])


_NEVER = -(2**62)


def entry_of(plan: StatePlan, event: LoggedEvent) -> Entry | None:
    """What the spec reads of `event`; None where no feature reads it."""
    measures = plan.measures.get(event.event)
    if measures is None:
        return None
    columns = {"value": event.value, "channel": event.channel}
    values: list[int | list[str] | None] = [
        integer_of(m, columns, event.properties) if m.kind == "integer" else texts_of(m, columns, event.properties)
        for m in measures
    ]
    return Entry(event.event_time, event.available_at, event.position, event.event, event.channel, values)


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
        _advance(plan, state, floor(event.available_at, HOUR))
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
    """Put one entry into the tiles of every stream that holds it, in place."""
    measures = plan.measures[entry.event]
    for index in plan.by_event[entry.event]:
        stream_plan = plan.streams[index]
        if not stream_plan.stream.holds(entry.event, entry.channel):
            continue
        stream = state.streams[index]
        if stream is None:
            stream = state.streams[index] = _empty_stream(stream_plan)
        values = dict(zip(measures, entry.values, strict=True))
        integers: list[Any] = [values[measure] for measure in stream_plan.integers]
        _settle_integers(stream_plan, stream, entry.event_time, integers, state.settled_until)
        for position, measure in enumerate(stream_plan.texts):
            _settle_texts(stream.distinct[position], values[measure], entry.event_time, plan.distinct_cap)


def _empty_stream(plan: StreamPlan) -> StreamState:
    levels: list[dict[int, Accumulator]] = [{} for _ in plan.levels]
    latest: list[tuple[int, int] | None] = [None for _ in plan.integers]
    return StreamState(empty_accumulator(plan), levels, None, None, latest, [{} for _ in plan.texts])


def empty_accumulator(plan: StreamPlan) -> Accumulator:
    accumulator: Accumulator = [0]
    for _ in plan.integers:
        accumulator += [0, 0, None, None]
    return accumulator


def _settle_integers(
    plan: StreamPlan, stream: StreamState, at: int, values: list[int | None], settled_until: int
) -> None:
    _accumulate(stream.total, values)
    for level, tiles in zip(plan.levels, stream.levels, strict=True):
        start = floor(at, level.hop)
        if start < earliest_tile(level, settled_until):
            continue
        tile = tiles.get(start)
        if tile is None:
            tile = tiles[start] = empty_accumulator(plan)
        _accumulate(tile, values)
    stream.first = at if stream.first is None else min(stream.first, at)
    stream.last = at if stream.last is None else max(stream.last, at)
    for i, value in enumerate(values):
        if value is not None:
            latest = stream.latest_of[i]
            stream.latest_of[i] = (at, value) if latest is None else max(latest, (at, value))


def _accumulate(into: Accumulator, values: list[int | None]) -> None:
    into[0] += 1
    for i, value in enumerate(values):
        if value is not None:
            at = 1 + ACCUMULATOR_WIDTH * i
            merge_measure(into, at, 1, value, value, value)


def merge_measure(into: Accumulator, at: int, n: int, total: int, low: int, high: int) -> None:
    """Merge n values with this sum, minimum and maximum into the four cells from `at` on."""
    into[at] += n
    into[at + 1] += total
    known_low, known_high = into[at + 2], into[at + 3]
    into[at + 2] = low if known_low is None else min(known_low, low)
    into[at + 3] = high if known_high is None else max(known_high, high)


def _settle_texts(latest: dict[str, int], values: Any, at: int, cap: int) -> None:
    for value in values:
        known = latest.get(value)
        if known is None or known < at:
            latest[value] = at
    if len(latest) > cap:
        kept = sorted(latest.items(), key=lambda item: (item[1], item[0]), reverse=True)[:cap]
        latest.clear()
        latest.update(kept)
