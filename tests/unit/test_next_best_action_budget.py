"""Policies under a budget, and the gates that a policy has to pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from feature_repo.model_inputs import ModelInputs
from pipelines.next_best_action.budget import budget_curve, random_within_budget, within_budget
from pipelines.next_best_action.gates import check_gates
from pipelines.next_best_action.policies import at_random, everybody, greedy
from pipelines.next_best_action.trial import Trial
from pipelines.settings.models import ActionGates
from pipelines.uplift.rows import TrialRows


def trial(rows: int = 400, cost: tuple[float, float, float] = (0.0, 2.0, 3.0)) -> tuple[Trial, np.ndarray]:
    """Two actions with known expected rewards under each arm, shape (rows, 3); a third of them not eligible."""
    generator = np.random.default_rng(2)
    expected = generator.gamma(2.0, 2.0, (rows, 3))
    arm = generator.integers(0, 3, rows)
    eligible = generator.random((rows, 3)) > 0.3
    eligible[:, 0] = eligible[np.arange(rows), arm] = True
    reward = generator.poisson(expected[np.arange(rows), arm]).astype(float)
    inputs = ModelInputs(("a",), ("a",))
    made = TrialRows(
        np.zeros((rows, 1)), reward, arm, np.full(rows, 1 / 3), np.arange(rows), ("x", "y"), "none", inputs
    )
    return Trial(made, np.zeros(rows, dtype=np.int64), eligible, np.ones((rows, 3)), np.array(cost), True), expected


def test_policies_choose_what_is_eligible_and_sum_to_one() -> None:
    given, expected = trial()
    for policy in (
        greedy(expected, given.eligible), everybody(2, given.eligible), at_random(given.eligible),
        random_within_budget(given, given.cost, 0.4), within_budget(given, expected, given.cost, 0.4),
    ):  # fmt: skip
        np.testing.assert_allclose(policy.sum(axis=1), 1.0)
        assert not policy[~given.eligible].any()


def test_the_greedy_policy_takes_the_best_and_nothing_at_a_loss() -> None:
    gains = np.array([[0.0, 1.0, 2.0], [0.0, -1.0, -2.0], [0.0, 3.0, 2.0], [0.0, 0.0, 0.0]])
    eligible = np.array([[True, True, True], [True, True, True], [True, False, True], [True, True, True]])
    np.testing.assert_array_equal(greedy(gains, eligible).argmax(axis=1), [2, 0, 2, 0])


@pytest.mark.parametrize("budget", [0.0, 0.1, 0.7, 1.9, 50.0])
def test_a_budget_is_never_overspent_and_goes_to_those_who_bring_most(budget: float) -> None:
    given, expected = trial()
    gains = given.gains(expected[:, 1:] - expected[:, :1])
    policy = within_budget(given, gains, given.cost, budget)
    assert (policy * given.cost).sum(axis=1).mean() <= budget + 1e-9
    assert (gains[policy > 0] >= 0).all()
    arm = np.argmax(np.where(given.eligible, gains, -np.inf), axis=1)
    ratio = gains[np.arange(len(arm)), arm] / np.maximum(given.cost[arm], 1e-9)
    taken, left = ratio[(policy[:, 0] == 0)], ratio[(policy[:, 0] == 1) & (arm > 0)]
    if len(taken) and len(left):
        assert taken.min() >= left.max()


def test_with_enough_money_it_is_the_policy_itself_and_a_curve_ends_there() -> None:
    given, expected = trial()
    gains = given.gains(expected[:, 1:] - expected[:, :1])
    np.testing.assert_array_equal(within_budget(given, gains, given.cost, 1e9), greedy(gains, given.eligible))
    curve = budget_curve(given, gains, given.in_money(expected), expected, points=4)
    chosen = [point for point in curve if point.policy == "chosen"]
    assert len(curve) == 12
    assert [point.spent for point in chosen] == sorted(point.spent for point in chosen)
    assert all(point.spent <= point.budget + 1e-9 for point in curve)
    # Gains are the truth here, so nothing that spends as much brings more.
    for point in chosen:
        others = [other for other in curve if other.budget == point.budget and other.policy != "chosen"]
        assert point.value > max(other.value for other in others) - 0.2


def test_where_nothing_costs_anything_the_budget_counts_actions() -> None:
    given, expected = trial(cost=(0.0, 0.0, 0.0))
    gains = given.gains(expected[:, 1:] - expected[:, :1])
    for point in budget_curve(given, gains, given.in_money(expected), expected, points=5):
        assert point.spent == pytest.approx(point.acted)


def judged(**changes: Any) -> dict[str, Any]:
    gains = [{"against": "no_action", "low": changes.pop("low", 0.1)}]
    if "champion" in changes:
        gains.append({"against": "champion", "low": changes.pop("champion")})
    found = {"test_rows": 500, "randomised": True, "support": {"effective_share": 0.3}, "gains": gains}
    return {**found, **changes}


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, []), ({"randomised": False}, ["randomised"]), ({"test_rows": 199}, ["minimum_test_rows"]),
        ({"support": {"effective_share": 0.049}}, ["minimum_effective_sample_share"]),
        ({"low": 0.0}, []), ({"low": -0.01}, ["worst_loss_against_no_action"]),
        ({"champion": -0.5}, []), ({"champion": -0.51}, ["maximum_loss_against_champion"]),
    ],
)  # fmt: skip
def test_gates(changes: dict[str, Any], failed: list[str]) -> None:
    gates = check_gates(ActionGates(), judged(**changes))
    assert [gate.name for gate in gates if not gate.passed] == failed


def test_a_person_may_do_without_the_gate_of_randomisation() -> None:
    assert all(gate.passed for gate in check_gates(ActionGates(randomised=False), judged(randomised=False)))
