"""What of a stream's state answers which features: worked out once a reader, so that a read only folds.

A reader keeps two lists: `values`, with a slot for each feature, and `starts`, with a place for each
window's first instant (microseconds UTC). What stands here are places in them and in the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from feature_repo.quotients import variance
from feature_repo.spec import DAY_OPERATIONS, Caps, Feature
from feature_repo.state.cells import CELLS_OF, SQUARE_BITS, Accumulator, CellLayout
from feature_repo.state.plan import StreamPlan
from feature_repo.state.recency import count_since, days_since, deviation_between, latest_since, streaks, top_since
from feature_repo.state.tiles import StreamState
from feature_repo.windows import DAY, Window, day_of

FeatureValue = int | float | str | None
# From an accumulator, the stream's latest instant and the as-of instant.
ReadCells = Callable[[Accumulator, int, int], FeatureValue]

# Of these the value is a cell as it stands.
_CELLS = ("count", "min", "max")


@dataclass(frozen=True, slots=True)
class Dated:
    """A feature read from what is kept by instant: its slot, where it stands in the state, its window's start."""

    slot: int
    at: int
    start: int


@dataclass(frozen=True, slots=True)
class WindowReads:
    """What is read of the accumulator of the window at `start`, by slot: cells as they are, and what is computed."""

    start: int
    cells: tuple[tuple[int, int], ...]
    reads: tuple[tuple[int, ReadCells], ...]

    def read(self, window: Accumulator, last: int, as_of: int, values: list[FeatureValue]) -> None:
        if window[0]:
            for slot, cell in self.cells:
                values[slot] = window[cell]
            for slot, read in self.reads:
                values[slot] = read(window, last, as_of)


@dataclass(frozen=True, slots=True)
class StreamReads:
    """The reads of one stream.

    `lifetime` reads the running total; `levels` are (level, its windows, the shortest first). `days`
    are the windows whose active days are looked at, each with (operation, slot).
    """

    layout: CellLayout
    caps: Caps
    utc_offset: int
    lifetime: tuple[WindowReads, ...]
    levels: tuple[tuple[int, tuple[WindowReads, ...]], ...]
    last: tuple[Dated, ...]
    distinct: tuple[Dated, ...]
    top: tuple[Dated, ...]
    latest: tuple[Dated, ...]
    since_last: tuple[Dated, ...]
    days: tuple[tuple[int, tuple[tuple[str, int], ...]], ...]

    def read(self, stream: StreamState, starts: Sequence[int], as_of: int, values: list[FeatureValue]) -> None:
        """Put what `stream` says at `as_of` into `values`; a slot whose feature is empty stays as it was."""
        if stream.last is None:
            return
        for window in self.lifetime:
            window.read(stream.total, stream.last, as_of, values)
        for level, windows in self.levels:
            self._fold(stream.levels[level], windows, starts, stream.last, as_of, values)
        self._read_latest(stream, starts, as_of, values)
        for start, reads in self.days:
            self._read_days(days_since(stream.days, starts[start]), reads, as_of, values)

    def _fold(
        self,
        tiles: dict[int, Accumulator],
        windows: Iterable[WindowReads],
        starts: Sequence[int],
        last: int,
        as_of: int,
        values: list[FeatureValue],
    ) -> None:
        """Tiles from the newest back, each read once for all windows of its width."""
        newest_first = sorted(tiles, reverse=True)
        running = self.layout.empty()
        at = 0
        for window in windows:
            begin = starts[window.start]
            while at < len(newest_first) and newest_first[at] >= begin:
                self.layout.merge(running, tiles[newest_first[at]])
                at += 1
            window.read(running, last, as_of, values)

    def _read_latest(self, stream: StreamState, starts: Sequence[int], as_of: int, values: list[FeatureValue]) -> None:
        for dated in self.last:
            latest = stream.latest_of[dated.at]
            if latest is not None and latest[0] >= starts[dated.start]:
                values[dated.slot] = latest[1]
        for dated in self.distinct:
            found = count_since(stream.distinct[dated.at], starts[dated.start])
            values[dated.slot] = min(found, self.caps.distinct)
        for dated in self.top:
            values[dated.slot] = top_since(stream.newest[dated.at], starts[dated.start])
        for dated in self.latest:
            values[dated.slot] = latest_since(stream.newest[dated.at], starts[dated.start])
        for dated in self.since_last:
            if stream.last is not None and stream.last >= starts[dated.start]:
                values[dated.slot] = float(as_of - stream.last) / float(DAY)

    def _read_days(
        self, days: Sequence[int], reads: Iterable[tuple[str, int]], as_of: int, values: list[FeatureValue]
    ) -> None:
        current, longest = streaks(days, day_of(as_of, self.utc_offset))
        for operation, slot in reads:
            if operation == "active_days":
                values[slot] = len(days)
            elif operation == "deviation_days_between":
                values[slot] = deviation_between(days)
            else:
                values[slot] = current if operation == "streak" else longest


