"""Intervals by paired bootstrap: whole customers are drawn again, the same draws for every model.

A customer with several rows is drawn or left with all of them, since such rows are not independent.
A resample is a weight a row (how often its customer was drawn), so no row is ever copied. Whatever is a sum over
rows is summed a customer first; then all resamples of it are one product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from pipelines.scoring.metrics import Array, bin_matrix, calibration_line, equal_mass_bins, log_losses, log_odds

RESAMPLES = 1000
METRICS = ("log_loss", "auc", "brier", "calibration_error", "calibration_intercept", "calibration_slope")
_CELLS = 2_000_000  # weights held at a time, of customers and of rows
# Beyond 100,000 rows there are fewer resamples, so that an evaluation stays a matter of a minute or two.
_ALL_RESAMPLES_UP_TO, _FEWEST = 100_000, 200

Customers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the 2.5 % and 97.5 % quantiles of its resamples; None where it is undefined."""

    estimate: float | None
    low: float | None
    high: float | None


def interval_of(estimate: float, draws: Array) -> Interval:
    """The 95 % percentile interval of `draws`, shape (resamples,); those that are not finite do not count."""
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(estimate) or not len(defined):
        return Interval(None, None, None)
    low, high = np.quantile(defined, [0.025, 0.975])
    return Interval(float(estimate), float(low), float(high))


