"""A CloudEvent 1.0 as Segment's `track` call, which is checked and kept like any other.

| CloudEvent | call |
|---|---|
| `source` and `id` | `messageId`, one for each pair |
| `type` | `event`; see `event_name` |
| `time` | `timestamp` |
| `subject` | `userId`, unless `data` names `userId` or `anonymousId` |
| `data` | `properties` |
| extension `channel` | the channel, where it is one of ours |
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from feature_repo.configuration import Problem
from pipelines.events.plan_check import kind_of

CLOUD_EVENT = "cloudevent"
_PAYLOAD = ("data", "data_base64")
_IDENTIFIERS = ("userId", "anonymousId")
_TEXTS = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
_NAME = re.compile(r"[a-z0-9]{1,60}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_JSON = re.compile(r"[^/\s]+/([^/\s]+\+)?json", re.IGNORECASE)
_PARTS = re.compile(r"[\W_]+")
_VERSION = re.compile(r"v[0-9]+")
# What the fields of a call are in a CloudEvent.
_FIELDS = {"messageId": "id", "event": "type", "timestamp": "time", "userId": "subject", "properties": "data"}


@dataclass(frozen=True, slots=True)
class TrackCall:
    """A CloudEvent as the `item` of a track call, and its attributes, which are kept beside it.

    `from_data` are the identifiers that its data named.
    """

    item: dict[str, Any]
    attributes: dict[str, Any]
    from_data: tuple[str, ...]

    def named(self, problem: Problem) -> Problem:
        """A problem of the call in the words of the CloudEvent."""
        head, dot, rest = problem.field.partition(".")
        if head in self.from_data:
            return Problem(f"data.{head}", problem.expected, problem.got, problem.hint)
        if problem.field == "context.channel":
            hint = "send it as extension attribute `channel`, or make the key with another --channel"
            return Problem("channel", problem.expected, problem.got, hint)
        hint = "or data.userId or data.anonymousId" if head == "userId" else ""
        return Problem(f"{_FIELDS.get(head, head)}{dot}{rest}", problem.expected, problem.got, problem.hint or hint)


def track_call(
    event: Mapping[str, Any], names: Mapping[str, str], decode: Callable[[bytes], dict[str, Any]]
) -> TrackCall | list[Problem]:
    """The call that `event`, a CloudEvent in its JSON format, stands for; or all that is wrong with it as one.

    `names` are `event_names` of the tracking plan. `decode` reads a JSON object as the rest of the call was read, and
    raises ValueError for anything else.
    """
    attributes = {key: value for key, value in event.items() if key not in _PAYLOAD and value is not None}
    problems = list(_attribute_problems(attributes))
    data = _data(event, problems, decode)
    if problems:
        return problems
    named = {key: data[key] for key in _IDENTIFIERS if data.get(key) is not None}
    item = {
        "messageId": message_id(attributes["source"], attributes["id"]),
        "event": event_name(attributes["type"], names),
        "timestamp": attributes["time"].upper() if "time" in attributes else None,
        "properties": {key: value for key, value in data.items() if key not in _IDENTIFIERS},
        "context": {"channel": attributes.get("channel")},
        **(named or {"userId": attributes.get("subject")}),
    }
    return TrackCall(item, attributes, tuple(named))


def message_id(source: str, identifier: str) -> str:
    """One id for each pair of a CloudEvent's `source` and `id`, however long they are."""
    pair = msgspec.json.encode([source, identifier])
    return f"ce-{hashlib.sha256(pair).hexdigest()}"


def event_name(kind: str, names: Mapping[str, str]) -> str:
    """The event that a CloudEvent's `type` means.

    1. The name itself, `Order Completed`.
    2. Else the longest end of the type, taken part by part, with the letters and digits of a name, in any case:
       `com.example.order.completed`, `order-completed` and `com.example.OrderCompleted.v2` are `Order Completed`.
       A last part such as `v2` does not count.
    3. Else the type as it stands, an event that the plan does not name.
    """
    if kind in names.values():
        return kind
    parts = [part for part in _PARTS.split(kind.lower()) if part]
    if len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    ends = ("".join(parts[start:]) for start in range(len(parts)))
    return next((names[end] for end in ends if end in names), kind)


def event_names(events: Iterable[str]) -> dict[str, str]:
    """Letters and digits of each name to the name; of two names that have the same ones, the first."""
    found: dict[str, str] = {}
    for name in events:
        found.setdefault(_PARTS.sub("", name.lower()), name)
    return found


def is_json(media_type: str) -> bool:
    """Whether a media type, parameters aside, says JSON."""
    return _JSON.fullmatch(media_type.partition(";")[0].strip()) is not None


def _attribute_problems(attributes: Mapping[str, Any]) -> Iterable[Problem]:
    version = attributes.get("specversion")
    if version != "1.0":
        yield Problem("specversion", "1.0", "another version" if isinstance(version, str) else kind_of(version))
    for name in ("id", "source", "type"):
        if name not in attributes:
            yield Problem(name, "text that is not empty", "nothing", "a CloudEvent must have this attribute")
    for name, value in attributes.items():
        if name == "specversion":
            continue
        if not _NAME.fullmatch(name):
            yield Problem("(attribute)", "names of small letters and digits", f"a name of {len(name)} characters")
        elif isinstance(value, str) or name in _TEXTS:
            if not isinstance(value, str) or not value or _CONTROL.search(value):
                yield Problem(name, "text that is not empty, without control characters", kind_of(value))
        elif not isinstance(value, bool | int):
            yield Problem(name, "text, a whole number, true or false", kind_of(value))


def _data(
    event: Mapping[str, Any], problems: list[Problem], decode: Callable[[bytes], dict[str, Any]]
) -> dict[str, Any]:
    packed, data = event.get("data_base64"), event.get("data")
    if packed is None and data is None:
        return {}
    if packed is not None and "data" in event:
        problems.append(Problem("data_base64", "either data or data_base64", "both"))
        return {}
    kind = event.get("datacontenttype")
    if isinstance(kind, str) and not is_json(kind):
        problems.append(Problem("datacontenttype", "JSON, such as application/json", "another media type"))
        return {}
    if packed is not None:
        try:
            return decode(base64.b64decode(packed, validate=True))
        except (binascii.Error, TypeError, ValueError):
            problems.append(Problem("data", "a JSON object in UTF-8", "other bytes"))
            return {}
    if not isinstance(data, dict):
        problems.append(Problem("data", "a JSON object", kind_of(data)))
        return {}
    return data
