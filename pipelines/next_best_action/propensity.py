"""Chances of actions that nobody drew, estimated from what was known of the customer: a multinomial booster.

What is learned with them is associational: it is right only if the columns hold everything that decided.
"""

from __future__ import annotations

import lightgbm as lgb
import numpy as np

from pipelines.boosting import bin_values, parameters
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.logged import Array

# An estimated chance is not taken for less: one decision then stands for at most 50.
LOWEST = 0.02
ROUNDS = 60
_PARAMS = {
    "objective": "multiclass", "metric": "multi_logloss", "learning_rate": 0.05, "num_leaves": 8,
    "min_data_in_leaf": 30, "lambda_l2": 1.0,
}  # fmt: skip


def estimated(train: Trial, test: Trial, seed: int) -> tuple[Trial, Trial, tuple[str, ...]]:
    """Both parts with the chance of each row's own action, and notes; train rows by the rows of other folds."""
    chances = np.empty(len(train.rows.action))
    for number in np.unique(train.fold):
        own = train.fold == number
        chances[own] = _own(_booster(train.where(~own), seed), train.where(own))
    of_test = _own(_booster(train, seed), test)
    clipped = int((chances < LOWEST).sum()), int((of_test < LOWEST).sum())
    notes = (
        f"nobody drew the actions: their chances are estimated from the columns, and taken for {LOWEST:g} at least "
        f"({clipped[0]:,} rows of train and {clipped[1]:,} of test are)",
    )
    return (
        train.with_propensity(np.maximum(chances, LOWEST)),
        test.with_propensity(np.maximum(of_test, LOWEST)),
        notes,
    )


def _booster(trial: Trial, seed: int) -> lgb.Booster:
    rows = trial.rows
    settings = parameters({**_PARAMS, "num_class": len(trial.arms)}, seed, len(rows.columns))
    return lgb.train(settings, bin_values(rows.columns, rows.action, list(rows.inputs.names), seed), ROUNDS)


def _own(booster: lgb.Booster, trial: Trial) -> Array:
    told = np.asarray(booster.predict(trial.rows.columns), dtype=np.float64).reshape(len(trial.rows.action), -1)
    return told[np.arange(len(told)), trial.rows.action]