def resamples_for(rows: int) -> int:
    """1,000 up to 100,000 rows, and fewer beyond, 200 at least."""
    return max(_FEWEST, min(RESAMPLES, RESAMPLES * _ALL_RESAMPLES_UP_TO // max(rows, 1)))


# Draws ---------------------------------------------------------------------------------------------------------


def customer_counts(customers: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """How often each of `customers` was drawn, in blocks of shape (some resamples, customers), `resamples` in all."""
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // customers)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, customers, (size, customers)) + customers * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * customers).reshape(size, customers).astype(np.float64)


def customer_weights(customers: Customers, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """Weights of the rows in blocks of shape (some resamples, rows), `resamples` in all.

    `customers` holds each row's customer as a number from 0 without gaps, shape (rows,). A block is of at most two
    million weights, and of one resample at least, however few customers the rows are of.
    """
    return (weights for _, weights in _counts_and_weights(customers, resamples, seed))


def _counts_and_weights(customers: Customers, resamples: int, seed: int) -> Iterator[tuple[Array, Array]]:
    """The same draws a customer and a row; draws are made a block of customers, so slices do not change them."""
    size = max(1, _CELLS // len(customers))
    for block in customer_counts(int(customers.max()) + 1, resamples, seed):
        for start in range(0, len(block), size):
            counts = block[start : start + size]
            yield counts, counts[:, customers]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over all rows, shape (columns,), and over the rows of each resample, shape (columns, resamples)."""

    estimates: Array
    draws: Array

    def ratio(self, above: int, below: int) -> Interval:
        """One column's sum over another's."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return interval_of(
                float(self.estimates[above] / self.estimates[below]), self.draws[above] / self.draws[below]
            )


def resample_sums(columns: Array, customers: Customers, resamples: int = RESAMPLES, seed: int = 0) -> Sums:
    """Sums of `columns`, shape (rows, columns); the draws are those of `resample` with the same seed and customers."""
    each = by_customer(columns, customers)
    draws = [(counts @ each).T for counts in customer_counts(len(each), resamples, seed)]
    return Sums(columns.sum(axis=0), np.concatenate(draws, axis=1))


def by_customer(columns: Array, customers: Customers) -> Array:
    """Sums of `columns` (rows, columns) over the rows of each customer, shape (customers, columns)."""
    return np.stack([np.bincount(customers, column) for column in columns.T], axis=1)


# Metrics of every model on the same draws ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What one model's metrics need at every resample; `sums` has a row a customer."""

    line: tuple[float, float]
    sums: Array
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    below: NDArray[np.int64]
    not_above: NDArray[np.int64]

    def metrics(self, counts: Array, weights: Array) -> Array:
        """Shape (METRICS, resamples)."""
        total, positive, losses, squares, *line = (counts @ self.sums[:, :9]).T
        error = np.abs(counts @ self.sums[:, 9:]).sum(axis=1) / total
        intercepts, slopes = self._lines(np.stack(line))
        one_class = (positive == 0) | (positive == total)
        intercepts[one_class], slopes[one_class] = np.nan, np.nan
        return np.stack([losses / total, self._areas(weights), squares / total, error, intercepts, slopes])

    def _lines(self, sums: Array) -> tuple[Array, Array]:
        """One Newton step from the line of the whole sample (the one-step bootstrap, Shao & Tu 1995, 3.6).

        What is left out is of the order of 1 / rows, where an interval is of the order of its root.
        """
        up, tilt, constant, mixed, squared = sums
        determinant = constant * squared - mixed**2
        with np.errstate(invalid="ignore", divide="ignore"):
            return (
                self.line[0] + (squared * up - mixed * tilt) / determinant,
                self.line[1] + (constant * tilt - mixed * up) / determinant,
            )

    def _areas(self, weights: Array) -> Array:
        """Weighted AUC: positives above negatives, those of equal probability counted half."""
        ups, downs = weights[:, self.positives], np.zeros((len(weights), len(self.negatives) + 1))
        np.cumsum(weights[:, self.negatives], axis=1, out=downs[:, 1:])
        above = (ups * (downs[:, self.below] + downs[:, self.not_above])).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(0.5 * above / (ups.sum(axis=1) * downs[:, -1]))


def _prepare(labels: Array, probabilities: Array, customers: Customers) -> _Prepared:
    gaps, scores = probabilities - labels, log_odds(probabilities)
    intercepts, slopes = calibration_line(labels, scores)
    line = float(intercepts[0]), float(slopes[0])
    rates = expit(line[0] + line[1] * scores)
    residuals, curvature = labels - rates, rates * (1.0 - rates)
    columns = np.column_stack([
        np.ones(len(labels)), labels, log_losses(labels, probabilities), gaps**2,
        residuals, residuals * scores, curvature, curvature * scores, curvature * scores**2,
        bin_matrix(equal_mass_bins(probabilities)) * gaps[:, None],
    ])  # fmt: skip
    order = np.argsort(probabilities, kind="stable")
    positives, negatives = order[labels[order] == 1], order[labels[order] != 1]
    below = np.searchsorted(probabilities[negatives], probabilities[positives], "left")
    not_above = np.searchsorted(probabilities[negatives], probabilities[positives], "right")
    return _Prepared(line, by_customer(columns, customers), positives, negatives, below, not_above)


@dataclass(frozen=True, slots=True)
class Resampled:
    """Metrics on the sample itself, shape (METRICS,), and on its resamples, (METRICS, resamples)."""

    estimates: Array
    draws: Array

    def interval(self, metric: str) -> Interval:
        """The metric with its 95 % interval."""
        at = METRICS.index(metric)
        return interval_of(float(self.estimates[at]), self.draws[at])

    def difference(self, other: Resampled, metric: str) -> Interval:
        """This minus `other`, resample by resample: what both share cancels."""
        at = METRICS.index(metric)
        return interval_of(float(self.estimates[at] - other.estimates[at]), self.draws[at] - other.draws[at])


def resample(
    labels: Array,
    probabilities: Mapping[str, Array],
    customers: Customers,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Resampled]:
    """Metrics of every model on the same resamples of customers.

    Bins of the calibration error stay those of the whole sample. That error is an absolute value, so its
    resamples lie above it on average: read its interval as an upper one.
    """
    prepared = {name: _prepare(labels, values, customers) for name, values in probabilities.items()}
    draws: dict[str, list[Array]] = {name: [] for name in prepared}
    for counts, weights in _counts_and_weights(customers, resamples, seed):
        for name, model in prepared.items():
            draws[name].append(model.metrics(counts, weights))
    once, whole = np.ones((1, int(customers.max()) + 1)), np.ones((1, len(labels)))
    return {
        name: Resampled(model.metrics(once, whole)[:, 0], np.concatenate(draws[name], axis=1))
        for name, model in prepared.items()
    }
