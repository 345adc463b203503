"""Values and gains of policies: against the slow way, in enumerated worlds, and at the ends of every parameter."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t

from pipelines.console import UserError
from pipelines.policy_value.diagnostics import effective_sample_size, support_of
from pipelines.policy_value.estimators import ESTIMATORS, Estimator, contributions, gain_of, value_of
from pipelines.policy_value.intervals import half_width, standard_error, widening
from pipelines.policy_value.logged import Array, Expected, Logged, Policy
from pipelines.policy_value.shrinkage import best_shrinkage, best_threshold, optimistic, switched
from tests.reference import policy_value as slow

SHRUNK: tuple[Estimator, ...] = ("switch_dr", "dr_os")


def chances(drawn: np.random.Generator, eligible: Array) -> Policy:
    made = drawn.gamma(1.0, size=eligible.shape) * eligible
    return made / made.sum(axis=1, keepdims=True)


def world(seed: int, rows: int = 60, actions: int = 4) -> tuple[Logged, Policy, Policy, Expected]:
    """A log with customers of several decisions, two policies and a reward model that is wrong."""
    drawn = np.random.default_rng(seed)
    eligible = drawn.random((rows, actions)) < 0.7
    eligible[:, 0] = True
    logging = chances(drawn, eligible)
    action = np.array([drawn.choice(actions, p=row) for row in logging])
    reward = drawn.normal(1.0 + action, 1.0)
    logged = Logged(action, reward, logging[np.arange(rows), action], eligible, drawn.integers(0, rows // 3, rows))
    expected = np.where(eligible, drawn.normal(2.0, 1.0, (rows, actions)), np.nan)
    return logged, chances(drawn, eligible), chances(drawn, eligible), expected


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_value_and_error_are_those_of_the_slow_way(estimator: Estimator, seed: int) -> None:
    logged, policy, _, expected = world(seed)
    parameter = _parameter(estimator, logged, policy, expected)
    found = value_of(estimator, logged, policy, expected)
    value = slow.value(estimator, logged, policy, expected, parameter)
    assert found.value == pytest.approx(value)
    rows = slow.terms(estimator, logged, policy, expected, parameter)
    bias = 0.0
    if estimator == "snips":
        weights = [policy[i, logged.action[i]] / logged.propensity[i] for i in range(logged.rows)]
        mean = sum(weights) / logged.rows
        rows = [value + weight * (reward - value) / mean for weight, reward in zip(weights, logged.reward, strict=True)]
    if estimator in SHRUNK:
        bias = value - slow.value("dr", logged, policy, expected)
    error = math.hypot(slow.standard_error(rows, list(map(int, logged.cluster))), bias)
    assert found.standard_error == pytest.approx(error)
    assert found.low < found.value < found.high


def _parameter(estimator: Estimator, logged: Logged, policy: Policy, expected: Expected) -> float:
    """What the data choose, by trying every candidate on a finer grid is not asked: only that it is used."""
    if estimator not in SHRUNK:
        return math.inf
    at = np.arange(logged.rows)
    weights = policy[at, logged.action] / logged.propensity
    model = np.nansum(np.where(policy > 0, policy * expected, 0.0), axis=1)
    residuals = logged.reward - expected[at, logged.action]
    best = best_threshold if estimator == "switch_dr" else best_shrinkage
    return best(weights, model, residuals, logged.cluster)


@pytest.mark.parametrize("estimator", ["ips", "dr"])
def test_expectation_over_all_logs_is_the_truth(estimator: Estimator) -> None:
    """Two decisions, three actions, rewards 0 or 1: every log that there can be, weighted by its chance."""
    logging = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    policy = np.array([[0.0, 0.6, 0.4], [0.7, 0.2, 0.1]])
    rates = np.array([[0.2, 0.9, 0.4], [0.6, 0.1, 0.3]])
    wrong_model = np.array([[0.5, 0.1, 0.9], [0.0, 2.0, -1.0]])
    eligible = np.ones((2, 3), dtype=bool)
    truth = float((policy * rates).sum(axis=1).mean())
    expectation = 0.0
    for actions in itertools.product(range(3), repeat=2):
        for rewards in itertools.product((0.0, 1.0), repeat=2):
            chance = 1.0
            for i, (action, reward) in enumerate(zip(actions, rewards, strict=True)):
                rate = rates[i, action]
                chance *= logging[i, action] * (rate if reward else 1 - rate)
            action = np.array(actions)
            logged = Logged(action, np.array(rewards), logging[np.arange(2), action], eligible, np.arange(2))
            expectation += chance * value_of(estimator, logged, policy, wrong_model).value
    assert expectation == pytest.approx(truth)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_gain_is_the_difference_and_paired(estimator: Estimator) -> None:
    logged, policy, other, expected = world(3, rows=200)
    gain = gain_of(estimator, logged, policy, other, expected)
    one, another = (value_of(estimator, logged, item, expected) for item in (policy, other))
    assert gain.value == pytest.approx(one.value - another.value)
    back = gain_of(estimator, logged, other, policy, expected)
    assert (back.low, back.high) == pytest.approx((-gain.high, -gain.low))
    none = gain_of(estimator, logged, policy, policy, expected)
    assert (none.low, none.value, none.high) == (0.0, 0.0, 0.0)
    assert not none.is_shown


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_log_itself_is_worth_its_mean_reward(estimator: Estimator) -> None:
    logged, policy, _, expected = world(4)
    found = value_of(estimator, logged, None, expected)
    assert found.value == pytest.approx(float(logged.reward.mean()))
    assert found.standard_error == pytest.approx(slow.standard_error(list(logged.reward), list(logged.cluster)))
    gain = gain_of(estimator, logged, policy, None, expected)
    assert gain.value == pytest.approx(value_of(estimator, logged, policy, expected).value - found.value)


@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3), st.floats(0.1, 10))
def test_snips_moves_with_the_rewards_and_ignores_the_scale_of_weights(seed: int, shift: float, scale: float) -> None:
    logged, policy, _, expected = world(seed, rows=20)
    value = value_of("snips", logged, policy, expected).value
    moved = value_of("snips", replace(logged, reward=logged.reward + shift), policy, expected)
    assert moved.value == pytest.approx(value + shift, abs=1e-6)
    rarer = replace(logged, propensity=logged.propensity * min(scale, 1.0))
    assert value_of("snips", rarer, policy, expected).value == pytest.approx(value)


@given(st.integers(0, 2**32 - 1), st.floats(-1e3, 1e3))
def test_a_constant_reward_that_is_known_is_the_value_whatever_the_policy(seed: int, reward: float) -> None:
    logged, policy, _, _ = world(seed, rows=20)
    constant = replace(logged, reward=np.full(20, reward))
    for estimator in ESTIMATORS:
        if estimator != "ips":
            found = value_of(estimator, constant, policy, np.full(policy.shape, reward))
            assert found.value == pytest.approx(reward, abs=1e-9)
            assert found.standard_error == pytest.approx(0.0, abs=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_following_the_log_makes_every_weight_one(seed: int) -> None:
    """Two actions, drawn evenly, judged by the same policy: IPS and SNIPS are the mean, all decisions count."""
    drawn = np.random.default_rng(seed)
    policy = np.full((30, 2), 0.5)
    logged = Logged(
        drawn.integers(0, 2, 30), drawn.normal(size=30), np.full(30, 0.5), np.ones((30, 2), bool), np.arange(30)
    )
    for estimator in ("ips", "snips"):
        found = value_of(estimator, logged, policy, np.zeros((30, 2)))
        assert found.value == pytest.approx(float(logged.reward.mean()))
        assert found.effective_sample_size == pytest.approx(30)


def test_ends_of_the_shrinking_are_dr_and_dm() -> None:
    weights = np.array([0.0, 0.1, 1.0, 30.0])
    for shrunk in (switched, optimistic):
        assert (shrunk(weights, math.inf) == weights).all()
        assert (shrunk(weights, 0.0) == 0).all()
    assert optimistic(weights, 1e12) == pytest.approx(weights)
    assert optimistic(weights, 1e-12) == pytest.approx(np.zeros(4), abs=1e-9)
    assert (switched(weights, 1.0) == [0.0, 0.1, 1.0, 0.0]).all(), "the threshold itself is kept"


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_shrinking_never_makes_a_weight_larger(weight: float, shrinkage: float) -> None:
    shrunk = float(optimistic(np.array([weight]), shrinkage)[0])
    assert 0 <= shrunk <= weight * (1 + 1e-12)
    assert shrunk <= math.sqrt(shrinkage) / 2 * (1 + 1e-9) + 1e-12, "the most that λ lets through"


def test_monstrous_weights_are_shrunk_and_even_ones_are_kept() -> None:
    drawn = np.random.default_rng(0)
    model, residuals, cluster = np.full(2_000, 0.5), drawn.normal(0, 1, 2_000), np.arange(2_000)
    wild = np.ones(2_000)
    wild[:3] = 500.0
    shrinkage = best_shrinkage(wild, model, residuals, cluster)
    shrunk = optimistic(wild, shrinkage)
    assert shrunk[0] < 490
    assert shrunk[10] > 0.99
    even = best_shrinkage(np.ones(2_000), model, residuals, cluster)
    assert optimistic(np.ones(2_000), even) == pytest.approx(np.ones(2_000), rel=0.01)


def test_nothing_is_cut_where_nothing_agrees() -> None:
    nothing = np.zeros(9)
    assert best_threshold(nothing, nothing, nothing, np.arange(9)) == math.inf
    assert best_shrinkage(nothing, nothing, nothing, np.arange(9)) == math.inf


@pytest.mark.parametrize("estimator", SHRUNK)
def test_shrinking_is_never_less_certain_than_dr(estimator: Estimator) -> None:
    for seed in range(20):
        logged, policy, _, expected = world(seed)
        dr = value_of("dr", logged, policy, expected)
        assert value_of(estimator, logged, policy, expected).standard_error <= dr.standard_error * (1 + 1e-9)


def test_bias_that_is_seen_widens_the_interval() -> None:
    for seed in range(20):
        logged, policy, _, expected = world(seed)
        made = contributions("dr_os", logged, policy, expected)
        if made.bias:
            found = value_of("dr_os", logged, policy, expected)
            assert found.standard_error > standard_error(made.rows, logged.cluster)
            return
    pytest.fail("nothing was shrunk in 20 worlds")


def test_rows_of_one_customer_count_as_one() -> None:
    logged, policy, _, expected = world(1)
    alone = replace(logged, cluster=np.arange(logged.rows))
    twice = Logged(*(np.concatenate([part, part]) for part in (
        alone.action, alone.reward, alone.propensity, alone.eligible, alone.cluster
    )))  # fmt: skip
    one = value_of("ips", alone, policy, expected)
    two = value_of("ips", twice, np.vstack([policy, policy]), np.vstack([expected, expected]))
    assert two.standard_error == pytest.approx(one.standard_error)


def test_intervals_are_normal_for_many_even_customers_and_wider_where_few_decide() -> None:
    drawn = np.random.default_rng(0)
    even = drawn.normal(size=5_000)
    error, half = half_width(even, np.arange(5_000))
    assert half / error == pytest.approx(1.96, abs=0.005)
    few_error, few = half_width(even[:4], np.arange(4))
    assert 3.18 <= few / few_error <= 12.71, "Student's t of 1 to 3 degrees of freedom"
    heavy = even.copy()
    heavy[:5] = 1_000.0
    error, half = half_width(heavy, np.arange(5_000))
    assert half / error == pytest.approx(float(t.ppf(0.975, 10)), rel=0.01), "five that weigh: 2 * 5 degrees of freedom"
    error, half = half_width(even, np.arange(5_000), bias=1.0)
    assert error == pytest.approx(1.0, abs=0.001)


def test_a_single_customer_gives_no_interval() -> None:
    logged, policy, _, expected = world(1)
    found = value_of("ips", replace(logged, cluster=np.zeros(logged.rows, dtype=np.int64)), policy, expected)
    assert np.isnan([found.low, found.high]).all()


def test_choosing_what_was_never_tried_warns() -> None:
    logged, policy, _, _ = world(2, rows=400)
    eligible = np.ones((400, 5), dtype=bool)
    wider = replace(logged, eligible=eligible)
    untried = np.zeros((400, 5))
    untried[:, 4] = 1.0
    found = value_of("ips", wider, untried, np.ones((400, 5)))
    assert (found.value, found.effective_sample_size) == (0, 0)
    assert any("100.0% of what the policy chooses was never chosen" in text for text in found.warnings)
    assert any("agrees with no decision" in text for text in found.warnings)
    assert math.isnan(value_of("snips", wider, untried, np.ones((400, 5))).value)
    assert value_of("dm", wider, untried, np.ones((400, 5))).value == 1.0
    half = untried * 0.5
    half[:, :4] = policy * 0.5
    assert any("50.0% of what" in text for text in value_of("dr", wider, half, np.ones((400, 5))).warnings)


def test_wrong_propensities_and_few_decisions_warn_and_a_good_log_does_not() -> None:
    drawn = np.random.default_rng(5)
    rows = 2_000
    action = drawn.integers(0, 2, rows)
    logged = Logged(action, drawn.normal(size=rows), np.full(rows, 0.5), np.ones((rows, 2), bool), np.arange(rows))
    policy = np.tile([0.3, 0.7], (rows, 1))
    assert support_of(logged, policy).warnings == ()
    told = support_of(replace(logged, propensity=np.full(rows, 0.25)), policy).warnings
    assert len(told) == 1
    assert "the mean weight is 1.99 ± 0.02, not 1" in told[0]
    few = Logged(action[:50], logged.reward[:50], logged.propensity[:50], logged.eligible[:50], np.arange(50))
    assert any("little support" in text for text in support_of(few, policy[:50]).warnings)


def test_one_decision_that_outweighs_the_others_warns() -> None:
    rows = 1_000
    chance = np.full(rows, 0.5)
    chance[0] = 0.001
    logged = Logged(np.zeros(rows, int), np.ones(rows), chance, np.ones((rows, 2), bool), np.arange(rows))
    policy = np.tile([0.5, 0.5], (rows, 1))
    assert any("one decision has 33.4% of all the weight" in text for text in support_of(logged, policy).warnings)


def test_support_counts_what_it_says() -> None:
    assert effective_sample_size(np.array([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.zeros(3)) == 0
    logged = Logged(np.array([0, 0, 1]), np.zeros(3), np.full(3, 0.5), np.ones((3, 3), bool), np.arange(3))
    policy = np.array([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    found = support_of(logged, policy)
    assert found.overlap == pytest.approx(2 / 3)
    assert found.mass_never_logged == pytest.approx(0.5 / 3)
    assert found.largest_weights == (2.0, 1.0, 0.0)
    assert found.largest_share == pytest.approx(2 / 3)


def test_every_mistake_is_told_at_once() -> None:
    logged, policy, _, expected = world(6)
    bad = replace(logged, propensity=logged.propensity.copy(), reward=logged.reward.copy())
    bad.propensity[[3, 5]] = (0.0, math.nan)
    bad.reward[7] = math.inf
    unsure = policy.copy()
    unsure[0] *= 0.5
    unsure[1] = np.where(bad.eligible[1], 0, 1)
    hollow = np.full(policy.shape, np.nan)
    with pytest.raises(UserError) as caught:
        value_of("dr", bad, unsure, hollow)
    told = [problem.field for problem in caught.value.problems]
    assert set(told) == {"reward", "propensity", "policy", "expected"}
    assert "in 2 of 60 decisions, first in decision 3" in str(caught.value)
    with pytest.raises(UserError, match="expected shape"):
        value_of("ips", logged, policy[:, :2], expected)
    with pytest.raises(UserError, match="reward: expected shape"):
        value_of("ips", replace(logged, reward=logged.reward[1:]), policy, expected)
    nothing = np.zeros((0, 4))
    empty = Logged(logged.action[:0], logged.reward[:0], logged.propensity[:0], nothing == 1, logged.cluster[:0])
    with pytest.raises(UserError, match="at least one"):
        value_of("ips", empty, nothing, nothing)
    chosen = replace(logged, eligible=np.zeros_like(logged.eligible))
    with pytest.raises(UserError, match="the action that was chosen"):
        gain_of("ips", chosen, policy, None, expected)


def test_what_is_not_eligible_needs_no_expected_reward() -> None:
    logged, policy, _, expected = world(7)
    assert np.isnan(expected).any()
    assert math.isfinite(value_of("dr", logged, policy, expected).value)


def test_intervals_of_several_means_are_widened_until_all_of_them_hold_at_once() -> None:
    random = np.random.default_rng(3)
    held_apart = held = 0
    for _ in range(400):
        rows = random.standard_normal((300, 4))
        half = [half_width(column, np.arange(300))[1] for column in rows.T]
        inside = np.abs(rows.mean(axis=0)) / half
        held_apart += bool(inside.max() <= 1)
        held += bool(inside.max() <= widening(rows, np.arange(300), draws=1000))
    assert held_apart / 400 < 0.88, "each holds in 95 of 100, all four together in 81"
    assert 0.92 <= held / 400 <= 0.98


def test_means_that_move_together_need_no_more_room_than_one() -> None:
    one = np.random.default_rng(4).standard_normal(200)
    assert widening(np.stack([one, one, 2 * one], axis=1), np.arange(200)) == pytest.approx(1.0, abs=1e-9)
    assert widening(np.stack([one, np.zeros(200)], axis=1), np.arange(200)) == 1.0
