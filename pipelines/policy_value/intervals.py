"""Intervals over whole customers, from what each decision adds to a mean.

The standard error is that of the influence function, summed within customers (cluster-robust; Liang and Zeger 1986):
with contributions c_i of n decisions, their mean v and s_g = sum over decisions i of customer g of (c_i - v),

    se² = G / (G - 1) * sum over customers s_g² / n²

The interval takes the 97.5 % quantile of Student's t. Few large weights make se itself uncertain, so the degrees of
freedom are Satterthwaite's (1946), 2 / (squared coefficient of variation of se²), with the spread of s_g² as seen,

    2 (sum s_g²)² / sum (s_g² - mean of s_g²)²

and at most G - 1, about what they are where s_g is normal.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipelines.policy_value.logged import Array

LEVEL = 0.95


def standard_error(contributions: Array, cluster: NDArray[np.int64]) -> float:
    """Of the mean of `contributions`, shape (n,), where rows of one number in `cluster` belong together.

    NaN where there is one customer only, since one does not vary.
    """
    return _error(_sums(contributions, cluster), len(contributions))


def standard_error_of_groups(contributions: Array, places: NDArray[np.int64]) -> float:
    """As above, where `places` counts customers from 0 without gaps."""
    return _error(_sums_of_groups(contributions, places), len(contributions))


def half_width(contributions: Array, cluster: NDArray[np.int64], bias: float = 0.0) -> tuple[float, float]:
    """The standard error of the mean, with a `bias` that is known of, and half the width of its 95 % interval."""
    sums = _sums(contributions, cluster)
    error = math.hypot(_error(sums, len(contributions)), bias)
    return error, error * float(stdtrit(_degrees(sums), (1 + LEVEL) / 2)) if len(sums) > 1 else math.nan


def widening(contributions: Array, cluster: NDArray[np.int64], draws: int = 4000, seed: int = 7) -> float:
    """How many times wider the intervals of m means have to be so that all of them hold at once in 95 of 100 logs.

    `contributions` has shape (n, m). The best of several policies looks better than it is; its interval holds if those
    of all do. The 95 % quantile of the largest |mean| / se over the m means, under multipliers drawn for whole
    customers (Chernozhukov, Chetverikov and Kato 2013), over that of one mean drawn alike. It is 1 for one mean, or for
    means that move together, and at most about what m comparisons apart would ask for.
    """
    sums = np.stack([_sums(column, cluster) for column in contributions.T], axis=1)
    error = np.sqrt((sums**2).sum(axis=0))
    moving = sums[:, error > 0] / error[error > 0]
    if moving.shape[1] < 2:
        return 1.0
    drawn = np.abs(np.random.default_rng(seed).standard_normal((draws, len(moving))) @ moving)
    of_one = np.quantile(drawn, LEVEL, axis=0).mean()
    return max(1.0, float(np.quantile(drawn.max(axis=1), LEVEL) / of_one))


def _sums(contributions: Array, cluster: NDArray[np.int64]) -> Array:
    """s_g, shape (customers,)."""
    _, places = np.unique(cluster, return_inverse=True)
    return _sums_of_groups(contributions, places)


def _sums_of_groups(contributions: Array, places: NDArray[np.int64]) -> Array:
    return np.bincount(places, weights=contributions - contributions.mean()).astype(np.float64, copy=False)


def _error(sums: Array, rows: int) -> float:
    groups = len(sums)
    if groups < 2:
        return math.nan
    return math.sqrt(groups / (groups - 1) * float(sums @ sums)) / rows


def _degrees(sums: Array) -> float:
    squares = sums**2
    varied = float(((squares - squares.mean()) ** 2).sum())
    most = len(sums) - 1.0
    return min(most, max(1.0, 2 * float(squares.sum()) ** 2 / varied)) if varied else most
