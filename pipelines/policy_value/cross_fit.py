"""What each action is expected to bring, and with which chance it was chosen, learned from other customers.

Rows of a customer are in one fold, and what a row is told comes from models of the other folds: an estimator may then
add what is left of the row's own reward (Chernozhukov et al. 2018). Boosters are small, since a reward model for
evaluation has to be sound, not sharp. The same rows and seed give the same figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pipelines.policy_value.logged import Array, Expected

FOLDS = 5
ROUNDS = 60
# An estimated chance below this says more of the model than of who decided.
LEAST_CHANCE = 0.005
SMALL: dict[str, Any] = {
    "num_leaves": 8, "learning_rate": 0.05, "min_data_in_leaf": 30, "lambda_l2": 10.0, "verbosity": -1,
    "deterministic": True, "force_row_wise": True, "num_threads": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Context:
    """What was known when it was decided: float64 (n, k), NaN where empty; `categorical` columns hold codes."""

    columns: Array
    categorical: tuple[int, ...] = ()


def expected_rewards(
    context: Context, action: NDArray[np.int64], reward: Array, actions: int, cluster: NDArray[np.int64], seed: int = 7
) -> Expected:
    """Of every action in every row, shape (n, actions), in the unit of the reward.

    With no context column it is the mean of the action, else a booster over the context and the action. An action
    that the other folds do not have gets what they say of all.
    """
    made = np.full((len(action), actions), float(reward.mean()))
    for rows, others in _folds(cluster, seed):
        if context.columns.shape[1]:
            made[rows] = _boosted(context, action, reward, actions, rows, others, seed)
        else:
            made[rows] = _means(action[others], reward[others], actions)
    return made


def estimated_chances(
    context: Context, action: NDArray[np.int64], eligible: NDArray[np.bool_], cluster: NDArray[np.int64], seed: int = 7
) -> Array:
    """The chance of the action that was chosen, shape (n,), among what was eligible; at least LEAST_CHANCE.

    It is estimated from what others chose, so that it knows only what the context tells of who decided.
    """
    actions = eligible.shape[1]
    made = np.tile(np.bincount(action, minlength=actions) / len(action), (len(action), 1))
    for rows, others in _folds(cluster, seed):
        if context.columns.shape[1] and actions > 1:
            data = _dataset(context.columns[others], action[others], context.categorical)
            kind = {"objective": "multiclass", "num_class": actions, "seed": seed}
            booster = lgb.train({**SMALL, **kind}, data, num_boost_round=ROUNDS)
            made[rows] = booster.predict(context.columns[rows])
        else:
            made[rows] = np.bincount(action[others], minlength=actions) / others.sum()
    among = np.where(eligible, made, 0.0)
    chosen = among[np.arange(len(action)), action] / np.maximum(among.sum(axis=1), LEAST_CHANCE)
    return np.clip(chosen, LEAST_CHANCE, 1.0)


def _folds(cluster: NDArray[np.int64], seed: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Rows of each fold, and those of the others; nothing where there is one customer only."""
    _, places = np.unique(cluster, return_inverse=True)
    customers = int(places.max()) + 1
    count = min(FOLDS, customers)
    if count < 2:
        return
    fold = np.random.default_rng(seed).permutation(customers)[places] % count
    for number in range(count):
        yield fold == number, fold != number


def _means(action: NDArray[np.int64], reward: Array, actions: int) -> Array:
    counts = np.bincount(action, minlength=actions)
    sums = np.bincount(action, weights=reward, minlength=actions)
    return np.where(counts > 0, sums / np.maximum(counts, 1), reward.mean())


def _boosted(
    context: Context,
    action: NDArray[np.int64],
    reward: Array,
    actions: int,
    rows: NDArray[np.bool_],
    others: NDArray[np.bool_],
    seed: int,
) -> Array:
    learned = np.hstack([context.columns[others], np.eye(actions)[action[others]]])
    data = _dataset(learned, reward[others], context.categorical)
    booster = lgb.train({**SMALL, "objective": "regression", "seed": seed}, data, num_boost_round=ROUNDS)
    asked = context.columns[rows]
    return np.column_stack(
        [booster.predict(np.hstack([asked, np.tile(one, (len(asked), 1))])) for one in np.eye(actions)]
    )


def _dataset(columns: Array, label: NDArray[Any], categorical: tuple[int, ...]) -> lgb.Dataset:
    return lgb.Dataset(columns, label, categorical_feature=list(categorical), params={"verbosity": -1})
