"""The events behind a rule: whose newest says since when it holds, and which are cited where it fires."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feature_repo.extract import columns_of, holds
from feature_repo.spec import Feature, FeatureSpec
from pipelines.events.moments import Moment
from pipelines.privacy.sealing import is_sealed
from pipelines.twin.rules import Trigger
from serving.api.answers import iso

# Those that are cited; a rule over a year of visits has thousands.
MOST_CITED = 20


def behind(spec: FeatureSpec, names: Iterable[str], moments: Sequence[Moment], as_of: int) -> list[Moment]:
    """Those of `moments` that features of these names count at `as_of` (int64 microseconds UTC), ascending."""
    counting = [feature for feature in spec.closure(names) if feature.stream is not None]
    seen = (moment for moment in moments if moment.event_time < as_of and moment.available_at <= as_of)
    return [moment for moment in seen if any(_counts(feature, moment, as_of, spec.utc_offset) for feature in counting)]


def _counts(feature: Feature, moment: Moment, as_of: int, utc_offset: int) -> bool:
    stream, start = feature.stream, feature.window.start(as_of)
    if stream is None or moment.event != stream.event or (start is not None and moment.event_time < start):
        return False
    if not stream.conditions:
        return True
    columns = columns_of(moment.event_time, moment.channel, moment.value, utc_offset)
    return all(holds(test, columns, moment.properties) for test in stream.conditions)


def newest(moments: Iterable[Moment]) -> int | None:
    """The instant of the newest; None for none."""
    return max((moment.event_time for moment in moments), default=None)


def cancelling(trigger: Trigger, moments: Iterable[Moment], as_of: int) -> list[Moment]:
    """Those that cancel what the trigger sets off."""
    return [m for m in moments if m.event in trigger.cancelled_by and m.event_time < as_of and m.available_at <= as_of]


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
        for moment in moments[-MOST_CITED:]
    ]
