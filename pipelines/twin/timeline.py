"""The timeline of a customer: every event of theirs, the newest first, in pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.events.customer_log import Theirs
from pipelines.events.plan_check import iso
from pipelines.twin.masking import Mask

MOST = 200
# What a decision was made from is for its replay, and too long for a page.
_LEFT_OUT = {"Decision Made": frozenset({"record"})}
_WRITTEN = re.compile(r"(-?\d{1,19})\.(\d{1,19})")


class Place(NamedTuple):
    """Where an event stands in a timeline: no two stand at one place, and it never changes."""

    event_time: int
    position: int


@dataclass(frozen=True, slots=True)
class Page:
    """Events in the order shown; `before` asks for the next page, None where this is the last."""

    events: tuple[Theirs, ...]
    before: Place | None


def page_of(events: Iterable[Theirs], before: Place | None, limit: int, names: Collection[str] | None = None) -> Page:
    """The newest `limit` events that stand before a place, of those called one of `names`, newest first."""
    wanted = [
        event
        for event in events
        if (before is None or place_of(event) < before) and (names is None or event.stored.event.event in names)
    ]
    wanted.sort(key=place_of, reverse=True)
    shown = tuple(wanted[:limit])
    return Page(shown, place_of(shown[-1]) if len(wanted) > limit else None)


def place_of(event: Theirs) -> Place:
    """By the time of the event, and by its position in the log where that is the same."""
    return Place(event.stored.event.event_time, event.stored.position)


def encode(place: Place) -> str:
    """A place as clients hand it back."""
    return base64.urlsafe_b64encode(f"{place.event_time}.{place.position}".encode()).decode().rstrip("=")


def decode(text: str) -> Place | None:
    """The inverse of `encode`; None of any other text."""
    try:
        written = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    found = _WRITTEN.fullmatch(written)
    return Place(int(found[1]), int(found[2])) if found else None


def told(event: Theirs, mask: Mask) -> dict[str, Any]:
    """One event in words of the API. Raises as `mask`."""
    of = event.stored.event
    left_out = _LEFT_OUT.get(of.event, frozenset())
    properties = {name: value for name, value in of.properties.items() if name not in left_out}
    return {
        "event": of.event,
        "event_time": iso(of.event_time),
        "arrived_at": iso(of.available_at),
        "channel": of.channel,
        "source": of.source,
        "event_id": of.event_id,
        "position": event.stored.position,
        "value": of.value,
        "currency": of.currency,
        "counts": event.counted is not None,
        "identifiers": mask.identifiers(of),
        "properties": mask.properties(of.event, properties),
    }
