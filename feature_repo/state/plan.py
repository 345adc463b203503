"""What a customer's state has to keep so that every feature of a spec can be read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from feature_repo.spec import Feature, FeatureSpec, Measure, Stream
from feature_repo.windows import Window


@dataclass(frozen=True, slots=True)
class Level:
    """Tiles of one width; `longest` is the longest window (microseconds) that reads them."""

    hop: int
    longest: int


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What is kept of one stream: its measures, and tiles for its windows."""

    stream: Stream
    integers: tuple[Measure, ...]
    texts: tuple[Measure, ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class StatePlan:
    """The layout of a customer's state under one spec.

    `measures` are all measures of an event that some stream reads, the layout of waiting entries.
    """

    spec_hash: str
    distinct_cap: int
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
    return StatePlan(spec.hash, spec.distinct_cap, plans, measures, by_event)


def _plan_stream(stream: Stream, features: list[Feature]) -> StreamPlan:
    integers = tuple(sorted({f.measure for f in features if f.measure and f.measure.kind == "integer"}))
    texts = tuple(sorted({f.measure for f in features if f.measure and f.measure.kind == "text"}))
    # Latest instants answer the other operations: only these need what happened in between.
    tiled = [f.window for f in features if f.operation in ("count", "sum", "mean", "min", "max")]
    return StreamPlan(stream, integers, texts, _levels(tiled))


def _levels(windows: Iterable[Window]) -> tuple[Level, ...]:
    longest: dict[int, int] = {}
    for window in windows:
        if window.length is not None and window.hop is not None:
            longest[window.hop] = max(longest.get(window.hop, 0), window.length)
    return tuple(Level(hop, length) for hop, length in sorted(longest.items()))


def _measures_of(event: str, plans: Iterable[StreamPlan]) -> tuple[Measure, ...]:
    return tuple(sorted({m for p in plans if p.stream.event == event for m in (*p.integers, *p.texts)}))
