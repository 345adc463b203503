from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.effect_model import (
    Combination,
    EffectModel,
    Term,
    check_adds_up,
    effects_from_json,
    with_action,
)
from feature_repo.model_inputs import ModelInputs
from feature_repo.reasons import AdditivityError

NAMES = ("recency", "spend")


class Line:
    """A scorer that is a weighted sum of its columns: what it adds to is known exactly."""

    def __init__(self, weights: list[float], base: float) -> None:
        self.weights, self.base = np.array(weights), base

    def raw_scores(self, matrix: np.ndarray) -> np.ndarray:
        return matrix @ self.weights + self.base

    def contributions(self, matrix: np.ndarray) -> np.ndarray:
        return np.hstack([matrix * self.weights, np.full((len(matrix), 1), self.base)])


def model() -> EffectModel:
    """Two actions: a difference of two boosters, and one booster asked with and without the action."""
    both = (Term("by_action", 1.0, "call"), Term("by_action", -1.0, "none"))
    return EffectModel(
        learner="t",
        control="none",
        actions=("coupon", "call"),
        inputs=ModelInputs(NAMES, NAMES),
        effects=(Combination(0.5, (Term("a", 2.0), Term("b", -1.0))), Combination(0.0, both)),
        responses=(Combination(0.0, (Term("a", 1.0),)), Combination(0.0, both[:1])),
        control_response=Combination(0.0, (Term("by_action", 1.0, "none"),)),
    )


SCORERS = {"a": Line([1.0, 2.0], 3.0), "b": Line([1.0, 0.0], -1.0), "by_action": Line([0.5, 0.0, 7.0, 11.0], 0.25)}
COLUMNS = np.array([[1.0, 10.0], [2.0, 0.0]])


def test_effects_and_responses_are_weighted_sums() -> None:
    assert model().boosters == ("a", "b", "by_action")
    # 0.5 + 2 (x0 + 2 x1 + 3) - (x0 - 1); a call adds 11 whoever it is.
    np.testing.assert_allclose(model().effect(COLUMNS, SCORERS), [[48.5, 11.0], [9.5, 11.0]])
    np.testing.assert_allclose(model().response(COLUMNS, SCORERS), [[0.75, 24.0, 11.75], [1.25, 5.0, 12.25]])


def test_what_a_booster_says_of_the_action_is_part_of_the_base_value() -> None:
    np.testing.assert_allclose(model().contributions("call", COLUMNS, SCORERS), [[0, 0, 11], [0, 0, 11]])
    made = model().contributions("coupon", COLUMNS, SCORERS)
    np.testing.assert_allclose(made, [[1, 40, 7.5], [2, 0, 7.5]])
    check_adds_up(made, model().effect(COLUMNS, SCORERS)[:, 0])


@given(st.lists(st.sampled_from(["none", "coupon", "call"]), min_size=1, max_size=3))
def test_columns_of_actions_are_one_for_what_is_asked(asked: list[str]) -> None:
    for action in asked:
        made = with_action(COLUMNS, ("coupon", "call"), action)
        assert made[:, 2:].tolist() == [[float(action == "coupon"), float(action == "call")]] * 2
        np.testing.assert_array_equal(made[:, :2], COLUMNS)
        assert made.flags.c_contiguous


def test_json_gives_the_model_again() -> None:
    assert effects_from_json(json.loads(json.dumps(model().to_json()))) == model()


def test_json_of_something_else_is_refused() -> None:
    raw = json.loads(json.dumps(model().to_json()))
    with pytest.raises(ValueError, match="1 actions, 2 effects, 2 responses"):
        effects_from_json({**raw, "actions": ["coupon"]})
    with pytest.raises(ValueError, match="asked with call, which is no action"):
        effects_from_json({**raw, "actions": ["coupon", "letter"]})
    with pytest.raises(KeyError):
        effects_from_json({name: value for name, value in raw.items() if name != "control_response"})
    with pytest.raises(TypeError):
        effects_from_json({**raw, "control_response": {"intercept": 0.0, "terms": [{"booster": "a"}]}})


def test_contributions_that_miss_the_effect_are_refused() -> None:
    made = model().contributions("coupon", COLUMNS, SCORERS)
    effects = made.sum(axis=1)
    check_adds_up(1e6 * made, 1e6 * effects + 1e-6)  # of money in minor units, that is nothing
    with pytest.raises(AdditivityError, match="miss the effect by"):
        check_adds_up(made, effects + 1e-6)
    with pytest.raises(AdditivityError):
        check_adds_up(made, np.array([effects[0], np.nan]))


def test_a_learner_without_boosters_is_its_intercepts() -> None:
    flat = replace(
        model(),
        effects=(Combination(1.0), Combination(2.0)),
        responses=(Combination(4.0), Combination(5.0)),
        control_response=Combination(3.0),
    )
    assert flat.boosters == ()
    np.testing.assert_array_equal(flat.effect(COLUMNS, {}), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(flat.response(COLUMNS, {}), [[3, 4, 5], [3, 4, 5]])
    np.testing.assert_array_equal(flat.contributions("call", COLUMNS, {}), [[0, 0, 2], [0, 0, 2]])
