from __future__ import annotations

import json
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from feature_repo.effect_model import check_adds_up, effects_from_json
from feature_repo.model_inputs import ModelInputs
from pipelines.console import UserError
from pipelines.uplift.base import customer_folds, part
from pipelines.uplift.learners import cross_fitted, fit_effects
from pipelines.uplift.meta_learners import LEARNERS
from pipelines.uplift.rows import FittedEffects, TrialRows
from pipelines.uplift.tuning import dr_loss
from tests.unit.uplift_parts import ACTIONS, GENTLE, made_up_trial

TRIAL = made_up_trial()
NEW = made_up_trial(500, seed=1)
BOOSTED = [name for name in LEARNERS if name != "constant"]


def fitted(learner: str, rows: TrialRows = TRIAL.rows, threads: int = 1) -> FittedEffects:
    return fit_effects(learner, rows, GENTLE, 60, 7, threads)


@pytest.mark.parametrize("learner", BOOSTED)
def test_known_effects_are_found_on_new_customers(learner: str) -> None:
    found = fitted(learner).effect(NEW.rows.columns)
    errors = np.sqrt(((found - NEW.effects) ** 2).mean(axis=0))
    flat = np.sqrt(((NEW.effects.mean(axis=0) - NEW.effects) ** 2).mean(axis=0))
    assert errors[0] < 0.5 * flat[0], f"{errors[0]:.2f}, where one effect for all misses by {flat[0]:.2f}"
    assert errors[1] < 0.3
    assert np.abs(found.mean(axis=0) - NEW.effects.mean(axis=0)).max() < 0.12


def test_a_constant_is_the_difference_of_means_weighted_by_chances() -> None:
    rows = TRIAL.rows
    means = [
        (rows.reward / rows.propensity)[rows.action == arm].sum() / (1.0 / rows.propensity)[rows.action == arm].sum()
        for arm in range(3)
    ]
    model = fitted("constant")
    np.testing.assert_allclose(model.effect(rows.columns[:2]), [[means[1] - means[0], means[2] - means[0]]] * 2)
    np.testing.assert_allclose(model.response(rows.columns[:1])[0], means)
    assert abs(means[2] - means[0] - 0.3) < 0.12
    bare = rows.reward[rows.action == 2].mean() - rows.reward[rows.action == 0].mean()
    assert bare < -0.2, "without the chances the call would look harmful"


@pytest.mark.parametrize("learner", LEARNERS)
def test_responses_are_expected_rewards(learner: str) -> None:
    told = fitted(learner).response(NEW.rows.columns)
    assert told.shape == (500, 3)
    habit = np.nan_to_num(NEW.rows.columns[:, 1])
    true = 2.0 * (habit > 0)[:, None] + np.hstack([np.zeros((500, 1)), NEW.effects])
    bound = 0.55 if learner != "constant" else 1.3
    assert np.sqrt(((told - true) ** 2).mean()) < bound
    assert np.abs(told.mean(axis=0) - true.mean(axis=0)).max() < 0.2


@pytest.mark.parametrize("unit", [1.0, 1e7])
@pytest.mark.parametrize("learner", LEARNERS)
def test_contributions_sum_to_the_effect(learner: str, unit: float) -> None:
    trial = made_up_trial(1500, unit=unit)
    model = fitted(learner, trial.rows)
    effects = model.effect(NEW.rows.columns)
    for at, action in enumerate(ACTIONS):
        made = model.contributions(action, NEW.rows.columns)
        assert made.shape == (500, 4)
        check_adds_up(made, effects[:, at])
    if learner != "constant":
        assert np.abs(model.contributions("coupon", NEW.rows.columns)[:, 0]).mean() > 0.2 * unit, "what decides counts"


@pytest.mark.parametrize("learner", LEARNERS)
def test_what_is_saved_says_the_same_to_the_bit(learner: str) -> None:
    model = fitted(learner)
    read = FittedEffects(
        effects_from_json(json.loads(json.dumps(model.model.to_json()))),
        {name: lgb.Booster(model_str=booster.model_to_string()) for name, booster in model.boosters.items()},
    )
    assert set(model.model.boosters) == set(model.boosters)
    assert read.model == model.model
    columns = NEW.rows.columns
    assert read.effect(columns).tobytes() == model.effect(columns).tobytes()
    assert read.response(columns).tobytes() == model.response(columns).tobytes()
    assert read.contributions("call", columns).tobytes() == model.contributions("call", columns).tobytes()


@pytest.mark.parametrize("learner", LEARNERS)
def test_the_same_seed_gives_the_same_on_any_number_of_threads(learner: str) -> None:
    columns = NEW.rows.columns
    assert fitted(learner).effect(columns).tobytes() == fitted(learner, threads=2).effect(columns).tobytes()


@pytest.mark.parametrize("learner", LEARNERS)
def test_one_action_and_few_rows_are_enough(learner: str) -> None:
    rows = part(TRIAL.rows, TRIAL.rows.action != 2)
    alone = replace(part(rows, np.arange(len(rows.reward)) < 30), actions=("coupon",))
    model = fitted(learner, alone)
    assert model.effect(NEW.rows.columns).shape == (500, 1)
    assert np.isfinite(model.response(NEW.rows.columns)).all()
    check_adds_up(model.contributions("coupon", NEW.rows.columns), model.effect(NEW.rows.columns)[:, 0])


