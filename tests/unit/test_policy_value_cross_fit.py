"""What a reward model tells of a row is learned from other customers, and is right where there is much to learn."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.policy_value.cross_fit import LEAST_CHANCE, Context, estimated_chances, expected_rewards

ROWS = 2_000
NOTHING = Context(np.empty((ROWS, 0)))


def test_without_context_it_is_the_mean_of_the_action_among_other_customers() -> None:
    """Every customer alone in a fold: what a row is told is the mean of the others' rows of that action."""
    action, reward, cluster = np.array([0, 0, 1, 1]), np.array([1.0, 3.0, 5.0, 8.0]), np.array([0, 1, 2, 2])
    made = expected_rewards(Context(np.empty((4, 0))), action, reward, 3, cluster)
    assert made[0].tolist() == [3.0, 6.5, pytest.approx(16 / 3)], "an action nobody has gets what the others say of all"
    assert made[1].tolist() == [1.0, 6.5, pytest.approx(14 / 3)]
    assert made[2].tolist() == made[3].tolist() == [2.0, 2.0, 2.0]


def test_a_customers_own_reward_changes_nothing_of_what_the_customer_is_told() -> None:
    drawn = np.random.default_rng(1)
    context = Context(drawn.normal(size=(ROWS, 2)))
    action, cluster = drawn.integers(0, 2, ROWS), drawn.integers(0, 300, ROWS)
    reward = drawn.normal(size=ROWS)
    own = cluster == 7
    for known in (context, NOTHING):
        before = expected_rewards(known, action, reward, 2, cluster)
        after = expected_rewards(known, action, np.where(own, 1e6, reward), 2, cluster)
        assert (before[own] == after[own]).all()
        assert (before != after).any()


def test_what_the_context_decides_is_learned_and_empty_values_are_allowed() -> None:
    drawn = np.random.default_rng(2)
    kind = drawn.integers(0, 3, ROWS).astype(np.float64)
    number = drawn.normal(size=ROWS)
    number[::50] = np.nan
    action = drawn.integers(0, 2, ROWS)
    truth = np.column_stack([np.where(kind == 1, 2.0, 0.0), np.where(np.nan_to_num(number) > 0, 3.0, 0.0)])
    reward = truth[np.arange(ROWS), action] + drawn.normal(0, 0.1, ROWS)
    context = Context(np.column_stack([kind, number]), (0,))
    made = expected_rewards(context, action, reward, 2, np.arange(ROWS))
    assert np.corrcoef(made[:, 0], truth[:, 0])[0, 1] > 0.9
    assert np.corrcoef(made[:, 1], truth[:, 1])[0, 1] > 0.9
    assert (made == expected_rewards(context, action, reward, 2, np.arange(ROWS))).all()


def test_one_customer_is_told_the_mean() -> None:
    made = expected_rewards(
        Context(np.empty((3, 0))), np.array([0, 1, 0]), np.array([1.0, 2.0, 6.0]), 2, np.zeros(3, int)
    )
    assert (made == 3.0).all()


def test_estimated_chances_are_those_by_which_it_was_chosen() -> None:
    drawn = np.random.default_rng(3)
    number = drawn.normal(size=ROWS)
    chance = np.where(number > 0, 0.8, 0.2)
    action = (drawn.random(ROWS) < chance).astype(np.int64)
    true = np.where(action == 1, chance, 1 - chance)
    everything = np.ones((ROWS, 2), dtype=bool)
    made = estimated_chances(Context(number[:, None]), action, everything, np.arange(ROWS))
    assert np.abs(made - true).mean() < 0.06
    blind = estimated_chances(NOTHING, action, everything, np.arange(ROWS))
    assert blind == pytest.approx(np.where(action == 1, action.mean(), 1 - action.mean()), abs=0.02)
    only = np.eye(2, dtype=bool)[action]
    assert estimated_chances(NOTHING, action, only, np.arange(ROWS)) == pytest.approx(1.0)
    assert made.min() >= LEAST_CHANCE
