"""Figures on the test part with paired bootstrap intervals: whole customers are drawn again, alike for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pipelines.boosting import Floats

RESAMPLES = 1000
SEED = 20050501
_CELLS = 2_000_000  # weights held at a time

Figure = Callable[[Floats], Floats]
"""From weights of shape (resamples, rows) to one number a resample."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with the 2.5 % and 97.5 % quantiles of its resamples; None where it is undefined."""

    estimate: float | None
    low: float | None
    high: float | None

    def text(self, digits: int = 3, sign: str = "") -> str:
        """`0.532 [0.520, 0.545]`."""
        if self.estimate is None or self.low is None or self.high is None:
            return "-"
        middle, low, high = (f"{value:{sign},.{digits}f}" for value in (self.estimate, self.low, self.high))
        return f"{middle} [{low}, {high}]"


@dataclass(frozen=True, slots=True)
class Resampled:
    """A figure on the sample itself, and on its resamples, shape (resamples,)."""

    value: float
    draws: Floats

    def estimate(self) -> Estimate:
        known = self.draws[np.isfinite(self.draws)]
        if not np.isfinite(self.value) or not len(known):
            return Estimate(None, None, None)
        low, high = np.quantile(known, [0.025, 0.975])
        return Estimate(self.value, float(low), float(high))

    def minus(self, other: Resampled) -> Resampled:
        """Resample by resample: what both share cancels."""
        return Resampled(self.value - other.value, self.draws - other.draws)


def resample(
    figures: Mapping[str, Mapping[str, Figure]], customers: NDArray[np.int64], resamples: int = RESAMPLES
) -> dict[str, dict[str, Resampled]]:
    """All figures of all models. `customers` numbers each row's customer from 0 without gaps, shape (rows,)."""
    sample = np.ones((1, len(customers)))
    draws: dict[tuple[str, str], list[Floats]] = {}
    for weights in _weights(customers, resamples):
        for model, own in figures.items():
            for name, figure in own.items():
                draws.setdefault((model, name), []).append(figure(weights))
    return {
        model: {
            name: Resampled(float(figure(sample)[0]), np.concatenate(draws[model, name]))
            for name, figure in own.items()
        }
        for model, own in figures.items()
    }


def _weights(customers: NDArray[np.int64], resamples: int) -> Iterator[Floats]:
    count = int(customers.max()) + 1
    generator = np.random.default_rng(SEED)
    block = max(1, _CELLS // len(customers))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, customers].astype(np.float64)


# Figures ---------------------------------------------------------------------------------------------------------


def mean_of(values: Floats) -> Figure:
    """The mean of a number a row."""
    return lambda weights: np.asarray(weights @ values / weights.sum(axis=1))


def root_mean_of(squares: Floats) -> Figure:
    """The root of the mean of a number a row."""
    mean = mean_of(squares)
    return lambda weights: np.sqrt(mean(weights))


def ratio_of(above: Floats, below: Floats) -> Figure:
    """One total over another; NaN where the lower one is 0."""

    def figure(weights: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((weights @ above) / (weights @ below))

    return figure


def median_of(values: Floats, only: NDArray[np.bool_]) -> Figure:
    """The lower median of a number a row, over the rows of `only`; NaN where there are none."""
    rows = np.flatnonzero(only)
    order = rows[np.argsort(values[rows], kind="stable")]

    def figure(weights: Floats) -> Floats:
        totals = weights[:, order].sum(axis=1)
        if not len(order):
            return np.full(len(weights), np.nan)
        reached = np.cumsum(weights[:, order], axis=1) >= 0.5 * totals[:, None]
        return np.where(totals > 0, values[order][reached.argmax(axis=1)], np.nan)

    return figure


def rank_correlation(first: Floats, second: Floats) -> Figure:
    """Spearman's correlation, ranks being those within the whole sample; NaN where one is constant."""
    a, b = (ranks - ranks.mean() for ranks in (rankdata(first), rankdata(second)))

    def figure(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean_a, mean_b = weights @ a / total, weights @ b / total
        covariance = weights @ (a * b) / total - mean_a * mean_b
        spreads = (weights @ a**2 / total - mean_a**2) * (weights @ b**2 / total - mean_b**2)
        with np.errstate(invalid="ignore"):
            return np.where(spreads > 1e-12, covariance / np.sqrt(np.maximum(spreads, 1e-12)), np.nan)

    return figure


def share_at_top(predictions: Floats, outcomes: Floats, top: float = 0.1) -> Figure:
    """Share of the total outcome with the `top` of rows by prediction; rows that tie share what is left of the top."""
    order = np.argsort(-predictions, kind="stable")
    starts = np.flatnonzero(np.diff(predictions[order], prepend=np.inf))

    def figure(weights: Floats) -> Floats:
        sizes = np.add.reduceat(weights[:, order], starts, axis=1)
        totals = np.add.reduceat(weights[:, order] * outcomes[order], starts, axis=1)
        before = np.cumsum(sizes, axis=1) - sizes
        room = np.clip(top * weights.sum(axis=1, keepdims=True) - before, 0.0, sizes)
        with np.errstate(divide="ignore", invalid="ignore"):
            taken = np.where(sizes > 0, room / sizes, 0.0)
            return np.asarray((taken * totals).sum(axis=1) / (weights @ outcomes))

    return figure
