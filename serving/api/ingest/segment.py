"""One call of the Segment protocol, or a CloudEvent, checked and made into an event.

The event keeps the identifiers it came with. How it came stands in its property `$call`: kind of call, the
client's own times, its context, and what was done to it (`unplanned`, `clamped`, `corrected`).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from feature_repo.configuration import Problem
from pipelines.access import AccessKey
from pipelines.events.journal import NewEvent, UnstorableEvent, encode
from pipelines.events.plan_check import (
    EARLIEST,
    CheckedEvent,
    OutsidePlan,
    channel_of,
    check_event,
    instant_of,
    kept,
    kind_of,
)
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.profile import IngestionProfile
from pipelines.settings.tracking_plan import TrackingPlan
from serving.api.ingest.body import shared_context
from serving.api.ingest.clock import Happened, happened
from serving.api.ingest.cloudevents import CLOUD_EVENT, event_names, track_call
from serving.api.ingest.identifiers import identifiers_of
from serving.api.requests import MAXIMUM_ID_LENGTH

KINDS = ("identify", "track", "page", "screen", "group", "alias")
_EVENTS = {
    "identify": "Customer Identified",
    "page": "Page Viewed",
    "screen": "Screen Viewed",
    "group": "Customer Grouped",
    "alias": "Customer Aliased",
}
_CALL = "$call"
# Segment's words for where a library runs.
_CHANNEL_WORDS = {"browser": "web", "mobile": "app"}
_MAXIMUM_MESSAGE_ID, _MAXIMUM_NAME = 100, 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Sender:
    """What holds for every item of a call. `received_at` in int64 microseconds UTC."""

    key: AccessKey
    received_at: int
    context: Any = None
    sent_at: Any = None


@dataclass(frozen=True, slots=True)
class Taken:
    """An item that became an event."""

    event: NewEvent
    planned: bool
    clamped: bool


class Refused(ValueError):
    """An item that cannot become an event; `problems` says all that is wrong, without any value."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("; ".join(map(str, problems)))


@dataclass(frozen=True, slots=True)
class Rules:
    """What calls are checked against."""

    plan: TrackingPlan
    limits: IngestionProfile
    identity: IdentityConfig
    names: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", event_names(self.plan.events))

    def take(self, raw: bytes, sender: Sender, kind: str | None = None) -> Taken:
        """The event of one item: JSON `raw`, of a batch unless `kind` says which call it is, or a CloudEvent.

        Raises:
            Refused: with every mistake that can be told at once.
        """
        if len(raw) > self.limits.maximum_event_bytes:
            hint = "the limit is `ingestion.maximum_event_bytes` of the profile"
            raise Refused([Problem("(event)", f"at most {self.limits.maximum_event_bytes} bytes", "more", hint)])
        content = _object(raw)
        return self._cloud_event(content, sender) if kind == CLOUD_EVENT else self._taken(_Call(content, kind), sender)

    def _cloud_event(self, content: dict[str, Any], sender: Sender) -> Taken:
        found = track_call(content, self.names, _object)
        if isinstance(found, list):
            raise Refused(found)
        call = _Call(found.item, "track", found.attributes)
        try:
            return self._taken(call, sender)
        except Refused as refused:
            raise Refused([found.named(problem) for problem in refused.problems]) from None

    def _taken(self, call: _Call, sender: Sender) -> Taken:
        name, properties = call.content()
        context = shared_context(sender.context, call.item.get("context"))
        when = self._when(call, sender)
        channel = self._channel(context, name, sender.key.channel)
        checked = self._checked(call, name, channel, properties, sender.key.currency)
        if call.problems or checked is None:
            raise Refused(call.problems)
        event = NewEvent(
            source=sender.key.source,
            event_id=call.message_id,
            event=name,
            event_time=when.at,
            available_at=sender.received_at,
            channel=channel,
            user_id=call.user_id,
            anonymous_id=call.anonymous_id,
            identifiers=identifiers_of(call.kind, properties, context, self.identity),
            value=checked.value,
            currency=checked.currency,
            properties={**checked.properties, _CALL: _how(call, context, sender, when, checked.planned)},
        )
        return Taken(_storable(event), checked.planned, when.ahead)

    def _when(self, call: _Call, sender: Sender) -> Happened:
        timestamp = call.instant("timestamp", call.item.get("timestamp"))
        own = call.item.get("sentAt")
        sent_at = call.instant("sentAt", sender.sent_at if own is None else own)
        when = happened(timestamp, sent_at, sender.received_at, int(self.limits.clock_threshold_seconds * 1_000_000))
        if when.ahead and self.limits.future_events == "refuse":
            call.wrong("timestamp", "a time that has come", "a time in the future", "check the client's clock")
        if when.at < EARLIEST:
            call.wrong("sentAt", "a clock that leaves timestamp in the years of our era", "a time far ahead of ours")
        return when

    def _channel(self, context: Mapping[str, Any], event: str, default: str) -> str:
        named = context.get("channel")
        word = _CHANNEL_WORDS.get(named, named) if isinstance(named, str) else None
        return word if word in self.plan.channels else channel_of(self.plan, event, default)

    def _checked(
        self, call: _Call, event: str, channel: str, properties: Mapping[str, Any], currency: str | None
    ) -> CheckedEvent | None:
        if not event:
            return None
        try:
            return check_event(self.plan, event, channel, properties, currency)
        except OutsidePlan as outside:
            call.problems += outside.problems
            return None


