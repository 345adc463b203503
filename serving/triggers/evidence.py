"""The events behind a rule: whose newest says since when it holds, and which are cited where it fires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.events.moments import Moment
from pipelines.privacy.sealing import is_sealed
from pipelines.twin.evidence import CITED, EvidenceIndex
from pipelines.twin.rules import Trigger
from serving.api.answers import iso


def behind(index: EvidenceIndex, names: Iterable[str], moments: Sequence[Moment], as_of: int) -> list[Moment]:
    """Those of `moments` that features of these names count at `as_of` (int64 microseconds UTC), ascending."""
    counting = [(stream, window.start(as_of)) for name in names for stream, window in index.reads[name]]
    return [
        moment
        for moment in moments
        if _is_seen(moment, as_of)
        and any((start is None or moment.event_time >= start) and index.belongs(moment, of) for of, start in counting)
    ]


def _is_seen(moment: Moment, as_of: int) -> bool:
    return moment.event_time < as_of and moment.available_at <= as_of


def newest(moments: Iterable[Moment]) -> int | None:
    """The instant of the newest; None for none."""
    return max((moment.event_time for moment in moments), default=None)


def cancelling(trigger: Trigger, moments: Iterable[Moment], as_of: int) -> list[Moment]:
    """Those that cancel what the trigger sets off."""
    return [moment for moment in moments if moment.event in trigger.cancelled_by and _is_seen(moment, as_of)]


def cited(moments: Sequence[Moment]) -> list[dict[str, object]]:
    """The newest of `moments` in the words of a message, oldest first; what names a person is left out."""
    return [
        {
            "event": moment.event,
            "at": iso(moment.event_time),
            "channel": moment.channel,
            "source": moment.source,
            "event_id": moment.event_id,
            "properties": {name: value for name, value in moment.properties.items() if not is_sealed(value)},
        }
        for moment in moments[-CITED:]
    ]
