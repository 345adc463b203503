"""What all learners of effects fit: one booster of a reward, or of an effect, in its units; and folds of customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from feature_repo.effect_model import Combination, EffectModel, Term
from pipelines.boosting import bin_values, parameters
from pipelines.console import UserError
from pipelines.uplift.rows import Array, FittedEffects, TrialRows


@dataclass(frozen=True, slots=True)
class Fit:
    """How a booster is fitted: LightGBM's `params`, how many trees (`rounds`), the seed, and how many threads."""

    params: Mapping[str, Any]
    rounds: int
    seed: int
    threads: int

    def booster(self, columns: Array, target: Array, names: Sequence[str]) -> lgb.Booster:
        """A booster of `target` (n,) over `columns` (n, k): squared loss, so sums and differences of boosters add up.

        `train` gives back what it reads from the text of what it fitted, so what is saved says the same, to the bit.
        """
        settings = parameters(
            {**self.params, "objective": "regression", "metric": "l2", "num_threads": self.threads},
            self.seed,
            len(columns),
        )
        binned = bin_values(np.ascontiguousarray(columns), target, list(names), self.seed)
        return lgb.train(settings, binned, self.rounds)


def predicted(booster: lgb.Booster, columns: Array) -> Array:
    """What a booster says of `columns` (n, k): shape (n,)."""
    return np.asarray(booster.predict(columns, raw_score=True), dtype=np.float64)


def arm_boosters(rows: TrialRows, fit: Fit) -> list[lgb.Booster]:
    """One booster of the reward an arm, of the arm's own rows; the control's first."""
    return [
        fit.booster(rows.columns[of_arm], rows.reward[of_arm], rows.inputs.names)
        for of_arm in (rows.action == arm for arm in range(len(rows.actions) + 1))
    ]


def response_name(arm: int) -> str:
    """The booster of the reward of an arm: 0 the control, i the i-th action, whose id may be any text."""
    return f"response_{arm}"


def response_combination(arm: int) -> Combination:
    """The expected reward under an arm, by its own booster."""
    return Combination(0.0, (Term(response_name(arm), 1.0),))


def with_responses(
    learner: str, rows: TrialRows, effects: Sequence[Combination], boosters: Mapping[str, lgb.Booster]
) -> FittedEffects:
    """A model whose expected rewards are those of one booster an arm, named by `response_name`."""
    control, *responses = (response_combination(arm) for arm in range(len(rows.actions) + 1))
    model = EffectModel(
        learner, rows.control, rows.actions, rows.inputs, tuple(effects), tuple(responses), control_response=control
    )
    return FittedEffects(model, dict(boosters))


def part(rows: TrialRows, chosen: NDArray[np.bool_]) -> TrialRows:
    """Some of the rows."""
    return replace(
        rows,
        columns=rows.columns[chosen],
        reward=rows.reward[chosen],
        action=rows.action[chosen],
        propensity=rows.propensity[chosen],
        cluster=rows.cluster[chosen],
        eligible=None if rows.eligible is None else rows.eligible[chosen],
    )


def customer_folds(cluster: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold from 0 to `folds` - 1 a row, shape (n,): all rows of a customer in one, as many customers in each."""
    customers, place = np.unique(cluster, return_inverse=True)
    dealt = np.arange(len(customers)) % folds
    return np.asarray(np.random.default_rng(seed).permutation(dealt)[place], dtype=np.int64)


def check_arms(rows: TrialRows, where: str = "the rows to learn from") -> None:
    """Check that every arm was drawn, with a known chance, and the control also where each action could be.

    Raises:
        UserError: an action, or the control beside it, was drawn in none of `rows`, or a propensity is not in (0, 1].
    """
    drawn = np.bincount(rows.action, minlength=len(rows.actions) + 1)
    problems = [
        Problem(name, "at least one decision for it", f"none in {where}", "leave it out, or explore until it was drawn")
        for name, count in zip((rows.control, *rows.actions), drawn.tolist(), strict=True)
        if not count
    ]
    control = rows.action == 0
    for arm, name in enumerate(rows.actions, 1):
        if control.any() and not (control & rows.could_get(arm)).any():
            expected = f"at least one decision for {rows.control} where {name} could be chosen"
            problems.append(Problem(name, expected, f"none in {where}", "leave it out, or explore until there is one"))
    wrong = ~((rows.propensity > 0.0) & (rows.propensity <= 1.0))
    if wrong.any():
        got = f"{rows.propensity[wrong][0]:g} in {int(wrong.sum()):,} of {len(wrong):,} rows"
        problems.append(Problem("propensity", "a chance above 0, up to 1", got, "log the chance of what was chosen"))
    if problems:
        raise UserError(f"effects cannot be learned: {where} do not hold every action", problems)
