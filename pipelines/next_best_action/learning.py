"""Which learner decides best, judged on customers that it has not seen, and whether that is shown at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipelines.boosting import ROWS_WORTH_THREADS
from pipelines.console import progress
from pipelines.next_best_action.candidates import (
    CONSTANT,
    JUDGED_BY,
    GainFigures,
    PolicyFigures,
    best_constant,
    effect_policy,
    figures,
    gain,
    gains_at_once,
    simple_policies,
    title_of,
)
from pipelines.next_best_action.policies import NO_ACTION
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.logged import Array
from pipelines.settings.models import ActionModelConfig
from pipelines.uplift.base import Fit
from pipelines.uplift.doubly_robust import cross_fitted_responses
from pipelines.uplift.learners import cross_fitted, fit_effects
from pipelines.uplift.rows import FittedEffects
from pipelines.uplift.tuning import CAUTIOUS, CAUTIOUS_ROUNDS, TunedEffects, tuned


@dataclass(frozen=True, slots=True)
class Choice:
    """`learner` is registered: the one that is shown to be better than `reference`, else `constant`.

    `reference` is the best of those that treat all alike: one arm to all, or one effect for all weighed with what each
    customer is worth. `best` is the learner with the highest value, `gain` its gain over the reference. `policies` and
    `gains` (each learner over the reference, with intervals that hold for all of them at once) are cross-fitted on the
    train part. `searches` are by learner.
    """

    learner: str
    best: str
    reference: str
    gain: GainFigures
    policies: tuple[PolicyFigures, ...]
    gains: tuple[GainFigures, ...]
    searches: Mapping[str, TunedEffects]
    recommendation: str

    @property
    def params(self) -> dict[str, Any]:
        """LightGBM's parameters of what is registered; none of a constant."""
        return {} if self.learner == CONSTANT else self.searches[self.learner].params

    @property
    def rounds(self) -> int:
        return 0 if self.learner == CONSTANT else self.searches[self.learner].rounds


def threads_for(trial: Trial) -> int:
    """On few rows threads wait for each other longer than they work."""
    return 1 if len(trial.rows.reward) < ROWS_WORTH_THREADS else len(os.sched_getaffinity(0))


def choose(trial: Trial, config: ActionModelConfig) -> Choice:
    """Tune every learner and compare policies, each row by models of other customers."""
    threads, seed = threads_for(trial), config.tune.seed
    searches: dict[str, TunedEffects] = {}
    names: tuple[str, ...] = config.learners
    for learner in names:
        with progress(f"Tuning the {title_of(learner)}"):
            searches[learner] = tuned(
                learner, trial.rows, trial.fold, trials=config.tune.trials, rounds=config.tune.rounds,
                seconds=config.tune.budget_seconds / len(config.learners), seed=seed, threads=threads,
            )  # fmt: skip
    expected = cross_fitted_responses(trial.rows, trial.fold, nuisance_fit(seed, threads))
    policies = simple_policies(trial, expected)
    for learner, params, rounds in (
        (CONSTANT, {}, 1), *((name, found.params, found.rounds) for name, found in searches.items())
    ):  # fmt: skip
        found = cross_fitted(learner, trial.rows, trial.fold, params, rounds, seed, threads)
        policies[learner] = effect_policy(trial, found.effects)
    made = figures(trial, policies, expected, (JUDGED_BY,))
    by_name = {row.name: row for row in made}
    reference = max(best_constant(made), by_name[CONSTANT], key=lambda row: row.value).name
    best = max(names, key=lambda name: by_name[name].value)
    gains = {CONSTANT: gain(trial, policies, CONSTANT, reference, expected)}
    gains |= gains_at_once(trial, policies, names, reference, expected)
    learner = best if gains[best].is_shown else CONSTANT
    return Choice(
        learner, best, reference, gains[best], made, tuple(gains.values()), searches,
        recommendation(learner, best, reference, gains[best], trial.drawn),
    )  # fmt: skip


def fit_chosen(trial: Trial, choice: Choice, config: ActionModelConfig) -> FittedEffects:
    """The chosen learner on all rows."""
    return fit_effects(
        choice.learner, trial.rows, choice.params, choice.rounds or 1, config.tune.seed, threads_for(trial)
    )


def nuisance_fit(seed: int, threads: int) -> Fit:
    """How expected rewards are fitted that estimates lean on: alike for all policies, whatever was tuned."""
    return Fit(CAUTIOUS, CAUTIOUS_ROUNDS, seed, threads)


def expected_by(train: Trial, test: Trial, seed: int) -> Array:
    """Expected rewards of the test rows under each arm, shape (n, k), by boosters of the train rows."""
    fitted = fit_effects("t", train.rows, CAUTIOUS, CAUTIOUS_ROUNDS, seed, threads_for(train))
    return np.asarray(fitted.response(test.rows.columns), dtype=np.float64)


def recommendation(learner: str, best: str, reference: str, found: GainFigures, drawn: bool) -> str:
    """What follows from the comparison, in a sentence or two."""
    told = _recommended(learner, best, reference, found)
    return told if drawn else f"No ground to decide by, since nobody drew the actions. If somebody had: {told}"


def _recommended(learner: str, best: str, reference: str, found: GainFigures) -> str:
    interval = f"{found.value:+.4g} money a decision [{found.low:+.4g}, {found.high:+.4g}]"
    against = "doing nothing" if reference == NO_ACTION else title_of(reference)
    if learner != CONSTANT:
        return f"Decide by the {title_of(best)}: {interval} over {against}, the best that treats all alike."
    told = {
        NO_ACTION: "Nothing is shown to beat doing nothing",
        CONSTANT: "Nothing is shown to beat one effect for all, weighed with what each customer is worth",
    }.get(reference, f"Nothing is shown to beat {against}")
    return f"{told}: the best learner, {title_of(best)}, brings {interval}. One effect for all is registered."


def searches_as_json(searches: Mapping[str, TunedEffects]) -> dict[str, Any]:
    """By learner, for `training.json`."""
    return {name: asdict(found) for name, found in searches.items()}
