"""Which cells of a stream's state answer which features: worked out once a reader, so that a read only folds.

A reader keeps two lists: `values`, with a slot for each feature, and `starts`, with a place for each
window's first instant (microseconds UTC). What stands here are places in them and in the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feature_repo.spec import Feature
from feature_repo.state.plan import StreamPlan
from feature_repo.state.tiles import ACCUMULATOR_WIDTH, Accumulator, StreamState, empty_accumulator, merge_measure
from feature_repo.windows import DAY, Window

FeatureValue = int | float | None

_TILED = ("count", "sum", "mean", "min", "max")
# The place of a measure's cells in `(n, sum, min, max)`.
_CELL = {"sum": 1, "min": 2, "max": 3}


@dataclass(frozen=True, slots=True)
class _WindowReads:
    """What is read of the accumulator of the window at `start`.

    `counts` are slots; `means` are (slot, n); `cells` are (slot, n, cell), n and cell being places in
    the accumulator.
    """

    start: int
    counts: tuple[int, ...]
    means: tuple[tuple[int, int], ...]
    cells: tuple[tuple[int, int, int], ...]

    def read(self, window: Accumulator, values: list[FeatureValue]) -> None:
        for slot in self.counts:
            values[slot] = window[0]
        for slot, n in self.means:
            if window[n]:
                # Both are converted before the division, as SQL does, so that the quotient has the same bits.
                values[slot] = float(window[n + 1]) / float(window[n])
        for slot, n, cell in self.cells:
            if window[n]:
                values[slot] = window[cell]


@dataclass(frozen=True, slots=True)
class StreamReads:
    """The reads of one stream.

    `lifetime` reads the running total; `levels` are (level, its windows, the shortest first). `distinct`
    and `last` are (slot, measure, start), `since_first` and `since_last` (slot, start), `gaps` slots.
    """

    empty: Accumulator
    distinct_cap: int
    lifetime: tuple[_WindowReads, ...]
    levels: tuple[tuple[int, tuple[_WindowReads, ...]], ...]
    distinct: tuple[tuple[int, int, int], ...]
    last: tuple[tuple[int, int, int], ...]
    since_first: tuple[tuple[int, int], ...]
    since_last: tuple[tuple[int, int], ...]
    gaps: tuple[int, ...]

    def read(self, stream: StreamState, starts: Sequence[int], as_of: int, values: list[FeatureValue]) -> None:
        """Put what `stream` says at `as_of` into `values`; a slot whose feature is empty stays as it was."""
        for window in self.lifetime:
            window.read(stream.total, values)
        for level, windows in self.levels:
            self._fold(stream.levels[level], windows, starts, values)
        for slot, text, start in self.distinct:
            begin = starts[start]
            values[slot] = min(sum(at >= begin for at in stream.distinct[text].values()), self.distinct_cap)
        self._read_instants(stream, starts, as_of, values)

    def _fold(
        self,
        tiles: dict[int, Accumulator],
        windows: Iterable[_WindowReads],
        starts: Sequence[int],
        values: list[FeatureValue],
    ) -> None:
        """Tiles from the newest back, each read once for all windows of its width."""
        newest_first = sorted(tiles, reverse=True)
        running = self.empty.copy()
        at = 0
        for window in windows:
            begin = starts[window.start]
            while at < len(newest_first) and newest_first[at] >= begin:
                _merge(running, tiles[newest_first[at]])
                at += 1
            window.read(running, values)

    def _read_instants(
        self, stream: StreamState, starts: Sequence[int], as_of: int, values: list[FeatureValue]
    ) -> None:
        for slot, integer, start in self.last:
            latest = stream.latest_of[integer]
            if latest is not None and latest[0] >= starts[start]:
                values[slot] = latest[1]
        if stream.first is None or stream.last is None:
            return
        for slot, start in self.since_first:
            if stream.first >= starts[start]:
                values[slot] = float(as_of - stream.first) / float(DAY)
        for slot, start in self.since_last:
            if stream.last >= starts[start]:
                values[slot] = float(as_of - stream.last) / float(DAY)
        between = stream.total[0] - 1
        for slot in self.gaps if between else ():
            values[slot] = float(stream.last - stream.first) / float(between * DAY)


def _merge(into: Accumulator, tile: Accumulator) -> None:
    into[0] += tile[0]
    for at in range(1, len(tile), ACCUMULATOR_WIDTH):
        if n := tile[at]:
            merge_measure(into, at, n, tile[at + 1], tile[at + 2], tile[at + 3])


def plan_reads(
    plan: StreamPlan, features: Sequence[Feature], slots: Mapping[str, int], windows: Sequence[Window], cap: int
) -> StreamReads:
    """The reads of `features`, all of the stream of `plan`; `slots` by name, `windows` in the order of `starts`."""

    def of(*operations: str) -> list[Feature]:
        return [feature for feature in features if feature.operation in operations]

    def dated(operation: str) -> tuple[tuple[int, int], ...]:
        return tuple((slots[f.name], windows.index(f.window)) for f in of(operation))

    reads = {
        window: _window_reads(plan, [f for f in of(*_TILED) if f.window == window], slots, windows.index(window))
        for window in sorted({f.window for f in of(*_TILED)}, key=lambda w: w.length or 0)
    }
    of_level = [tuple(r for w, r in reads.items() if w.hop == level.hop) for level in plan.levels]
    return StreamReads(
        empty_accumulator(plan),
        cap,
        tuple(read for window, read in reads.items() if window.length is None),
        tuple((level, found) for level, found in enumerate(of_level) if found),
        tuple((slots[f.name], plan.texts.index(f.measure), windows.index(f.window)) for f in of("distinct")),
        tuple((slots[f.name], plan.integers.index(f.measure), windows.index(f.window)) for f in of("last")),
        dated("days_since_first"),
        dated("days_since_last"),
        tuple(slots[f.name] for f in of("mean_days_between")),
    )


def _window_reads(plan: StreamPlan, features: Iterable[Feature], slots: Mapping[str, int], start: int) -> _WindowReads:
    counts: list[int] = []
    means: list[tuple[int, int]] = []
    cells: list[tuple[int, int, int]] = []
    for feature in features:
        slot = slots[feature.name]
        if feature.measure is None:
            counts.append(slot)
            continue
        n = 1 + ACCUMULATOR_WIDTH * plan.integers.index(feature.measure)
        if feature.operation == "mean":
            means.append((slot, n))
        else:
            cells.append((slot, n, n + _CELL[feature.operation]))
    return _WindowReads(start, tuple(counts), tuple(means), tuple(cells))
