"""Profit: EMPC against its definition and its limits, thresholds from money alone, and what acting brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.evaluate.profit import SHARES, expected_maximum_profit, profit_curve, profit_of, stakes_of
from pipelines.settings.models import CostsConfig, EmpcConfig
from tests.reference import maximum_profit

EMPC = EmpcConfig(kind="empc")
COSTS = CostsConfig(kind="costs", action_cost=2.0, value=10.0)

# Few different scores, so that ties are common.
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9).map(lambda tenth: tenth / 10)), min_size=2, max_size=40)
MONEY = st.builds(
    EmpcConfig, kind=st.just("empc"), alpha=st.floats(1, 12), beta=st.floats(1, 20),
    customer_value=st.floats(20, 500), incentive=st.floats(0, 19), contact_cost=st.floats(0.5, 5),
)  # fmt: skip


def _columns(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    labels, scores = zip(*rows, strict=True)
    return np.array(labels, dtype=float), np.array(scores)


def _sample(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probabilities = np.round(generator.beta(1, 2, rows), 2).clip(0.01, 0.99)
    return (generator.random(rows) < probabilities).astype(float), probabilities


@settings(max_examples=50)
@given(ROWS, MONEY)
def test_empc_is_what_its_definition_says(rows: list[tuple[int, float]], money: EmpcConfig) -> None:
    labels, scores = _columns(rows)
    value, share = expected_maximum_profit(labels, scores, money)
    expected, expected_share = maximum_profit.expected_maximum_profit(labels, scores, money)
    assert value == pytest.approx(expected, abs=1e-4 * money.customer_value)
    assert share == pytest.approx(expected_share, abs=0.01)


def test_empc_is_what_another_package_computes() -> None:
    """Figures of empulse 0.13 (`empc_score`) on the same rows."""
    generator = np.random.default_rng(4)
    scores = np.round(generator.beta(1, 2, 500), 2)
    labels = (generator.random(500) < scores).astype(float)
    assert expected_maximum_profit(labels, scores, EMPC)[0] == pytest.approx(12.878352964799484, rel=1e-9)
    other = EmpcConfig(kind="empc", alpha=3, beta=9, customer_value=80, incentive=7, contact_cost=2)
    assert expected_maximum_profit(labels, scores, other)[0] == pytest.approx(2.2409807858890205, rel=1e-9)


def test_perfect_scores_contact_the_churners_and_nobody_else() -> None:
    labels, scores = np.array([1.0, 1.0, 0.0, 0.0, 0.0]), np.array([0.9, 0.8, 0.3, 0.2, 0.1])
    value, share = expected_maximum_profit(labels, scores, EMPC)
    assert value == pytest.approx(0.4 * (0.3 * 190 - 1), abs=1e-6)
    assert share == pytest.approx(0.4, abs=1e-6)


def test_useless_scores_leave_only_all_or_nobody() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    value, _ = expected_maximum_profit(labels, np.full(5, 0.4), EMPC)
    rates = np.random.default_rng(1).beta(6, 14, 2_000_000)
    acting_on_all = 0.4 * (rates * 190 - 1) - 0.6 * 11
    assert value == pytest.approx(np.maximum(acting_on_all, 0).mean(), abs=0.02)
    assert expected_maximum_profit(np.zeros(5), labels, EMPC) == (0.0, 0.0)


def test_a_weight_counts_as_so_many_rows() -> None:
    labels, scores = _sample(200)
    weights = np.random.default_rng(2).poisson(1.0, 200).astype(float)
    repeated = np.repeat(np.arange(200), weights.astype(int))
    weighted = expected_maximum_profit(labels, scores, EMPC, weights)
    assert weighted == pytest.approx(expected_maximum_profit(labels[repeated], scores[repeated], EMPC))


def test_an_incentive_worth_the_customer_is_never_offered() -> None:
    labels, scores = _sample(100)
    money = EmpcConfig(kind="empc", customer_value=10, incentive=10)
    assert expected_maximum_profit(labels, scores, money) == (0.0, 0.0)
    assert stakes_of(money).threshold > 1


def test_thresholds_follow_from_the_money_alone() -> None:
    assert stakes_of(COSTS).threshold == pytest.approx(0.2)  # where p * 10 > 2
    assert stakes_of(EMPC).threshold == pytest.approx(11 / (0.3 * 190 - 1 + 11))
    assert stakes_of(CostsConfig(kind="costs", action_cost=5, value=3)).threshold > 1


@given(st.floats(0.001, 0.999))
def test_acting_is_expected_to_pay_exactly_above_the_threshold(probability: float) -> None:
    for config in (COSTS, EMPC):
        stakes = stakes_of(config)
        expected = float(stakes.expected(np.array([probability]))[0])
        assert (expected > 1e-9) == (probability > stakes.threshold + 1e-9 / (stakes.gain + stakes.loss))


def test_profit_of_every_model_by_hand() -> None:
    labels = np.array([1.0, 0.0, 1.0, 0.0])
    models = {"good": np.array([0.9, 0.1, 0.8, 0.1]), "bad": np.array([0.1, 0.9, 0.1, 0.9])}
    found = profit_of(COSTS, labels, models, np.arange(4), "good", resamples=50, seed=1)
    good, bad = found.models
    assert (good.profit.estimate, good.share) == ((8 + 8) / 4, 0.5)
    assert good.expected_profit == pytest.approx((0.9 * 10 - 2 + 0.8 * 10 - 2) / 4)
    assert bad.profit.estimate == -1.0
    assert (found.all.estimate, found.none.estimate) == (3.0, 0.0)
    assert (good.empc, good.empc_share) == (None, None)
    differences = {(item.against, item.metric): item.estimate for item in found.differences}
    assert differences == {("bad", "profit"): 5.0, ("all", "profit"): 1.0, ("none", "profit"): 4.0}
    assert [(point.share, point.profit["good"]) for point in found.curve if point.share in (0, 0.5, 1)] == [
        (0.0, 0.0), (0.5, 4.0), (1.0, 3.0)]  # fmt: skip


def test_empc_has_intervals_and_differences_on_the_same_resamples() -> None:
    labels, probabilities = _sample(400)
    models = {"own": probabilities, "copy": probabilities.copy(), "base": np.full(400, labels.mean())}
    found = profit_of(EMPC, labels, models, np.arange(400), "own", resamples=60, seed=1)
    own = found.models[0]
    assert own.empc is not None
    assert own.empc.low < own.empc.estimate < own.empc.high
    # Its best threshold is found on the labels, so it is never below what the money alone gives.
    assert own.empc.estimate >= own.profit.estimate
    differences = {(item.against, item.metric): item for item in found.differences}
    copy = differences["copy", "empc"]
    assert (copy.estimate, copy.low, copy.high) == (0.0, 0.0, 0.0)
    assert differences["base", "empc"].low > 0


@given(ROWS)
def test_the_curve_of_ties_is_the_mean_over_their_orders(rows: list[tuple[int, float]]) -> None:
    labels, scores = _columns(rows)
    stakes = stakes_of(COSTS)
    curve = profit_curve(labels, scores, stakes)
    assert curve[0] == 0.0
    assert curve[-1] == pytest.approx(stakes.profits(labels, np.ones(len(labels))).mean())
    flat = profit_curve(labels, np.full(len(labels), 0.5), stakes)
    assert flat == pytest.approx(np.array(SHARES) * curve[-1])


def test_calibrated_probabilities_bring_what_they_promise() -> None:
    labels, probabilities = _sample(20_000, seed=3)
    for config in (COSTS, EMPC):
        own = profit_of(config, labels, {"own": probabilities}, np.arange(20_000), "own", 20, 1).models[0]
        assert own.profit.low < own.expected_profit < own.profit.high