class _Call:
    """The fields that all calls have in common; what is wrong gathers in `problems`."""

    def __init__(self, item: dict[str, Any], kind: str | None, cloud_event: dict[str, Any] | None = None) -> None:
        """`cloud_event` are the attributes of the CloudEvent that the call was."""
        self.item = item
        self.cloud_event = cloud_event
        self.problems: list[Problem] = []
        self.kind = kind or self._kind()
        self.user_id = self._identifier("userId")
        self.anonymous_id = self._identifier("anonymousId")
        self.message_id = self._message_id()
        if item.get("userId") is None and (item.get("anonymousId") is None or self.kind == "alias"):
            needed = "an id" if self.kind == "alias" else "an id, here or in anonymousId"
            self.wrong("userId", needed, "nothing")

    def wrong(self, field: str, expected: str, got: str, hint: str = "") -> None:
        self.problems.append(Problem(field, expected, got, hint))

    def content(self) -> tuple[str, dict[str, Any]]:
        """Name (empty where what it needs is missing) and properties of the event."""
        if self.kind == "track":
            return self._name(), self._part("properties")
        name = _EVENTS.get(self.kind, "")
        if self.kind == "identify":
            context = self.item.get("context")
            shared = context.get("traits") if isinstance(context, dict) else None
            return name, {**(shared if isinstance(shared, dict) else {}), **self._part("traits")}
        if self.kind == "group":
            group = self._needed("groupId")
            return name if group else "", {**self._part("traits"), "group_id": group}
        if self.kind == "alias":
            previous = self._needed("previousId")
            return name if previous else "", {"previous_id": previous}
        own = {key: self.item.get(key) for key in ("name", "category")}
        return name, {**own, **self._part("properties")}

    def instant(self, field: str, value: Any) -> int | None:
        """Microseconds UTC."""
        if value is None:
            return None
        found = instant_of(value)
        if found is None:
            self.wrong(field, "an ISO 8601 time with an offset, such as 2026-01-31T09:30:00Z", kind_of(value))
        return found

    def _kind(self) -> str:
        kind = self.item.get("type")
        if isinstance(kind, str) and kind in KINDS:
            return kind
        self.wrong("type", f"one of: {', '.join(KINDS)}", kind_of(kind))
        return ""

    def _identifier(self, field: str) -> str | None:
        value = self.item.get(field)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value) if abs(value) < 2**63 else ""
        if value is not None and not _is_name(value, MAXIMUM_ID_LENGTH):
            self.wrong(field, f"text of 1 to {MAXIMUM_ID_LENGTH} characters, no control characters", kind_of(value))
            return None
        return value if isinstance(value, str) else None

    def _needed(self, field: str) -> str | None:
        if self.item.get(field) is None:
            self.wrong(field, "an id", "nothing")
        return self._identifier(field)

    def _message_id(self) -> str:
        value = self.item.get("messageId")
        if value is None:
            return str(uuid.uuid4())
        if not _is_name(value, _MAXIMUM_MESSAGE_ID):
            expected = f"text of 1 to {_MAXIMUM_MESSAGE_ID} characters, no control characters"
            self.wrong("messageId", expected, kind_of(value))
        return str(value)

    def _name(self) -> str:
        value = self.item.get("event")
        if _is_name(value, _MAXIMUM_NAME):
            return str(value)
        expected = f"the event's name: 1 to {_MAXIMUM_NAME} characters, no control characters"
        self.wrong("event", expected, kind_of(value))
        return ""

    def _part(self, field: str) -> dict[str, Any]:
        value = self.item.get(field)
        if value is not None and not isinstance(value, dict):
            self.wrong(field, "an object", kind_of(value))
        return value if isinstance(value, dict) else {}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError, ValueError):
        raise Refused([Problem("(event)", "a JSON object", "text that cannot be read as JSON")]) from None
    if not isinstance(found, dict):
        raise Refused([Problem("(event)", "a JSON object", kind_of(found))])
    return found


def _is_name(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and not _CONTROL.search(value) and bool(value.strip())


def _how(call: _Call, context: Mapping[str, Any], sender: Sender, when: Happened, planned: bool) -> dict[str, Any]:
    own = call.item.get("sentAt")
    sent_at = sender.sent_at if own is None else own
    told = {
        "type": CLOUD_EVENT if call.cloud_event else call.kind,
        "attributes": call.cloud_event,
        "timestamp": call.item.get("timestamp"),
        "originalTimestamp": call.item.get("originalTimestamp"),
        "sentAt": sent_at,
        "context": context or None,
        "unplanned": None if planned else True,
        "corrected": when.corrected or None,
        "clamped": when.ahead or None,
    }
    try:
        return {key: kept(value) for key, value in told.items() if value is not None}
    except ValueError as error:
        raise Refused([Problem("context", str(error), "another value")]) from None


def _storable(event: NewEvent) -> NewEvent:
    try:
        encode([event])
    except UnstorableEvent as error:
        raise Refused([Problem(error.field, error.expected, "another value")]) from None
    return event
