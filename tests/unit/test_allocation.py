"""A budget over many customers: never exceeded, as good as the best but for one action, and priced as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalogue import NO_ACTION
from pipelines.decisions.allocation import NOTHING, allocate, frontier_of
from pipelines.decisions.decide import decide
from pipelines.decisions.situation import Predicted
from tests.reference.decisions import best_allocation
from tests.unit.decide_parts import action, catalogue, rule, situation

# Few different numbers, so that ties are common.
_VALUE = st.one_of(st.integers(-5, 20).map(float), st.floats(-10, 30), st.just(float("nan")))


@st.composite
def problems(draw: st.DrawFn, rows: int = 5) -> tuple[np.ndarray, np.ndarray, int]:
    actions = draw(st.integers(1, 3))
    costs = draw(st.lists(st.integers(0, 10), min_size=actions, max_size=actions))
    row = st.lists(_VALUE, min_size=actions, max_size=actions)
    values = draw(st.lists(row, min_size=1, max_size=rows))
    return np.array(values, dtype=np.float64), np.array(costs, dtype=np.int64), draw(st.integers(0, 30))


def _brought(values: np.ndarray, choice: np.ndarray) -> float:
    chosen = choice != NOTHING
    return float(values[np.flatnonzero(chosen), choice[chosen]].sum())


@settings(max_examples=200)
@given(problems())
def test_it_brings_what_the_best_does_but_for_one_action(problem: tuple[np.ndarray, np.ndarray, int]) -> None:
    values, costs, budget = problem
    found = allocate(values, costs, budget)
    chosen = found.choice[found.choice != NOTHING]
    assert found.choice.shape == (len(values),)
    assert found.spent == costs[chosen].sum() <= budget
    assert found.expected_value == pytest.approx(_brought(values, found.choice), abs=1e-9)
    best = best_allocation(np.nan_to_num(values, nan=-np.inf).tolist(), costs.tolist(), budget)
    largest = max(0.0, np.nanmax(values, initial=0.0))
    assert found.expected_value <= best + 1e-9
    assert best <= found.bound + 1e-9
    assert found.bound - largest <= found.expected_value + 1e-9


@settings(max_examples=100)
@given(problems(rows=12), st.integers(0, 30))
def test_more_money_never_brings_less(problem: tuple[np.ndarray, np.ndarray, int], more: int) -> None:
    values, costs, budget = problem
    frontier = frontier_of(values, costs)
    less, greater = frontier.allocate(budget), frontier.allocate(budget + more)
    assert less.expected_value <= greater.expected_value
    assert less.shadow_price >= greater.shadow_price
    assert less.spent <= greater.spent


@settings(max_examples=100)
@given(problems(rows=12))
def test_at_the_shadow_price_each_alone_is_chosen_the_same_but_at_the_margin(
    problem: tuple[np.ndarray, np.ndarray, int],
) -> None:
    values, costs, budget = problem
    found = allocate(values, costs, budget)
    names = ("a", "b", "c")[: len(costs)]
    offers = catalogue(
        *[action(name, cost=int(cost), value=rule("1", "number")) for name, cost in zip(names, costs, strict=True)]
    )
    for row, given_values in enumerate(values):
        # Worth 1 each, so that an effect of value + cost brings the value.
        effects = {n: Predicted(v + c, None) for n, v, c in zip(names, given_values, costs, strict=True) if v == v}
        alone = decide(offers, situation(predicted=effects, shadow_price=found.shadow_price)).action
        index = int(found.choice[row])
        allocated = NO_ACTION if index == NOTHING else names[index]
        if alone != allocated:
            # At the margin both are worth the same at this price.
            assert _score(given_values, costs, index, found.shadow_price) == pytest.approx(
                _score(given_values, costs, names.index(alone) if alone in names else NOTHING, found.shadow_price),
                abs=1e-6,
            )


def _score(values: np.ndarray, costs: np.ndarray, index: int, price: float) -> float:
    return 0.0 if index == NOTHING else float(values[index] - price * costs[index])


def test_by_hand() -> None:
    values = np.array([[10.0, 14.0], [3.0, 20.0], [-1.0, np.nan]])
    costs = np.array([5, 10])
    # Slopes: 2 (both, of the second customer the dear action at once), then 0.8.
    assert allocate(values, costs, 4).choice.tolist() == [NOTHING, NOTHING, NOTHING]
    assert allocate(values, costs, 15).choice.tolist() == [0, 1, NOTHING]
    found = allocate(values, costs, 17)
    assert (found.spent, found.expected_value, found.shadow_price) == (15, 30.0, pytest.approx(0.8))
    assert found.bound == pytest.approx(31.6)
    rich = allocate(values, costs, 1000)
    assert (rich.choice.tolist(), rich.spent, rich.shadow_price, rich.bound) == ([1, 1, NOTHING], 20, 0.0, 34.0)


def test_what_costs_nothing_is_done_without_a_budget() -> None:
    found = allocate(np.array([[2.0, 9.0], [-1.0, 9.0]]), np.array([0, 3]), 2)
    assert (found.choice.tolist(), found.spent, found.expected_value) == ([0, NOTHING], 0, 2.0)


def test_nobody_and_nothing() -> None:
    empty = allocate(np.empty((0, 2)), np.array([1, 2]), 5)
    assert (len(empty.choice), empty.spent, empty.expected_value) == (0, 0, 0.0)
    none = allocate(np.empty((3, 0)), np.empty(0, dtype=np.int64), 5)
    assert none.choice.tolist() == [NOTHING] * 3


@pytest.mark.parametrize(
    ("values", "costs", "budget"),
    [
        (np.ones((2, 2)), np.ones(3, dtype=np.int64), 1),
        (np.ones((2, 1)), np.array([-1]), 1),
        (np.ones((2, 1)), np.array([1]), -1),
    ],
)
def test_what_makes_no_sense_is_refused(values: np.ndarray, costs: np.ndarray, budget: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        allocate(values, costs, budget)


def test_many_rows_are_the_same_as_few_at_a_time() -> None:
    """More rows than one block."""
    generator = np.random.default_rng(5)
    values = generator.normal(50, 100, (300_000, 4))
    costs = np.array([0, 10, 30, 60])
    frontier = frontier_of(values, costs)
    for budget in (0, 100_000, 3_000_000, 10**9):
        found = frontier.allocate(budget)
        scores = np.maximum((values - found.shadow_price * costs).max(axis=1), 0.0)
        own = np.where(
            found.choice == NOTHING,
            0.0,
            values[np.arange(len(values)), found.choice] - found.shadow_price * costs[found.choice],
        )
        assert found.spent <= budget
        np.testing.assert_allclose(own, scores, atol=1e-6)
        assert found.expected_value == pytest.approx(_brought(values, found.choice), rel=1e-9)
        assert found.bound - found.expected_value <= np.nanmax(values)
