"""Weights that are cut or shrunk, and how far: by the data, so that bias and variance together are least.

With importance weights w, expected rewards q and shrunk weights u(w), a doubly-robust estimator adds u * (r - q)
to what the reward model expects, which biases it by E[(w - u)(r - q)]. By Cauchy and Schwarz the square of that is at
most E[w (r - q)²] * E[(w - u)² / w]. So of each candidate the mean squared error is bounded, all means over the log, by

    se(c)² + mean(w (r - q)²) * mean((w - u)² / w),   c = sum over a of policy * q + u * (r - q)

with se of intervals.py, and the candidate of the least bound is taken; DR itself, u = w, is always one. After Wang,
Agarwal and Dudík (2017, "Optimal and adaptive off-policy evaluation in contextual bandits", section 4: variance plus a
bound of the squared bias) and Su, Dimakopoulou, Krishnamurthy and Dudík (2020, "Doubly robust off-policy evaluation
with shrinkage", section 5). Only chances of what was chosen need to be known.

The bias is bounded and not estimated from the rewards that are cut: such an estimate is as noisy as they are, cuts too
much where it happens to be small, and intervals then hold the truth too seldom. The price is that Switch-DR, which can
only keep a weight or drop it whole, hardly ever drops one: what that can cost is as much as it saves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.policy_value.intervals import standard_error_of_groups
from pipelines.policy_value.logged import Array

CANDIDATES = 30


def switched(weights: Array, threshold: float) -> Array:
    """Weights of Switch-DR (Wang et al. 2017): w up to `threshold`, 0 above. Infinite is DR, 0 is DM."""
    return np.where(weights <= threshold, weights, 0.0)


def optimistic(weights: Array, shrinkage: float) -> Array:
    """Weights of DRos (Su et al. 2020, optimistic shrinkage): λ w / (w² + λ). Infinite λ is DR, 0 is DM."""
    if math.isinf(shrinkage):
        return weights
    if shrinkage == 0:
        return np.zeros_like(weights)
    return shrinkage * weights / (weights**2 + shrinkage)


def best_threshold(weights: Array, expected: Array, residuals: Array, cluster: NDArray[np.int64]) -> float:
    """The threshold of the least bound among quantiles of the weights, 0 and infinity; see above.

    Shapes (n,): `expected` is sum over a of policy * q, `residuals` are r - q of the action that was chosen.
    """
    positive = weights[weights > 0]
    if not len(positive):
        return math.inf
    # Dense where few weights are cut.
    quantiles = np.quantile(positive, 1 - np.geomspace(1 / len(positive), 1, CANDIDATES))
    candidates = [math.inf, *sorted(set(map(float, quantiles)), reverse=True), 0.0]
    return _best(switched, candidates, weights, expected, residuals, cluster)


def best_shrinkage(weights: Array, expected: Array, residuals: Array, cluster: NDArray[np.int64]) -> float:
    """λ of the least bound, 0, infinity, or between a hundredth of the smallest w² and 10,000 times the largest."""
    positive = weights[weights > 0]
    if not len(positive):
        return math.inf
    low, high = float(positive.min()) ** 2 / 100, float(positive.max()) ** 2 * 10_000
    candidates = [math.inf, *map(float, np.geomspace(high, low, CANDIDATES)), 0.0]
    return _best(optimistic, candidates, weights, expected, residuals, cluster)


def _best(
    shrunk: Callable[[Array, float], Array],
    candidates: list[float],
    weights: Array,
    expected: Array,
    residuals: Array,
    cluster: NDArray[np.int64],
) -> float:
    """The first candidate of the least bound; the mildest stands first."""
    _, places = np.unique(cluster, return_inverse=True)
    residual = float((weights * residuals**2).mean())
    positive = weights > 0

    def error(candidate: float) -> float:
        used = shrunk(weights, candidate)
        lost = np.divide((weights - used) ** 2, weights, out=np.zeros_like(weights), where=positive)
        return standard_error_of_groups(expected + used * residuals, places) ** 2 + residual * float(lost.mean())

    return min(candidates, key=error)
