"""Doubly-robust pseudo-outcomes: each row's unbiased, noisy guess of the reward under each action.

psi_a = mu_a(x) + 1{A = a} (Y - mu_a(x)) / p, with mu of customers other than the row's own and p the chance with which
the row's own action A was drawn. Its mean is right where p is, whatever mu says; good mu make it less noisy
(Robins, Rotnitzky & Zhao 1994; as a target of regression: Kennedy 2023, arXiv 2004.14497).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.uplift.base import Fit, arm_boosters, check_arms, part, predicted
from pipelines.uplift.rows import Array, TrialRows


def pseudo_outcomes(rows: TrialRows, expected: Array) -> Array:
    """psi, shape (n, m + 1), in units of the reward; `expected` (n, m + 1) are the mu, the control's first.

    Chances are not clipped: they were drawn with, not estimated.
    """
    psi = expected.copy()
    own = (np.arange(len(rows.action)), rows.action)
    psi[own] += (rows.reward - expected[own]) / rows.propensity
    return psi


def pseudo_effects(rows: TrialRows, expected: Array) -> Array:
    """psi_a - psi_control for each action, shape (n, m): what a learner of effects is held against.

    Where an action could not be drawn, psi_a is what mu says and nothing else.
    """
    psi = pseudo_outcomes(rows, expected)
    return psi[:, 1:] - psi[:, :1]


def cross_fitted_responses(rows: TrialRows, fold: NDArray[np.int64], fit: Fit) -> Array:
    """Expected rewards under each arm, shape (n, m + 1), by one booster an arm of the other folds.

    Raises:
        UserError: the other folds of one hold no row of an arm.
    """
    expected = np.empty((len(rows.reward), len(rows.actions) + 1))
    for number in np.unique(fold):
        own = fold == number
        others = part(rows, ~own)
        check_arms(others, f"the rows outside fold {number}")
        for arm, booster in enumerate(arm_boosters(others, fit)):
            expected[own, arm] = predicted(booster, rows.columns[own])
    return expected
