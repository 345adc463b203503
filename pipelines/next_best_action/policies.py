"""Policies as chances of k arms, shape (n, k), from what each arm is expected to bring in money; 0 is the control."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.policy_value.logged import Array, Policy

NO_ACTION, RANDOM, PROPENSITY, LOGGED, CHAMPION = "no_action", "random", "propensity", "logged", "champion"
ALL = "all_"


def greedy(gains: Array, eligible: NDArray[np.bool_]) -> Policy:
    """The arm that brings most among those that are eligible; of equals the first, so no action before any."""
    allowed = np.where(eligible, gains, -np.inf)
    return _certain(np.argmax(allowed, axis=1), gains.shape[1])


def everybody(arm: int, eligible: NDArray[np.bool_]) -> Policy:
    """One arm to all; none to those for whom it is not eligible."""
    return _certain(np.where(eligible[:, arm], arm, 0), eligible.shape[1])


def at_random(eligible: NDArray[np.bool_]) -> Policy:
    """All eligible arms alike, no action among them."""
    return eligible / eligible.sum(axis=1, keepdims=True)


def _certain(arms: NDArray[np.int64], count: int) -> Policy:
    made = np.zeros((len(arms), count))
    made[np.arange(len(arms)), arms] = 1.0
    return made
