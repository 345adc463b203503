"""The journal: durable rows for events that arrived live and are not in the lake yet. The port, and what is pure of it.

Positions are given by one sequence a journal, ascending in the order in which readers see rows: a
reader that has seen position p never later sees a smaller one appear. That is what lets a single
number, a watermark, say which rows the lake holds already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

from pipelines.console import UserError

Key = tuple[str, str]
"""Source and event id: what an event is known by, for ever."""

Identifier = tuple[str, str]
"""Kind and value, as an event holds it."""

StoredRow = tuple[Any, ...]
"""A row in the order of COLUMNS, as stored: instants in int64 microseconds UTC, JSON as text."""

# The columns of EVENT_SCHEMA, in its order; a test holds the two equal. Named here again because
# the schema's module loads engines that the journal does without.
COLUMNS = (
    "position",
    "source",
    "event_id",
    "event",
    "event_time",
    "available_at",
    "user_id",
    "anonymous_id",
    "identifiers",
    "channel",
    "value",
    "currency",
    "properties",
)


class JournalUnavailable(UserError):
    """The journal cannot be read or written now (disk full, server gone). Nothing is half-written; try again later.

    An append that ends in this may be stored or not: repeating it is safe.
    """


class UnstorableEvent(ValueError):
    """A field has a type or a character that not every backend can keep. Names the field, never its value."""

    def __init__(self, index: int, field_name: str, expected: str) -> None:
        self.index, self.field, self.expected = index, field_name, expected
        super().__init__(f"event {index} of the batch: {field_name}: expected {expected}")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a position. Instants in int64 microseconds UTC, `value` in minor units of `currency`."""

    source: str
    event_id: str
    event: str
    event_time: int
    available_at: int
    channel: str
    user_id: str | None = None
    anonymous_id: str | None = None
    identifiers: Mapping[str, Any] = field(default_factory=dict)
    value: int | None = None
    currency: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event and its position."""

    position: int
    event: NewEvent


class Appended(NamedTuple):
    """What became of one event; of a duplicate, `position` is that of the event stored first."""

    position: int
    duplicate: bool


class EncodedEvent(NamedTuple):
    """An event made ready: its key's digest, the row without its position, and its identifiers' digests."""

    key: bytes
    values: StoredRow
    identifiers: tuple[int, ...]


class Journal(Protocol):
    """Durable, ordered, idempotent. All calls are thread-safe; all raise JournalUnavailable."""

    @property
    def identity(self) -> str:
        """Made once with the journal; the lake keeps one watermark for each."""

    def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Store those events whose key was never seen; answers in the order of `events`.

        When it returns, all are durable: they outlive a kill -9 and a loss of power. Of events with
        the same key the first counts, for ever, also when its row is in the lake by now. Raises
        UnstorableEvent before anything is stored.
        """

    def submit(self, events: Sequence[NewEvent]) -> Future[list[Appended]]:
        """`append` without waiting. A future that is cancelled in time stores nothing."""

    def reserve(self, count: int) -> int:
        """Take `count` consecutive positions for a bulk load and return the first. Never given again, used or not."""

    def remember(self, keys: Sequence[Key], first_position: int) -> None:
        """Make keys duplicates from now on: those of a bulk load, whose i-th event stands at `first_position` + i.

        In several transactions; can be repeated. A key that is known keeps the position it has.
        """

    def contains(self, keys: Sequence[Key]) -> set[Key]:
        """Those of `keys` that were ever appended or remembered."""

    def read(self, after: int, limit: int) -> list[StoredEvent]:
        """The first `limit` events with position > `after`, ascending."""

    def read_rows(self, after: int, limit: int) -> list[StoredRow]:
        """`read` without decoding."""

    def read_identifiers(self, after: Mapping[Identifier, int]) -> list[StoredEvent]:
        """All events that hold one of the identifiers, with a position above the one given for it, ascending.

        They are found by short digests: by chance there are others among them, very rarely.
        """

    def last_position(self) -> int:
        """The highest position given so far, reserved ones included; 0 at first. All rows up to it are visible."""

    def remove_until(self, position: int) -> None:
        """Remove rows with positions up to `position`; their keys stay. In several transactions; can be repeated."""

    def erase(self, events: Sequence[StoredEvent], replaced: Sequence[StoredEvent] = ()) -> None:
        """Remove events for good, wherever they are stored by now; their keys are duplicates for ever.

        Rows of `replaced` that are still here take the place of those with the same position. Nothing of what was ever
        removed is left in the tables' files; a server's own archive of its log is not reached. Can be repeated.
        """

    def close(self) -> None:
        """Finish what was submitted, then let go of threads and connections. What is called later is refused."""


