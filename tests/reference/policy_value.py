"""The value of a policy the slow, obvious way: one decision after the other, in plain Python."""

from __future__ import annotations

import math
from collections import defaultdict

from pipelines.policy_value.logged import Expected, Logged, Policy


def terms(
    estimator: str, logged: Logged, policy: Policy, expected: Expected, parameter: float = math.inf
) -> list[float]:
    """What each decision adds; `parameter` is the threshold or the λ of the estimators that have one."""
    made = []
    for i in range(logged.rows):
        chosen = int(logged.action[i])
        weight = float(policy[i, chosen]) / float(logged.propensity[i])
        reward = float(logged.reward[i])
        model = sum(float(policy[i, a]) * float(expected[i, a]) for a in range(logged.actions) if policy[i, a] > 0)
        residual = reward - float(expected[i, chosen])
        if estimator == "dm":
            made.append(model)
        elif estimator in ("ips", "snips"):
            made.append(weight * reward)
        elif estimator == "dr":
            made.append(model + weight * residual)
        elif estimator == "switch_dr":
            made.append(model + (weight * residual if weight <= parameter else 0.0))
        else:
            shrunk = weight if math.isinf(parameter) else parameter * weight / (weight * weight + parameter)
            made.append(model + shrunk * residual)
    return made


def value(estimator: str, logged: Logged, policy: Policy, expected: Expected, parameter: float = math.inf) -> float:
    """The mean of the terms; SNIPS divides by the sum of the weights."""
    summed = sum(terms(estimator, logged, policy, expected, parameter))
    if estimator == "snips":
        weights = (policy[i, logged.action[i]] / logged.propensity[i] for i in range(logged.rows))
        return float(summed / sum(weights))
    return summed / logged.rows


def standard_error(terms: list[float], cluster: list[int]) -> float:
    """Of the mean, whole customers at a time."""
    mean = sum(terms) / len(terms)
    by_customer: defaultdict[int, float] = defaultdict(float)
    for term, customer in zip(terms, cluster, strict=True):
        by_customer[customer] += term - mean
    groups = len(by_customer)
    return math.sqrt(groups / (groups - 1) * sum(total**2 for total in by_customer.values())) / len(terms)
