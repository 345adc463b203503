"""One way to fit any learner of effects, on all rows or a fold at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.uplift.base import Fit, check_arms, part
from pipelines.uplift.meta_learners import LEARNERS
from pipelines.uplift.rows import Array, FittedEffects, TrialRows


@dataclass(frozen=True, slots=True)
class CrossFitted:
    """What models of other customers say of each row, in units of the reward.

    effects: float64 (n, m). responses: float64 (n, m + 1), expected rewards, the control's first.
    """

    effects: Array
    responses: Array


def fit_effects(
    learner: str, rows: TrialRows, params: Mapping[str, Any], rounds: int, seed: int, threads: int
) -> FittedEffects:
    """What each action changes, by `learner` (constant, s, t, x, dr) with `rounds` trees a booster.

    The same rows, parameters and seed give the same boosters on any number of threads.

    Raises:
        UserError: there is no such learner, an arm was never drawn, or a propensity is no chance.
    """
    return _fit(learner, rows, Fit(params, rounds, seed, threads), "the rows to learn from")


def cross_fitted(
    learner: str,
    rows: TrialRows,
    fold: NDArray[np.int64],
    params: Mapping[str, Any],
    rounds: int,
    seed: int,
    threads: int,
) -> CrossFitted:
    """As `fit_effects`, each row by a model of the other folds; `fold` (n,) has all rows of a customer in one.

    Raises:
        UserError: as `fit_effects`, also where the other folds of one lack an arm; or a customer is in two folds.
    """
    _check_folds(rows, fold)
    fit = Fit(params, rounds, seed, threads)
    effects = np.empty((len(rows.reward), len(rows.actions)))
    responses = np.empty((len(rows.reward), len(rows.actions) + 1))
    for number in np.unique(fold):
        own = fold == number
        fitted = _fit(learner, part(rows, ~own), fit, f"the rows outside fold {number}")
        effects[own], responses[own] = fitted.effect(rows.columns[own]), fitted.response(rows.columns[own])
    return CrossFitted(effects, responses)


def _fit(learner: str, rows: TrialRows, fit: Fit, where: str) -> FittedEffects:
    if learner not in LEARNERS:
        problem = Problem("learner", f"one of {', '.join(LEARNERS)}", learner)
        raise UserError("there is no such learner of effects", [problem])
    check_arms(rows, where)
    return LEARNERS[learner](rows, fit)


def _check_folds(rows: TrialRows, fold: NDArray[np.int64]) -> None:
    pairs = np.unique(np.stack([rows.cluster, fold]), axis=1)
    if len(np.unique(fold)) < 2 or pairs.shape[1] > len(np.unique(rows.cluster)):
        got = (
            f"{len(np.unique(fold))} folds, {pairs.shape[1] - len(np.unique(rows.cluster))} customers in more than one"
        )
        raise UserError(
            "effects cannot be cross-fitted", [Problem("fold", "two folds or more, each customer in one", got)]
        )