def key_digest(key: Key) -> bytes:
    """16 bytes of BLAKE2b over source and event id; NUL, which neither may hold, parts them.

    Among 10^12 events, two share a digest by chance with a probability below 2e-15.
    """
    return hashlib.blake2b("\0".join(key).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def identifier_digest(identifier: Identifier) -> int:
    """64 bits of BLAKE2b over kind and value."""
    text = "\0".join(identifier).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def identifier_digests(
    user_id: str | None, anonymous_id: str | None, identifiers: Mapping[str, Any]
) -> tuple[int, ...]:
    """The digest of each identifier of an event, each once, ascending."""
    named = {"user_id": user_id, "anonymous_id": anonymous_id, **identifiers}
    found = {identifier_digest((kind, value)) for kind, value in named.items() if isinstance(value, str)}
    return tuple(sorted(found))


def digests_of_row(row: StoredRow) -> tuple[int, ...]:
    """The digest of each identifier of a stored row."""
    stored = dict(zip(COLUMNS, row, strict=True))
    identifiers = msgspec.json.decode(stored["identifiers"])
    return identifier_digests(stored["user_id"], stored["anonymous_id"], identifiers)


def encode(events: Sequence[NewEvent]) -> list[EncodedEvent]:
    """Check events and make rows of them. Raises UnstorableEvent."""
    return [_encode(index, event) for index, event in enumerate(events)]


def _encode(index: int, event: NewEvent) -> EncodedEvent:
    values = (
        _text(index, "source", event.source),
        _text(index, "event_id", event.event_id),
        _text(index, "event", event.event),
        _integer(index, "event_time", event.event_time),
        _integer(index, "available_at", event.available_at),
        None if event.user_id is None else _text(index, "user_id", event.user_id),
        None if event.anonymous_id is None else _text(index, "anonymous_id", event.anonymous_id),
        _json(index, "identifiers", event.identifiers),
        _text(index, "channel", event.channel),
        None if event.value is None else _integer(index, "value", event.value),
        None if event.currency is None else _text(index, "currency", event.currency),
        _json(index, "properties", event.properties),
    )
    digests = identifier_digests(event.user_id, event.anonymous_id, event.identifiers)
    return EncodedEvent(key_digest((event.source, event.event_id)), values, digests)


def _text(index: int, name: str, value: object) -> str:
    # PostgreSQL keeps no NUL, and a lone surrogate has no UTF-8: one of them would fail a whole group.
    if isinstance(value, str) and "\0" not in value and (value.isascii() or _has_utf8(value)):
        return value
    raise UnstorableEvent(index, name, "text without NUL and lone surrogates")


def _has_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(index: int, name: str, value: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise UnstorableEvent(index, name, "a 64-bit integer")


def _json(index: int, name: str, value: object) -> str:
    try:
        if isinstance(value, Mapping):
            return msgspec.json.encode(dict(value)).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnstorableEvent(index, name, "an object that JSON can hold") from error
    raise UnstorableEvent(index, name, "an object that JSON can hold")


def decode(row: StoredRow) -> StoredEvent:
    """The event of a row."""
    stored = dict(zip(COLUMNS, row, strict=True))
    position = stored.pop("position")
    for name in ("identifiers", "properties"):
        stored[name] = msgspec.json.decode(stored[name])
    return StoredEvent(position, NewEvent(**stored))


def row_of(stored: StoredEvent) -> StoredRow:
    """The inverse of `decode`. Raises UnstorableEvent."""
    return (stored.position, *encode([stored.event])[0].values)


def assign(keys: Sequence[bytes], known: Mapping[bytes, int], last: int) -> list[Appended]:
    """Positions for a group: new keys take those after `last`, in order; known and repeated ones keep theirs."""
    seen = dict(known)
    answers = []
    for key in keys:
        duplicate = key in seen
        if not duplicate:
            last += 1
            seen[key] = last
        answers.append(Appended(seen[key], duplicate))
    return answers
