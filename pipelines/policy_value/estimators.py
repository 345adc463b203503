"""Six estimators of a policy's value, each as what every decision adds to a mean.

With w = policy(a | x) / propensity of the action that was chosen, q the reward model and m = sum over a of
policy(a | x) * q(x, a), a decision contributes

    dm         m                                   direct method; as good as the reward model
    ips        w r                                 inverse propensity score (Horvitz and Thompson 1952)
    snips      v + w (r - v) / mean(w)             self-normalised, v = sum w r / sum w (Swaminathan and Joachims 2015);
                                                   its linearised influence function
    dr         m + w (r - q)                       doubly robust (Dudík, Langford and Li 2011)
    switch_dr  m + w (r - q) where w <= threshold, else m      (Wang, Agarwal and Dudík 2017)
    dr_os      m + λ w / (w² + λ) * (r - q)        optimistic shrinkage (Su et al. 2020)

Value, standard error and the paired gain of two policies all come from these contributions. How far weights are cut or
shrunk is chosen by the data (shrinkage.py); the distance from `dr` that this makes, which is unbiased, widens the
interval: its half width is t * sqrt(se² + distance²). The interval
of `dm` says how the mean of predictions varies over customers and nothing of the model's error.
A policy may be None, the log itself: its value is the mean of the rewards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from pipelines.policy_value.checks import check_inputs
from pipelines.policy_value.diagnostics import importance_weights, support_of
from pipelines.policy_value.intervals import interval, standard_error
from pipelines.policy_value.logged import Array, Estimate, Expected, Gain, Logged, Policy
from pipelines.policy_value.shrinkage import best_shrinkage, best_threshold, optimistic, switched

Estimator: TypeAlias = Literal["dm", "ips", "snips", "dr", "switch_dr", "dr_os"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)
# Whose value reads the reward model.
WITH_MODEL: tuple[Estimator, ...] = ("dm", "dr", "switch_dr", "dr_os")
TITLES: dict[Estimator, str] = {
    "dm": "DM", "ips": "IPS", "snips": "SNIPS", "dr": "DR", "switch_dr": "Switch-DR", "dr_os": "DRos",
}  # fmt: skip

MODEL_ERROR_IGNORED = "the interval of DM leaves out the error of the reward model, so it is too narrow"


@dataclass(frozen=True, slots=True)
class Contributions:
    """What each decision adds to the value, shape (n,), and the bias of the shrinking that is in it, as estimated."""

    rows: Array
    bias: float = 0.0

    @property
    def value(self) -> float:
        return float(self.rows.mean())

    def minus(self, other: Contributions) -> Contributions:
        """Of the gain over `other`, paired by decision."""
        return Contributions(self.rows - other.rows, self.bias - other.bias)


def value_of(estimator: Estimator, logged: Logged, policy: Policy | None, expected: Expected) -> Estimate:
    """What `policy` is worth a decision. `expected` must not have learned from the row it is asked about.

    Raises:
        UserError: with every mistake of the inputs.
    """
    check_inputs(logged, {} if policy is None else {"policy": policy}, expected)
    made = contributions(estimator, logged, policy, expected)
    low, high, error = _interval(made, logged)
    if policy is None:
        return Estimate(estimator, made.value, low, high, error, float(logged.rows))
    support = support_of(logged, policy)
    warnings = support.warnings + ((MODEL_ERROR_IGNORED,) if estimator == "dm" else ())
    return Estimate(estimator, made.value, low, high, error, support.effective_sample_size, warnings)


def gain_of(
    estimator: Estimator, logged: Logged, policy: Policy | None, other: Policy | None, expected: Expected
) -> Gain:
    """How much more `policy` brings a decision than `other`, on the same decisions.

    Raises:
        UserError: with every mistake of the inputs.
    """
    named = {"policy": policy, "other": other}
    check_inputs(logged, {name: item for name, item in named.items() if item is not None}, expected)
    one, another = (contributions(estimator, logged, item, expected) for item in (policy, other))
    made = one.minus(another)
    low, high, _ = _interval(made, logged)
    return Gain(estimator, made.value, low, high)


def contributions(estimator: Estimator, logged: Logged, policy: Policy | None, expected: Expected) -> Contributions:
    """What each decision adds; inputs are not checked. NaN by `snips` where the policy never agrees with the log."""
    if policy is None:
        return Contributions(logged.reward)
    weights = importance_weights(logged, policy)
    if estimator == "ips":
        return Contributions(weights * logged.reward)
    if estimator == "snips":
        return Contributions(_self_normalised(weights, logged.reward))
    # What is not eligible may have no expected reward at all.
    model = np.where(policy > 0, policy * expected, 0.0).sum(axis=1)
    if estimator == "dm":
        return Contributions(model)
    residuals = logged.reward - expected[np.arange(logged.rows), logged.action]
    whole = model + weights * residuals
    if estimator == "dr":
        return Contributions(whole)
    rows = model + _shrunk(estimator, weights, model, residuals, logged) * residuals
    return Contributions(rows, float(rows.mean() - whole.mean()))


def _shrunk(estimator: Estimator, weights: Array, model: Array, residuals: Array, logged: Logged) -> Array:
    if estimator == "switch_dr":
        return switched(weights, best_threshold(weights, model, residuals, logged.cluster))
    return optimistic(weights, best_shrinkage(weights, model, residuals, logged.cluster))


def _self_normalised(weights: Array, reward: Array) -> Array:
    mean = float(weights.mean())
    if mean == 0:
        return np.full(len(weights), np.nan)
    value = float((weights * reward).mean()) / mean
    return value + weights * (reward - value) / mean


def _interval(made: Contributions, logged: Logged) -> tuple[float, float, float]:
    """Low, high and the standard error, which counts the bias of shrinking."""
    error = math.hypot(standard_error(made.rows, logged.cluster), made.bias)
    low, high = interval(made.value, error, len(np.unique(logged.cluster)))
    return low, high, error
