"""Intervals over whole customers, from what each decision adds to a mean.

The standard error is that of the influence function, summed within customers (cluster-robust; Liang and Zeger 1986):
with contributions c_i of n decisions of G customers and their mean v,

    se² = G / (G - 1) * sum over customers g of (sum over i in g of (c_i - v))² / n²

and the interval takes the 97.5 % quantile of Student's t with G - 1 degrees of freedom.
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
    _, places = np.unique(cluster, return_inverse=True)
    return standard_error_of_groups(contributions, places)


def standard_error_of_groups(contributions: Array, places: NDArray[np.int64]) -> float:
    """As above, where `places` counts customers from 0 without gaps."""
    sums = np.bincount(places, weights=contributions - contributions.mean())
    groups = len(sums)
    if groups < 2:
        return math.nan
    return math.sqrt(groups / (groups - 1) * float(sums @ sums)) / len(contributions)


def interval(value: float, error: float, clusters: int) -> tuple[float, float]:
    """Low and high end of the 95 % interval around `value`, of `clusters` customers."""
    half = float(stdtrit(clusters - 1, (1 + LEVEL) / 2)) * error if clusters > 1 else math.nan
    return value - half, value + half