def plan_reads(
    plan: StreamPlan,
    features: Sequence[Feature],
    slots: Mapping[str, int],
    windows: Sequence[Window],
    caps: Caps,
    utc_offset: int,
) -> StreamReads:
    """The reads of `features`, all of the stream of `plan`; `slots` by name, `windows` in the order of `starts`."""

    def dated(operation: str) -> tuple[Dated, ...]:
        measures = {"last": plan.lasts, "distinct": plan.distincts, "top": plan.tops, "latest": plan.tops}.get(
            operation, ()
        )
        return tuple(
            Dated(slots[f.name], measures.index(f.measure) if f.measure else 0, windows.index(f.window))
            for f in features
            if f.operation == operation
        )

    tiled = [feature for feature in features if feature.operation in CELLS_OF]
    reads = {
        window: _window_reads(plan.layout, windows.index(window), [f for f in tiled if f.window == window], slots)
        for window in sorted({f.window for f in tiled}, key=lambda w: w.length or 0)
    }
    of_level = [tuple(r for w, r in reads.items() if w.hop == level.hop) for level in plan.levels]
    of_days = [feature for feature in features if feature.operation in DAY_OPERATIONS]
    return StreamReads(
        plan.layout,
        caps,
        utc_offset,
        tuple(read for window, read in reads.items() if window.length is None),
        tuple((level, found) for level, found in enumerate(of_level) if found),
        dated("last"),
        dated("distinct"),
        dated("top"),
        dated("latest"),
        dated("days_since_last"),
        tuple(
            (windows.index(window), tuple((f.operation, slots[f.name]) for f in of_days if f.window == window))
            for window in dict.fromkeys(f.window for f in of_days)
        ),
    )


def _window_reads(layout: CellLayout, start: int, features: Sequence[Feature], slots: Mapping[str, int]) -> WindowReads:
    return WindowReads(
        start,
        tuple((slots[f.name], _cell(layout, f)) for f in features if f.operation in _CELLS),
        tuple((slots[f.name], _cell_read(layout, f)) for f in features if f.operation not in _CELLS),
    )


def _cell(layout: CellLayout, feature: Feature) -> int:
    """The cell that is the feature's value."""
    return 0 if feature.operation == "count" else layout.place(CELLS_OF[feature.operation][0], feature.measure)


def _cell_read(layout: CellLayout, feature: Feature) -> ReadCells:
    """How a feature's value is read of an accumulator that counts at least one event."""
    places = [layout.place(kind, feature.measure) for kind in CELLS_OF[feature.operation]]
    operation = feature.operation
    if operation == "first":
        return lambda cells, last, as_of: None if cells[places[0]] is None else cells[places[0]][1]
    if operation == "days_since_first":
        return lambda cells, last, as_of: float(as_of - cells[places[0]]) / float(DAY)
    if operation == "mean_days_between":
        return lambda cells, last, as_of: _mean_gap(cells[0], cells[places[0]], last)
    if operation == "variance":
        return lambda cells, last, as_of: _variance(*(cells[place] for place in places))
    n, total = places
    if operation == "sum":
        return lambda cells, last, as_of: cells[total] if cells[n] else None
    # Both are converted before the division, as SQL does, so that the quotient has the same bits.
    return lambda cells, last, as_of: float(cells[total]) / float(cells[n]) if cells[n] else None


def _mean_gap(events: int, first: int, last: int) -> float | None:
    return float(last - first) / float((events - 1) * DAY) if events > 1 else None


def _variance(n: int, total: int, square_high: int, square_low: int) -> float | None:
    return variance(n, total, (square_high << SQUARE_BITS) + square_low)
