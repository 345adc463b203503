"""Intervals from two quantile boosters, made valid on customers that neither has seen.

Conformalised quantile regression (Romano, Patterson & Candès 2019): how far held-out outcomes lie outside the
quantiles says by how much to move them. The interval covers a new outcome with at least `level` if it is
exchangeable with the held-out ones: another customer of the same time. That the next months are like the last
ones is an assumption, which a test out of time looks at.

Money has a long tail, and half of all customers may bring nothing. So
- all is done on the scale asinh(value / unit), which is linear for small and logarithmic for large amounts, and
  whose order is that of money, so quantiles and coverage are the same;
- one offset moves the intervals, which are nested in it, as validity needs (Gupta, Kuchibhotla & Ramdas 2022). To
  widen, it moves both ends. To narrow, it moves the upper end alone: no less than nothing is brought by a customer
  who does not come, and a lower end raised above that would lose all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipelines.boosting import Floats

# On the asinh scale no amount of money comes near it.
_ALWAYS_COVERED = -1000.0


@dataclass(frozen=True, slots=True)
class ConformalOffset:
    """`offset` on the asinh scale of `unit` (minor units of money), found on `customers`, one row each."""

    level: float
    unit: float
    offset: float
    customers: int


def on_scale(values: Floats, unit: float) -> Floats:
    """Money to asinh(value / unit)."""
    return np.asarray(np.arcsinh(values / unit))


def off_scale(scaled: Floats, unit: float) -> Floats:
    """Back to money."""
    return np.asarray(np.sinh(scaled) * unit)


def least_customers(level: float) -> int:
    """Held-out customers without whom no finite offset has the level."""
    return math.ceil(level / (1.0 - level))


def find_offset(lower: Floats, upper: Floats, outcomes: Floats, level: float) -> float:
    """The least offset whose interval covers ceil((n + 1) * level) of n held-out outcomes, shape (n,) each.

    Raises:
        ValueError: there are too few of them.
    """
    if len(outcomes) < least_customers(level):
        raise ValueError(f"{least_customers(level)} customers are needed, there are {len(outcomes)}")
    top = np.maximum(upper, lower)
    scores = np.where(outcomes < lower, lower - outcomes, outcomes - top)
    # At the lower end itself no offset loses the outcome.
    scores = np.where(outcomes == lower, _ALWAYS_COVERED, scores)
    rank = math.ceil((len(outcomes) + 1) * level)
    return float(np.sort(scores)[rank - 1])


def move(lower: Floats, upper: Floats, offset: float) -> tuple[Floats, Floats]:
    """The interval for an offset: wider above 0, narrower below."""
    top = np.maximum(upper, lower)
    return lower - max(offset, 0.0), np.maximum(top + offset, lower)