def test_the_x_learner_leans_on_the_larger_arm() -> None:
    few = part(TRIAL.rows, (TRIAL.rows.action != 1) | (np.arange(4000) < 400))
    counts = np.bincount(few.action)
    treated, control = fitted("x", few).model.effects[0].terms
    assert (treated.booster, control.booster) == ("effect_1_of_treated", "effect_1_of_control")
    assert treated.weight == pytest.approx(counts[0] / (counts[0] + counts[1]))
    assert treated.weight > 0.8, "effects of the few treated were told apart from what all of the control did"
    assert treated.weight + control.weight == pytest.approx(1.0)


@pytest.mark.parametrize("learner", ["constant", "t", "dr"])
def test_cross_fitted_effects_are_those_of_models_of_other_customers(learner: str) -> None:
    rows = part(TRIAL.rows, np.arange(4000) < 1200)
    fold = customer_folds(rows.cluster, 3, 5)
    found = cross_fitted(learner, rows, fold, GENTLE, 20, 7, 1)
    others = fit_effects(learner, part(rows, fold != 1), GENTLE, 20, 7, 1)
    np.testing.assert_array_equal(found.effects[fold == 1], others.effect(rows.columns[fold == 1]))
    np.testing.assert_array_equal(found.responses[fold == 1], others.response(rows.columns[fold == 1]))
    # Whatever a fold's own rewards are, its effects stay.
    shifted = replace(rows, reward=rows.reward + 100.0 * (fold == 1))
    again = cross_fitted(learner, shifted, fold, GENTLE, 20, 7, 1)
    np.testing.assert_array_equal(found.effects[fold == 1], again.effects[fold == 1])
    assert (found.effects[fold == 0] != again.effects[fold == 0]).any()


def test_folds_hold_whole_customers_and_are_alike_in_size() -> None:
    cluster = np.repeat(np.arange(100), np.arange(100) % 4 + 1)
    fold = customer_folds(cluster, 5, 3)
    assert all(len(set(fold[cluster == customer])) == 1 for customer in range(100))
    sizes = [len(set(cluster[fold == number])) for number in range(5)]
    assert sizes == [20] * 5
    assert (fold != customer_folds(cluster, 5, 4)).any()


def test_an_action_that_was_never_drawn_is_told() -> None:
    rows = part(TRIAL.rows, TRIAL.rows.action != 2)
    with pytest.raises(UserError, match=r"call: expected at least one decision for it, got none in the rows to learn"):
        fitted("t", rows)
    fold = np.where(TRIAL.rows.action == 2, 1, np.arange(4000) % 2)
    alone = replace(TRIAL.rows, cluster=np.arange(4000))
    with pytest.raises(UserError, match=r"call: expected .* got none in the rows outside fold 1"):
        cross_fitted("t", alone, fold, GENTLE, 5, 7, 1)


def test_mistakes_are_told_all_at_once() -> None:
    rows = replace(part(TRIAL.rows, TRIAL.rows.action == 1))
    broken = replace(rows, propensity=np.where(np.arange(len(rows.reward)) < 3, [0.0], rows.propensity))
    with pytest.raises(UserError) as caught:
        fitted("dr", broken)
    assert [problem.field for problem in caught.value.problems] == ["no_action", "call", "propensity"]
    assert "0 in 3 of" in str(caught.value)
    with pytest.raises(UserError, match="learner: expected one of constant, s, t, x, dr, got u"):
        fitted("u")
    with pytest.raises(UserError, match="1 folds"):
        cross_fitted("t", TRIAL.rows, np.zeros(4000, dtype=np.int64), GENTLE, 5, 7, 1)
    with pytest.raises(UserError, match="2000 customers in more than one"):
        cross_fitted("t", TRIAL.rows, np.arange(4000) % 2, GENTLE, 5, 7, 1)


def only_some_could_get_it(n: int = 6000) -> TrialRows:
    """A coupon brings 1. Only who lapsed may get it, and buys less anyhow; of them those that a cap spares."""
    random = np.random.default_rng(3)
    lapsed, spared = random.random(n) < 0.5, random.random(n) < 0.6
    could = lapsed & spared
    action = (could & (random.random(n) < 0.5)).astype(np.int64)
    reward = np.where(lapsed, 1.0, 5.0) + 2.0 * spared + action + random.normal(size=n)
    columns = np.column_stack([lapsed.astype(np.float64), random.normal(size=n)])
    chance, names = np.where(could, 0.5, 1.0), ("lapsed", "noise")
    eligible = np.column_stack([np.ones(n, dtype=bool), could])
    return TrialRows(
        columns, reward, action, chance, np.arange(n), ("coupon",), "no_action", ModelInputs(names, names), eligible
    )


@pytest.mark.parametrize("learner", ["constant", "dr"])
def test_an_effect_is_learned_of_those_who_could_get_the_action(learner: str) -> None:
    rows = only_some_could_get_it()
    found = fitted(learner, rows).effect(rows.columns[rows.could_get(1)])[:, 0]
    assert abs(found.mean() - 1.0) < 0.15


def test_those_who_could_not_get_an_action_have_no_say_in_the_loss_of_its_effect() -> None:
    pseudo, could = np.array([[1.0], [9.0]]), np.array([[True], [False]])
    assert dr_loss(np.zeros((2, 1)), pseudo, could) == 1.0
    assert dr_loss(np.zeros((2, 1)), pseudo) == 41.0


def test_the_control_is_needed_where_an_action_could_be_drawn() -> None:
    rows = only_some_could_get_it()
    kept = part(rows, (rows.action == 1) | ~rows.could_get(1))
    with pytest.raises(UserError) as raised:
        fitted("constant", kept)
    assert [problem.field for problem in raised.value.problems] == ["coupon"]
