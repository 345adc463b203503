"""Whether chances of an event come true: in tenths of the rows, and in one number beside its noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.boosting import Floats

_BINS = 10
_SIMULATIONS = 500
_SEED = 20050501


@dataclass(frozen=True, slots=True)
class Tenth:
    """Rows of about equal chances: mean chance, share that came, and its middle 95 % if the chances were exact."""

    rows: int
    predicted: float
    happened: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of an event within `days`. `error` is the expected calibration error over equal-mass bins (ECE).

    `noise_floor` is the error expected of exactly right chances on a sample of this size.
    """

    days: float
    predicted: float
    happened: float
    error: float
    noise_floor: float
    tenths: tuple[Tenth, ...]


def calibration_of(days: float, chances: Floats, came: Floats) -> Calibration:
    """`came` is 0 or 1, shape (rows,) like `chances`. Rows of equal chances are never parted."""
    cuts = np.unique(np.quantile(chances, np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    numbers = np.unique(np.searchsorted(cuts, chances, side="left"), return_inverse=True)[1]
    members = (numbers[:, None] == np.arange(numbers.max() + 1)).astype(np.float64)
    sizes = members.sum(axis=0)
    predicted, happened = chances @ members / sizes, came @ members / sizes
    generator = np.random.default_rng(_SEED)
    drawn = np.array([(generator.random(len(chances)) < chances) @ members / sizes for _ in range(_SIMULATIONS)])
    errors = np.abs(drawn - predicted) @ sizes / len(chances)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    tenths = tuple(
        Tenth(int(size), *(float(value) for value in row))
        for size, *row in zip(sizes, predicted, happened, low, high, strict=True)
    )
    error = float(np.abs(predicted - happened) @ sizes / len(chances))
    return Calibration(days, float(chances.mean()), float(came.mean()), error, float(errors.mean()), tenths)
