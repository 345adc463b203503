"""Read features from a customer's state at an as-of instant: the fold over its tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from feature_repo.spec import Feature, FeatureSpec
from feature_repo.state.plan import StatePlan, StreamPlan, plan_state
from feature_repo.state.tiles import (
    ACCUMULATOR_WIDTH,
    Accumulator,
    CustomerState,
    StreamState,
    decode,
    empty_accumulator,
    empty_state,
    merge_measure,
    settle,
)
from feature_repo.windows import DAY, Window

FeatureValue = int | float | None


class AsOfTooEarly(ValueError):
    """The state has moved past the as-of instant; only the log can still answer for it."""


@dataclass(frozen=True, slots=True)
class _StreamReads:
    """The features of one stream that a reader yields."""

    index: int
    plan: StreamPlan
    features: tuple[Feature, ...]


class StateReader:
    """Reads the features `names` of a spec, in this order, from encoded states."""

    def __init__(self, spec: FeatureSpec, names: Sequence[str]) -> None:
        """Raises KeyError if a name is not in the spec."""
        self.names = tuple(names)
        self.plan: StatePlan = plan_state(spec)
        self._wanted = [spec.by_name[name] for name in names]
        aggregates = spec.closure(names)
        self._reads = [
            _StreamReads(i, plan, tuple(f for f in aggregates if f.stream == plan.stream))
            for i, plan in enumerate(self.plan.streams)
            if any(f.stream == plan.stream for f in aggregates)
        ]

    def read(self, data: bytes | None, as_of: int) -> list[FeatureValue]:
        """Values at `as_of` (microseconds UTC); None in the list where a feature is empty.

        Raises:
            AsOfTooEarly: `as_of` lies before what the state has settled.
        """
        state = empty_state(self.plan) if data is None else decode(data)
        if as_of < state.settled_until:
            raise AsOfTooEarly(f"the state can be read from {state.settled_until} on, not at {as_of}")
        self._settle_visible(state, as_of)
        values: dict[str, FeatureValue] = {}
        for reads in self._reads:
            stream = state.streams[reads.index]
            if stream is None:
                values.update((f.name, 0 if f.operation in ("count", "distinct") else None) for f in reads.features)
            else:
                _read_stream(reads.plan, stream, reads.features, as_of, self.plan.distinct_cap, values)
        return [self._value(feature, values) for feature in self._wanted]

    def _settle_visible(self, state: CustomerState, as_of: int) -> None:
        # The decoded state belongs to this call, so the entries visible now can go into its tiles.
        for entry in state.waiting:
            if entry.event_time < as_of and entry.available_at <= as_of:
                settle(self.plan, state, entry)

    @staticmethod
    def _value(feature: Feature, values: dict[str, FeatureValue]) -> FeatureValue:
        if feature.operation != "ratio":
            return values[feature.name]
        top, bottom = values[str(feature.numerator)], values[str(feature.denominator)]
        return None if top is None or not bottom else float(top) / float(bottom)


def _read_stream(
    plan: StreamPlan,
    stream: StreamState,
    features: Iterable[Feature],
    as_of: int,
    cap: int,
    values: dict[str, FeatureValue],
) -> None:
    windows = _fold_windows(plan, stream, features, as_of)
    for feature in features:
        start = feature.window.start(as_of)
        if feature.operation == "distinct":
            latest = stream.distinct[plan.texts.index(feature.measure)]
            seen = len(latest) if start is None else sum(at >= start for at in latest.values())
            values[feature.name] = min(seen, cap)
        elif feature.operation in ("last", "days_since_last", "days_since_first", "mean_days_between"):
            values[feature.name] = _from_instants(plan, stream, feature, start, as_of)
        else:
            values[feature.name] = _from_tiles(plan, feature, windows[feature.window])


def _fold_windows(
    plan: StreamPlan, stream: StreamState, features: Iterable[Feature], as_of: int
) -> dict[Window, Accumulator]:
    """The accumulator of each window: tiles from the newest back, read once for all windows of a width."""
    needed = {f.window for f in features if f.operation in ("count", "sum", "mean", "min", "max")}
    folded = {window: stream.total for window in needed if window.length is None}
    for level, tiles in zip(plan.levels, stream.levels, strict=True):
        windows = sorted((w for w in needed if w.hop == level.hop), key=lambda w: w.length or 0)
        if not windows:
            continue
        running = empty_accumulator(plan)
        starts = sorted(tiles, reverse=True)
        at = 0
        for window in windows:
            begin = window.start(as_of)
            while at < len(starts) and begin is not None and starts[at] >= begin:
                _merge(running, tiles[starts[at]])
                at += 1
            folded[window] = list(running)
    return folded


def _merge(into: Accumulator, tile: Accumulator) -> None:
    into[0] += tile[0]
    for at in range(1, len(tile), ACCUMULATOR_WIDTH):
        n, total, low, high = tile[at : at + ACCUMULATOR_WIDTH]
        if n:
            merge_measure(into, at, n, total, low, high)


def _from_tiles(plan: StreamPlan, feature: Feature, window: Accumulator) -> FeatureValue:
    if feature.measure is None:
        return window[0]
    at = 1 + ACCUMULATOR_WIDTH * plan.integers.index(feature.measure)
    n, total, low, high = window[at : at + ACCUMULATOR_WIDTH]
    if not n or total is None:
        return None
    if feature.operation == "mean":
        # Both are converted before the division, as SQL does, so that the quotient has the same bits.
        return float(total) / float(n)
    return {"sum": total, "min": low, "max": high}[feature.operation]


def _from_instants(
    plan: StreamPlan, stream: StreamState, feature: Feature, start: int | None, as_of: int
) -> FeatureValue:
    if feature.operation == "last":
        latest = stream.latest_of[plan.integers.index(feature.measure)]
        return None if latest is None or (start is not None and latest[0] < start) else latest[1]
    if feature.operation == "mean_days_between":
        gaps = stream.total[0] - 1
        return None if not gaps else float(stream.last - stream.first) / float(gaps * DAY)  # type: ignore[operator]
    at = stream.first if feature.operation == "days_since_first" else stream.last
    if at is None or (start is not None and at < start):
        return None
    return float(as_of - at) / float(DAY)
