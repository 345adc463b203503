"""What a customer's state has to keep so that every feature of a spec can be read from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.spec import DAY_OPERATIONS, Caps, Feature, FeatureSpec, Measure, Stream
from feature_repo.state.cells import CELLS_OF, CellLayout, lay_out
from feature_repo.windows import MINUTE, Window

# How far behind the newest arrival events wait to be settled (microseconds, on the clock's multiples of it). As
# short as the shortest tile, because every read settles for itself what waits.
SETTLED_EVERY = 5 * MINUTE


@dataclass(frozen=True, slots=True)
class Level:
    """Tiles of one width; `longest` is the longest window (microseconds) that reads them."""

    hop: int
    longest: int


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is kept of one stream.

    `layout` are the cells of its running total and of the tiles of each level; `lasts`, `distincts` and
    `tops` are the measures of those operations, `latest` among `tops`; `keeps_days` says whether days with an event
    are kept.
    """

    stream: Stream
    layout: CellLayout
    levels: tuple[Level, ...]
    lasts: tuple[Measure, ...]
    distincts: tuple[Measure, ...]
    tops: tuple[Measure, ...]
    keeps_days: bool

    @property
    def measures(self) -> set[Measure]:
        """All that is read of an event."""
        return {*self.layout.measures, *self.lasts, *self.distincts, *self.tops}


@dataclass(frozen=True, slots=True)
class StatePlan:
    """The layout of a customer's state under one spec.

    `measures` are all measures of an event that some stream reads, the layout of waiting entries;
    `by_event` the places of an event's streams in `streams`.
    """

    spec_hash: str
    caps: Caps
    utc_offset: int
    streams: tuple[StreamPlan, ...]
    measures: dict[str, tuple[Measure, ...]]
    by_event: dict[str, tuple[int, ...]]


def plan_state(spec: FeatureSpec) -> StatePlan:
    """The state layout that answers every feature of `spec`."""
    aggregates = spec.closure(spec.by_name)
    streams = sorted({feature.stream for feature in aggregates if feature.stream})
    plans = tuple(_plan_stream(stream, [f for f in aggregates if f.stream == stream]) for stream in streams)
    events = sorted({stream.event for stream in streams})
    measures = {event: _measures_of(event, plans) for event in events}
    by_event = {event: tuple(i for i, p in enumerate(plans) if p.stream.event == event) for event in events}
    return StatePlan(spec.hash, spec.caps, spec.utc_offset, plans, measures, by_event)


def _plan_stream(stream: Stream, features: Sequence[Feature]) -> StreamPlan:
    tiled = [feature.window for feature in features if feature.operation in CELLS_OF]
    return StreamPlan(
        stream,
        lay_out(features),
        _levels(tiled),
        _measures_for(("last",), features),
        _measures_for(("distinct",), features),
        _measures_for(("top", "latest"), features),
        any(feature.operation in DAY_OPERATIONS for feature in features),
    )


def _measures_for(operations: Sequence[str], features: Iterable[Feature]) -> tuple[Measure, ...]:
    return tuple(sorted({f.measure for f in features if f.operation in operations and f.measure}))


def _levels(windows: Iterable[Window]) -> tuple[Level, ...]:
    longest: dict[int, int] = {}
    for window in windows:
        if window.length is not None and window.hop is not None:
            longest[window.hop] = max(longest.get(window.hop, 0), window.length)
    return tuple(Level(hop, length) for hop, length in sorted(longest.items()))


def _measures_of(event: str, plans: Iterable[StreamPlan]) -> tuple[Measure, ...]:
    return tuple(sorted({measure for p in plans if p.stream.event == event for measure in p.measures}))
