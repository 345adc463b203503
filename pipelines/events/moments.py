"""What is kept of a customer's history beside their features: the newest events of each kind, as they happened.

A record is a pure function of the set of the customer's events, whatever order they came in. It answers for any
instant from its newest arrival on; for earlier ones, fold the log (`moments_of`) and read that at the instant.

All instants are int64 microseconds UTC.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from feature_repo.state.tiles import LoggedEvent

PREFIX = "moments-"
_NEVER = -(2**62)
_LONGEST_TEXT = 300
_FEW = 8

Scalar = str | int | float | bool


class Moment(msgspec.Struct, array_like=True, frozen=True):
    """One event of a customer. `properties` are its scalar ones; what names a person is sealed, as it was stored."""

    event_time: int
    position: int
    available_at: int
    event: str
    channel: str
    source: str
    event_id: str
    value: int | None
    properties: dict[str, Scalar]


class MomentRecord(msgspec.Struct, array_like=True):
    """The newest events of each kind up to the log's `position`, ascending by `age_of`.

    `kept_of_each` says how many of a kind are kept, `dropped` how many older ones of each kind are not. It begins as
    `feature_repo.state.tiles.Head`.
    """

    position: int
    newest_event: int
    newest_arrival: int
    kept_of_each: int
    dropped: dict[str, int]
    moments: list[Moment]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MomentRecord)


def encode(record: MomentRecord) -> bytes:
    """Canonical bytes: equal records have equal bytes."""
    record.dropped = dict(sorted(record.dropped.items()))
    return _encoder.encode(record)


def decode(data: bytes) -> MomentRecord:
    """Raises msgspec.DecodeError if `data` is not an encoded record."""
    return _decoder.decode(data)


def age_of(moment: Moment) -> tuple[int, str, str, str, str, int]:
    """What moments ascend by: time, and at one instant name, source and id, so that the order they came in in says
    nothing of which are kept.
    """
    return (
        moment.event_time, moment.event, moment.source, moment.event_id, moment.channel, moment.position
    )  # fmt: skip


def moment_of(event: LoggedEvent) -> Moment:
    """What is kept of an event: lists, objects, nulls, long texts and whole numbers beyond 64 bits are not."""
    properties = {name: value for name, value in sorted(event.properties.items()) if _is_kept(value)}
    return Moment(
        event.event_time,
        event.position,
        event.available_at,
        event.event,
        event.channel,
        event.source,
        event.event_id,
        event.value,
        properties,
    )


def _is_kept(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    if isinstance(value, int):
        # More than that has no place in what is stored.
        return -(2**63) <= value < 2**64
    return isinstance(value, float)


def fold_moments(data: bytes | None, events: Iterable[LoggedEvent], kept_of_each: int) -> bytes:
    """The record after `events`, none of which is in it yet, in any order and at any position."""
    record = MomentRecord(-1, _NEVER, _NEVER, kept_of_each, {}, []) if data is None else decode(data)
    made = [moment_of(event) for event in events]
    for moment in made:
        record.position = max(record.position, moment.position)
        record.newest_event = max(record.newest_event, moment.event_time)
        record.newest_arrival = max(record.newest_arrival, moment.available_at)
    _put_in(record.moments, made)
    _drop_old(record)
    return encode(record)


def _put_in(moments: list[Moment], more: Sequence[Moment]) -> None:
    """Into the ascending `moments`. A few find their places without a look at all that are there."""
    if len(more) > _FEW:
        moments.extend(more)
        moments.sort(key=age_of)
    else:
        for moment in more:
            insort(moments, moment, key=age_of)


def moments_of(events: Iterable[LoggedEvent]) -> list[Moment]:
    """Moments of events of the log, ascending by `age_of`."""
    return sorted(map(moment_of, events), key=age_of)


def visible(moments: Sequence[Moment], as_of: int, kept_of_each: int) -> list[Moment]:
    """Those that had happened and were known at `as_of`, and of each kind the newest, ascending.

    The same of a record that was not newer than `as_of`, and of all events of the log.
    """
    seen = [moment for moment in moments if moment.event_time < as_of and moment.available_at <= as_of]
    return newest_of_each(seen, kept_of_each)


def newest_of_each(moments: Sequence[Moment], kept_of_each: int) -> list[Moment]:
    """Of each kind of event the newest of `moments`, which ascend."""
    left: dict[str, int] = defaultdict(lambda: kept_of_each)
    kept = []
    for moment in reversed(moments):
        if left[moment.event] > 0:
            left[moment.event] -= 1
            kept.append(moment)
    kept.reverse()
    return kept


def _drop_old(record: MomentRecord) -> None:
    """Keep what a read at the newest arrival, or later, can need: what has not happened by then stays beside it."""
    if all(count <= record.kept_of_each for count in _counted(record.moments).values()):
        return
    until = record.newest_arrival
    past = [moment for moment in record.moments if moment.event_time < until]
    kept = newest_of_each(past, record.kept_of_each)
    if len(kept) < len(past):
        record.moments = kept + record.moments[len(past) :]
        for name, count in (_counted(past) - _counted(kept)).items():
            record.dropped[name] = record.dropped.get(name, 0) + count


def _counted(moments: Iterable[Moment]) -> Counter[str]:
    return Counter(moment.event for moment in moments)


def record_key(kept_of_each: int) -> str:
    """What records that keep so many of a kind stand under, as states do under the hash of their spec."""
    return f"{PREFIX}{kept_of_each}"


def kept_of(key: str) -> int | None:
    """How many events of a kind the records under `key` keep; None where it is no key of records."""
    number = key.removeprefix(PREFIX)
    return int(number) if key != number and number.isdecimal() else None
