"""Timing in turns: every contender does a little in each round, so that a busy machine slows them all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """One contender's result over all rounds.

    `seconds` are of one call (the median, where the name says nothing else), a number a round;
    `ratios` are `seconds` over those of `peer` in the same round (empty for the peer itself). One
    call handles `size` of `unit`.
    """

    part: str
    name: str
    seconds: tuple[float, ...]
    unit: str
    size: int
    peer: str
    ratios: tuple[float, ...]


def interleave(
    part: str,
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    calls: int,
    unit: str,
    size: Mapping[str, int] | int = 1,
    per_item: bool = False,
    summary: Callable[[Iterable[float]], float] = median,
) -> list[Figure]:
    """Time all contenders, `calls` times in each round; the first one is the peer of the others.

    `summary` makes one number of a round's calls. With `per_item` the seconds and ratios are of one
    item, for contenders of different sizes. One call each comes before, uncounted.
    """
    sizes = dict.fromkeys(contenders, size) if isinstance(size, int) else dict(size)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        call()
    for number in range(rounds):
        # Backwards in every second round: nobody always follows the same neighbour.
        for name in list(contenders)[:: -1 if number % 2 else 1]:
            gc.collect()
            seconds = summary(_timed(contenders[name]) for _ in range(calls))
            taken[name].append(seconds / sizes[name] if per_item else seconds)
    peer = next(iter(contenders))
    return [
        Figure(
            part,
            name,
            tuple(seconds),
            unit,
            1 if per_item else sizes[name],
            peer,
            () if name == peer else ratios(seconds, taken[peer]),
        )
        for name, seconds in taken.items()
    ]


def slowest_of_a_hundred(seconds: Iterable[float]) -> float:
    """The 99th percentile; of less than a hundred calls the slowest."""
    ordered = sorted(seconds)
    return ordered[len(ordered) * 99 // 100 - (len(ordered) >= 100)]


def ratios(of: Sequence[float], to: Sequence[float]) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(of, to, strict=True))


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def line(figure: Figure) -> str:
    """The figure for a person: time of a call, throughput, and the ratio with its spread."""
    seconds = median(figure.seconds)
    shown = f"{seconds * 1e3:>10,.3f} ms {figure.size / seconds:>12,.0f} {figure.unit}/s"
    if not figure.ratios:
        return f"  {figure.name:<34}{shown}"
    return f"  {figure.name:<34}{shown}   {_compared(figure)}"


def _compared(figure: Figure) -> str:
    """How much longer than its peer it takes, or how much faster it is."""
    if median(figure.ratios) >= 1:
        return f"{_spread(figure.ratios)} the time of {figure.peer}"
    return f"{_spread([1 / ratio for ratio in figure.ratios])} as fast as {figure.peer}"


def _spread(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.3g} x ({min(ratios):.3g} to {max(ratios):.3g})"
