"""Moments in an order that no arrival can change, and those that stand behind the features of a rule.

All instants are int64 microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from feature_repo.extract import columns_of, holds
from feature_repo.spec import FeatureSpec, Stream
from feature_repo.windows import Window
from pipelines.events.moments import Moment, newest_of_each
from pipelines.twin.state import Cited

CITED = 20
"""How many events are cited of one rule at most: the newest."""


def order_of(moment: Moment) -> tuple[int, str, str, str, str, str]:
    """By time, and what happened at one instant by name, source and id: never by the place in the log."""
    words = "" if moment.event_id else repr(sorted(moment.properties.items()))
    return (moment.event_time, moment.event, moment.source, moment.event_id, moment.channel, words)


def arranged(moments: Iterable[Moment], as_of: int, kept_of_each: int) -> list[Moment]:
    """Those visible at `as_of`, each once, of each kind the newest, ascending by `order_of`."""
    seen = sorted((m for m in moments if m.event_time < as_of and m.available_at <= as_of), key=order_of)
    once: dict[tuple[str, ...] | tuple[int, str, str, str, str, str], Moment] = {}
    for moment in seen:
        once.setdefault((moment.source, moment.event_id) if moment.event_id else order_of(moment), moment)
    return newest_of_each(list(once.values()), kept_of_each)


def cited(moment: Moment) -> Cited:
    return Cited(moment.event, moment.event_time, moment.channel, moment.source, moment.event_id, moment.properties)


class EvidenceIndex:
    """Which streams and windows each feature reads, worked out once. Immutable."""

    def __init__(self, spec: FeatureSpec, names: Iterable[str]) -> None:
        """Raises KeyError if a name is not in the spec."""
        self.utc_offset = spec.utc_offset
        self.reads: Mapping[str, tuple[tuple[Stream, Window], ...]] = {
            name: tuple((part.stream, part.window) for part in spec.closure([name]) if part.stream) for name in names
        }

    def events(self, names: Iterable[str]) -> frozenset[str]:
        """Of which events the features are."""
        return frozenset(stream.event for name in names for stream, _ in self.reads[name])

    def belongs(self, moment: Moment, stream: Stream) -> bool:
        """Whether a feature of `stream` counts the moment."""
        if moment.event != stream.event:
            return False
        if not stream.conditions:
            return True
        columns = columns_of(moment.event_time, moment.channel, moment.value, self.utc_offset)
        return all(holds(test, columns, moment.properties) for test in stream.conditions)


class Evidence:
    """The moments of one customer at `as_of`, by stream. `moments` ascend."""

    def __init__(self, index: EvidenceIndex, moments: Sequence[Moment], as_of: int) -> None:
        self._index, self._moments, self._as_of = index, moments, as_of
        self._of_stream: dict[Stream, list[int]] = {}

    def of(self, names: Iterable[str]) -> tuple[Cited, ...]:
        """The events within the windows of the features: each once, the newest `CITED` of them, newest first."""
        places: set[int] = set()
        for name in names:
            for stream, window in self._index.reads[name]:
                start = window.start(self._as_of)
                found = self._places(stream)
                places.update(i for i in found if start is None or self._moments[i].event_time >= start)
        return tuple(cited(self._moments[place]) for place in sorted(places, reverse=True)[:CITED])

    def _places(self, stream: Stream) -> list[int]:
        if stream not in self._of_stream:
            belongs = self._index.belongs
            self._of_stream[stream] = [i for i, moment in enumerate(self._moments) if belongs(moment, stream)]
        return self._of_stream[stream]
