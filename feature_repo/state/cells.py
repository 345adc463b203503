"""Accumulators: what is kept of a set of events so that the sets of two accumulators can be joined.

An accumulator is a list of cells. The first counts events; the others are what the operations of the
stream need, each a sum, a minimum, a maximum, or the value at the earliest instant.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from feature_repo.spec import Feature, Measure

# Whole numbers; None in a minimum or maximum of nothing. Of an earliest value: `[instant, value]`.
Accumulator = list[Any]

CellKind = Literal["count", "first_instant", "n", "sum", "square_high", "square_low", "min", "max", "first"]
_ADDED = ("count", "n", "sum", "square_high", "square_low")
_LEAST = ("first_instant", "min", "first")
# The cells an operation is read from.
CELLS_OF: dict[str, tuple[CellKind, ...]] = {
    "count": (),
    "sum": ("n", "sum"),
    "mean": ("n", "sum"),
    "min": ("min",),
    "max": ("max",),
    "variance": ("n", "sum", "square_high", "square_low"),
    "first": ("first",),
    "days_since_first": ("first_instant",),
    "mean_days_between": ("first_instant",),
}
# A sum of squares leaves 64 bits: its upper and lower parts are summed apart.
SQUARE_BITS = 40


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One cell; `measure` is None for those that look at the event alone."""

    kind: CellKind
    measure: Measure | None = None


@dataclass(frozen=True)
class CellLayout:
    """The cells of a stream's accumulators, and the measures that are read for them."""

    cells: tuple[Cell, ...]
    measures: tuple[Measure, ...]

    @cached_property
    def _added(self) -> tuple[int, ...]:
        return tuple(i for i, cell in enumerate(self.cells) if cell.kind in _ADDED)

    @cached_property
    def _least(self) -> tuple[int, ...]:
        return tuple(i for i, cell in enumerate(self.cells) if cell.kind in _LEAST)

    @cached_property
    def _greatest(self) -> tuple[int, ...]:
        return tuple(i for i, cell in enumerate(self.cells) if cell.kind == "max")

    @cached_property
    def _by_measure(self) -> tuple[tuple[tuple[int, CellKind], ...], ...]:
        return tuple(
            tuple((i, cell.kind) for i, cell in enumerate(self.cells) if cell.measure == measure)
            for measure in self.measures
        )

    @cached_property
    def _first_instant(self) -> int | None:
        found = Cell("first_instant")
        return self.cells.index(found) if found in self.cells else None

    def place(self, kind: CellKind, measure: Measure | None = None) -> int:
        """Where the cell stands in an accumulator. Raises ValueError if there is none."""
        return self.cells.index(Cell(kind, measure))

    def empty(self) -> Accumulator:
        """The accumulator of no events."""
        return [0 if cell.kind in _ADDED else None for cell in self.cells]

    def add(self, into: Accumulator, event_time: int, values: Sequence[int | None]) -> None:
        """Put one event in; `values` are those of the layout's measures, in order."""
        into[0] += 1
        if self._first_instant is not None:
            _keep_least(into, self._first_instant, event_time)
        for value, cells in zip(values, self._by_measure, strict=True):
            if value is not None:
                for i, kind in cells:
                    _add_value(into, i, kind, event_time, value)

    def merge(self, into: Accumulator, other: Accumulator) -> None:
        """Put the events of `other` in, none of which is in already."""
        for i in self._added:
            into[i] += other[i]
        for i in self._least:
            if other[i] is not None:
                _keep_least(into, i, other[i])
        for i in self._greatest:
            found, known = other[i], into[i]
            if found is not None and (known is None or found > known):
                into[i] = found


def lay_out(features: Collection[Feature]) -> CellLayout:
    """The cells that `features`, all of one stream, are read from."""
    cells = {Cell("count")}
    for feature in features:
        for kind in CELLS_OF.get(feature.operation, ()):
            cells.add(Cell(kind, None if kind == "first_instant" else feature.measure))
    ordered = tuple(sorted(cells, key=_order))
    measures = sorted({cell.measure for cell in cells if cell.measure})
    return CellLayout(ordered, tuple(measures))


def _order(cell: Cell) -> tuple[bool, Iterable[str], str]:
    path = "" if cell.measure is None else cell.measure.path
    return cell.kind != "count", path, cell.kind


def _add_value(into: Accumulator, i: int, kind: CellKind, event_time: int, value: int) -> None:
    if kind == "n":
        into[i] += 1
    elif kind == "sum":
        into[i] += value
    elif kind == "square_high":
        into[i] += (value * value) >> SQUARE_BITS
    elif kind == "square_low":
        into[i] += (value * value) & ((1 << SQUARE_BITS) - 1)
    elif kind == "max":
        into[i] = value if into[i] is None else max(into[i], value)
    elif kind == "min":
        _keep_least(into, i, value)
    else:
        # Of several values at the earliest instant, the smallest: no order of arrival can change it.
        _keep_least(into, i, [event_time, value])


def _keep_least(into: Accumulator, i: int, found: Any) -> None:
    known = into[i]
    if known is None or found < known:
        into[i] = found
