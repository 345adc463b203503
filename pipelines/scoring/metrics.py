"""How good probabilities are: log-loss, AUC, Brier, calibration error and its noise floor, slope.

`labels` are 0 or 1 and `probabilities` in [0, 1], both of shape (rows,), everywhere here.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import rankdata

Array: TypeAlias = NDArray[np.float64]
BINS = 10
# No model is charged more than -log(1e-12) = 27.6 nats for one row, whatever it was sure of.
_SURE = 1e-12


def log_odds(probabilities: Array) -> Array:
    """Log-odds, finite also for 0 and 1."""
    return np.asarray(logit(np.clip(probabilities, _SURE, 1.0 - _SURE)), dtype=np.float64)


def log_losses(labels: Array, probabilities: Array) -> Array:
    """Each row's negative log-likelihood in nats."""
    sure = np.clip(probabilities, _SURE, 1.0 - _SURE)
    return np.asarray(-np.where(labels == 1, np.log(sure), np.log1p(-sure)), dtype=np.float64)


def auc(labels: Array, probabilities: Array) -> float:
    """Chance that a random positive has the higher probability, ties counted half (Mann-Whitney).

    NaN where one class is missing.
    """
    positives = float(np.sum(labels == 1))
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(probabilities)
    above = float(ranks[labels == 1].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def equal_mass_bins(probabilities: Array, bins: int = BINS) -> NDArray[np.int64]:
    """Bin number of each row, from 0, about equally many rows a bin.

    Equal probabilities are never parted, so there are fewer bins where many rows tie, one for a constant.
    """
    edges = np.quantile(probabilities, np.linspace(0.0, 1.0, bins + 1)[1:-1])
    crowded = np.searchsorted(np.unique(edges), probabilities, side="left")
    return np.unique(crowded, return_inverse=True)[1].astype(np.int64)


def bin_matrix(numbers: NDArray[np.int64]) -> Array:
    """Shape (rows, bins): 1.0 where a row is in a bin."""
    return np.asarray(numbers[:, None] == np.arange(int(numbers.max()) + 1), dtype=np.float64)


def calibration_error(labels: Array, probabilities: Array, bins: int = BINS) -> float:
    """Expected calibration error: mean over equal-mass bins, by rows, of |mean probability - rate of positives|."""
    members = bin_matrix(equal_mass_bins(probabilities, bins))
    return float(np.abs((probabilities - labels) @ members).sum() / len(labels))


def simulated_rates(probabilities: Array, bins: int = BINS, simulations: int = 500, seed: int = 0) -> Array:
    """Rates of positives a bin, shape (simulations, bins), if the probabilities were exactly right."""
    numbers = equal_mass_bins(probabilities, bins)
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chances = probabilities[order]
    generator = np.random.default_rng(seed)
    drawn = np.empty((simulations, len(sizes)))
    for number in range(simulations):
        drawn[number] = np.add.reduceat(generator.random(len(chances)) < chances, starts, dtype=np.int64)
    return drawn / sizes


def noise_floor(probabilities: Array, bins: int = BINS, simulations: int = 500, seed: int = 0) -> float:
    """The calibration error expected of perfectly calibrated probabilities on a sample like this one.

    An estimate near it shows no miscalibration: bins of finite size never meet their mean exactly.
    """
    return floor_of(probabilities, simulated_rates(probabilities, bins, simulations, seed), bins)


def floor_of(probabilities: Array, rates: Array, bins: int = BINS) -> float:
    """The noise floor where `simulated_rates` are there already."""
    members = bin_matrix(equal_mass_bins(probabilities, bins))
    sizes = members.sum(axis=0)
    errors = np.abs(rates - probabilities @ members / sizes) @ sizes / len(probabilities)
    return float(errors.mean())


def calibration_line(labels: Array, scores: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Intercept and slope of the logistic regression of the label on log-odds (Cox 1958; Platt 1999).

    Perfect calibration is 0 and 1. A slope under 1 means probabilities too extreme.

    Args:
        labels: 0 or 1, shape (rows,).
        scores: log-odds, shape (rows,).
        weights: shape (resamples, rows); one line a resample. Absent: one line, every row once.

    Returns:
        Intercepts and slopes, shape (resamples,); NaN where all scores are equal, or one class is missing.
    """
    rows = np.ones((1, len(labels))) if weights is None else weights
    spread = float(np.std(scores))
    lines = np.zeros((len(rows), 2))
    if spread < 1e-9:
        return np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    if weights is not None:
        # Resamples start at the line of the whole sample, where few steps are needed.
        start = calibration_line(labels, scores)
        lines[:] = float(start[0][0]), float(start[1][0])
    for _ in range(40 if weights is None else 5):
        lines = lines + _newton_step(lines, labels, scores, rows)
    positive = rows @ labels
    lines[(positive == 0) | (positive == rows.sum(axis=1))] = np.nan
    return lines[:, 0], lines[:, 1]


def _newton_step(lines: Array, labels: Array, scores: Array, weights: Array) -> Array:
    """Next Newton step of each line, shape (resamples, 2); long steps are cut so that none overshoots."""
    rates = expit(lines[:, :1] + lines[:, 1:] * scores)
    residuals = weights * (labels - rates)
    curvature = weights * rates * (1.0 - rates)
    # The ridge only keeps separable samples finite.
    ridge = 1e-9 * weights.sum(axis=1)
    constant = curvature.sum(axis=1) + ridge
    mixed, squared = curvature @ scores, curvature @ scores**2 + ridge
    up, tilt = residuals.sum(axis=1), residuals @ scores
    determinant = constant * squared - mixed**2
    steps = np.stack([squared * up - mixed * tilt, constant * tilt - mixed * up], axis=1) / determinant[:, None]
    return np.asarray(np.clip(steps, -2.0, 2.0), dtype=np.float64)


def on_line(probabilities: Array, intercept: float, slope: float) -> Array:
    """Probabilities moved along a calibration line: sigmoid(intercept + slope * log-odds)."""
    return np.asarray(expit(intercept + slope * log_odds(probabilities)), dtype=np.float64)


def known(value: float) -> float | None:
    """None for NaN: JSON has no such number."""
    return float(value) if np.isfinite(value) else None
