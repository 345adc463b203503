"""Intervals by paired bootstrap: whole customers are drawn again, the same draws for every model.

A customer with several rows is drawn or left with all of them, since such rows are not independent.
A resample is a weight a row (how often its customer was drawn), so no row is ever copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.scoring.metrics import Array, bin_matrix, calibration_line, equal_mass_bins, log_losses, log_odds

RESAMPLES = 1000
METRICS = ("log_loss", "auc", "brier", "calibration_error", "calibration_intercept", "calibration_slope")
_CELLS = 2_000_000  # weights held at a time


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the 2.5 % and 97.5 % quantiles of its resamples; None where it is undefined."""

    estimate: float | None
    low: float | None
    high: float | None


def customer_weights(customers: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """Weights of the rows in blocks of shape (some resamples, rows), `resamples` in all.

    `customers` holds each row's customer as a number from 0 without gaps, shape (rows,).
    """
    count = int(customers.max()) + 1
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // len(customers))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, customers].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What one model's metrics need at every resample."""

    labels: Array
    losses: Array
    squares: Array
    gaps: Array
    scores: Array
    bins: Array
    order: NDArray[np.int64]
    ties: NDArray[np.int64]

    def metrics(self, weights: Array) -> Array:
        """Shape (METRICS, resamples)."""
        total = weights.sum(axis=1)
        error = np.abs(weights @ (self.bins * self.gaps[:, None])).sum(axis=1) / total
        intercepts, slopes = calibration_line(self.labels, self.scores, weights)
        losses, squares = weights @ self.losses / total, weights @ self.squares / total
        return np.stack([losses, self._areas(weights), squares, error, intercepts, slopes])

    def _areas(self, weights: Array) -> Array:
        """Weighted AUC: positives above negatives, groups of equal probability counted half."""
        ordered = weights[:, self.order]
        positive = ordered * self.labels[self.order]
        ups = np.add.reduceat(positive, self.ties, axis=1)
        downs = np.add.reduceat(ordered - positive, self.ties, axis=1)
        below = np.cumsum(downs, axis=1) - 0.5 * downs
        with np.errstate(invalid="ignore"):
            return np.asarray((ups * below).sum(axis=1) / (ups.sum(axis=1) * downs.sum(axis=1)))


def _prepare(labels: Array, probabilities: Array) -> _Prepared:
    order = np.argsort(probabilities, kind="stable")
    ties = np.flatnonzero(np.diff(probabilities[order], prepend=-1.0))
    return _Prepared(
        labels, log_losses(labels, probabilities), (probabilities - labels) ** 2, probabilities - labels,
        log_odds(probabilities), bin_matrix(equal_mass_bins(probabilities)), order, ties,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Resampled:
    """Metrics on the sample itself, shape (METRICS,), and on its resamples, (METRICS, resamples)."""

    estimates: Array
    draws: Array

    def interval(self, metric: str) -> Interval:
        """The metric with its 95 % interval."""
        at = METRICS.index(metric)
        return _interval(float(self.estimates[at]), self.draws[at])

    def difference(self, other: Resampled, metric: str) -> Interval:
        """This minus `other`, resample by resample: what both share cancels."""
        at = METRICS.index(metric)
        return _interval(float(self.estimates[at] - other.estimates[at]), self.draws[at] - other.draws[at])


def resample(
    labels: Array,
    probabilities: Mapping[str, Array],
    customers: NDArray[np.int64],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Resampled]:
    """Metrics of every model on the same resamples of customers.

    Bins of the calibration error stay those of the whole sample. That error is an absolute value, so its
    resamples lie above it on average: read its interval as an upper one.
    """
    prepared = {name: _prepare(labels, values) for name, values in probabilities.items()}
    draws: dict[str, list[Array]] = {name: [] for name in prepared}
    for weights in customer_weights(customers, resamples, seed):
        for name, model in prepared.items():
            draws[name].append(model.metrics(weights))
    whole = np.ones((1, len(labels)))
    return {
        name: Resampled(model.metrics(whole)[:, 0], np.concatenate(draws[name], axis=1))
        for name, model in prepared.items()
    }


def _interval(estimate: float, draws: Array) -> Interval:
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(estimate) or not len(defined):
        return Interval(None, None, None)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(estimate, float(low), float(high))
