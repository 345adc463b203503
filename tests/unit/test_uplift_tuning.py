from __future__ import annotations

import numpy as np
import pytest

from pipelines.uplift.base import Fit, customer_folds
from pipelines.uplift.doubly_robust import cross_fitted_responses, pseudo_effects, pseudo_outcomes
from pipelines.uplift.learners import cross_fitted
from pipelines.uplift.tuning import CAUTIOUS, TunedEffects, dr_loss, referee, tuned
from tests.unit.uplift_parts import GENTLE, made_up_trial

TRIAL = made_up_trial(2000)
FOLD = customer_folds(TRIAL.rows.cluster, 3, 1)


def test_pseudo_outcomes_by_hand() -> None:
    rows = TRIAL.rows
    expected = np.tile([1.0, 2.0, 3.0], (len(rows.reward), 1))
    psi = pseudo_outcomes(rows, expected)
    at = int(np.flatnonzero(rows.action == 2)[0])
    assert psi[at].tolist() == [1.0, 2.0, 3.0 + (rows.reward[at] - 3.0) / rows.propensity[at]]
    np.testing.assert_array_equal(pseudo_effects(rows, expected)[at], [1.0, psi[at, 2] - 1.0])


def test_pseudo_effects_are_right_on_average_whatever_the_boosters_say() -> None:
    trial = made_up_trial(20_000)
    wrong = np.tile([5.0, -3.0, 2.0], (20_000, 1))
    for wanting in (True, False):
        chosen = (np.nan_to_num(trial.rows.columns[:, 0]) > 0) == wanting
        found = pseudo_effects(trial.rows, wrong)[chosen]
        error = found.std(axis=0) / np.sqrt(chosen.sum())
        assert (np.abs(found.mean(axis=0) - trial.effects[chosen].mean(axis=0)) < 4 * error).all()
    fold = customer_folds(trial.rows.cluster, 3, 1)
    good = cross_fitted_responses(trial.rows, fold, Fit(GENTLE, 60, 7, 1))
    assert pseudo_effects(trial.rows, good).var() < 0.3 * pseudo_effects(trial.rows, wrong).var()


def test_the_loss_puts_learners_in_the_order_of_their_true_errors() -> None:
    pseudo = referee(TRIAL.rows, FOLD, 7, 1)
    losses, errors = [], []
    for learner, rounds in (("t", 60), ("constant", 1), ("t", 3)):
        effects = cross_fitted(learner, TRIAL.rows, FOLD, GENTLE, rounds, 7, 1).effects
        losses.append(dr_loss(effects, pseudo))
        errors.append(float(((effects - TRIAL.effects) ** 2).mean()))
    assert errors == sorted(errors)
    assert losses == sorted(losses)
    # The noise of psi is the same for all, so losses differ by as much as errors do.
    assert losses[1] - losses[0] == pytest.approx(errors[1] - errors[0], rel=0.4)


def search(trials: int, seconds: float = 60.0) -> TunedEffects:
    return tuned("t", TRIAL.rows, FOLD, trials=trials, seconds=seconds, rounds=40, seed=3, threads=1)


def test_a_search_finds_no_worse_than_the_defaults_and_the_same_again() -> None:
    found = search(4)
    assert found.trials == 4
    assert found.best_loss <= found.default_loss < found.constant_loss
    again = cross_fitted("t", TRIAL.rows, FOLD, found.params, found.rounds, 3, 1).effects
    assert dr_loss(again, referee(TRIAL.rows, FOLD, 3, 1)) == found.best_loss
    second = search(4)
    assert (second.params, second.rounds, second.best_loss) == (found.params, found.rounds, found.best_loss)


def test_budgets_are_kept() -> None:
    once = search(1)
    assert (once.trials, once.params, once.rounds) == (1, dict(CAUTIOUS), 40)
    assert once.best_loss == once.default_loss
    assert search(50, seconds=0.0).trials == 2, "the defaults are tried whatever the time"
