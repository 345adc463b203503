"""Whether chances of an event come true: in tenths of the rows, and in one number beside its noise floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.boosting import Floats
from pipelines.scoring.metrics import bin_matrix, calibration_error, equal_mass_bins, floor_of, simulated_rates

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
    members = bin_matrix(equal_mass_bins(chances))
    sizes = members.sum(axis=0)
    rates = simulated_rates(chances, seed=_SEED)
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    columns = (chances @ members / sizes, came @ members / sizes, low, high)
    tenths = tuple(
        Tenth(int(size), *(float(value) for value in row)) for size, *row in zip(sizes, *columns, strict=True)
    )
    error = calibration_error(came, chances)
    return Calibration(days, float(chances.mean()), float(came.mean()), error, floor_of(chances, rates), tenths)
