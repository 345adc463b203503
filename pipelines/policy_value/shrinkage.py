"""Weights that are cut or shrunk, and how far: by the data, so that bias and variance together are least.

With importance weights w, expected rewards q and shrunk weights u(w), a doubly-robust estimator adds u * (r - q)
to what the reward model expects. Of each candidate the mean squared error is estimated as

    var(c_u) + (mean(c_u) - mean(c_w))²,   c_u = sum over a of policy * q + u * (r - q)

where the variance is that of intervals.py, and the second term is the bias of u as the log itself shows it, since c_w
(DR) is unbiased. Its square is too large by the variance of the difference, so that shrinking has to earn its place.
The candidate with the least is taken, and DR itself is always one. After Wang, Agarwal and Dudík (2017, "Optimal and
adaptive off-policy evaluation in contextual bandits", section 4) and Su, Dimakopoulou, Krishnamurthy and Dudík (2020,
"Doubly robust off-policy evaluation with shrinkage", section 5): both bound the bias where we estimate it, because
the chances of actions that were not chosen are not logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.policy_value.intervals import standard_error_of_groups
from pipelines.policy_value.logged import Array

CANDIDATES = 20


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
    """The threshold of least estimated error among quantiles of the weights, 0 and infinity; see above.

    Shapes (n,): `expected` is sum over a of policy * q, `residuals` are r - q of the action that was chosen.
    """
    quantiles = np.quantile(weights[weights > 0], np.linspace(0.5, 1.0, CANDIDATES)) if (weights > 0).any() else []
    candidates = [math.inf, *sorted(set(map(float, quantiles)), reverse=True), 0.0]
    return _best(switched, candidates, weights, expected, residuals, cluster)


def best_shrinkage(weights: Array, expected: Array, residuals: Array, cluster: NDArray[np.int64]) -> float:
    """λ of least estimated error, between a hundredth of the smallest w² and 10,000 times the largest."""
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
    """The first candidate of the least error; the mildest stands first."""
    _, places = np.unique(cluster, return_inverse=True)
    whole = float((expected + weights * residuals).mean())

    def error(candidate: float) -> float:
        made = expected + shrunk(weights, candidate) * residuals
        return standard_error_of_groups(made, places) ** 2 + (float(made.mean()) - whole) ** 2

    return min(candidates, key=error)
