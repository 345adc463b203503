"""A budget over many customers, each of whom gets at most one action: the multiple-choice knapsack.

A customer's actions are points (cost, value), no action is (0, 0). Those that can be best at some price of money lie on
the upper hull of the points; a walk along it takes steps of falling slope (value gained a unit of cost). The steps of
all customers are taken by falling slope while the budget lasts, and the first that does not fit ends it.

That is the optimum of the linear relaxation (Sinha and Zoltners 1979) without its last, divided step. So it brings
less than the best allocation by less than that one step is worth, which is at most the value of one action for one
customer. The slope of that step is the shadow price: who decides for one customer by value − price × cost chooses
what is allocated, but for those at the margin, whose step has exactly this slope. A larger budget never brings less.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NOTHING = -1
_ROWS = 1 << 17


@dataclass(frozen=True, slots=True)
class Allocation:
    """What each customer gets within a budget.

    choice: int64 (n,), the action's index, -1 for none. `spent` is in minor units, `expected_value` is the sum of the
    values that were asked for. `bound` is the highest value that any allocation could have. `shadow_price` is what a
    unit of money more would bring, 0 where the budget is not used up.
    """

    choice: Integers
    spent: int
    expected_value: float
    bound: float
    shadow_price: float


@dataclass(frozen=True, slots=True)
class Frontier:
    """All steps of all customers by falling slope; what any budget buys is read from it.

    free: int64 (n,), the best action that costs nothing, -1 for none. Of m steps: row, action, both int32, cost and
    value gained, cumulated (m,), and slope.
    """

    free: Integers
    free_value: float
    row: NDArray[np.int32]
    action: NDArray[np.int32]
    cost: Integers
    value: Floats
    slope: Floats

    def allocate(self, budget: int) -> Allocation:
        """What the budget buys.

        Raises:
            ValueError: the budget is below 0.
        """
        if budget < 0:
            raise ValueError(f"budget: expected at least 0, got {budget}")
        taken = int(np.searchsorted(self.cost, budget, side="right"))
        choice = self.free.copy()
        # Of a customer's steps the last one stands: numpy keeps the last of repeated indices.
        choice[self.row[:taken]] = self.action[:taken]
        spent = int(self.cost[taken - 1]) if taken else 0
        value = self.free_value + (float(self.value[taken - 1]) if taken else 0.0)
        price = float(self.slope[taken]) if taken < len(self.row) else 0.0
        return Allocation(choice, spent, value, value + price * (budget - spent), price)


def allocate(values: Floats, costs: Integers, budget: int) -> Allocation:
    """The allocation of one budget; `frontier_of` says what is read, and serves several budgets."""
    return frontier_of(values, costs).allocate(budget)


def frontier_of(values: Floats, costs: Integers) -> Frontier:
    """The frontier of n customers and k actions.

    values: float64 (n, k), what an action is expected to bring net of its cost, minor units; NaN or -inf where it may
    not be chosen. costs: int64 (k,), minor units.

    Raises:
        ValueError: shapes differ, or a cost is below 0.
    """
    if values.ndim != 2 or costs.shape != (values.shape[1],):
        raise ValueError(f"expected values (n, k) and costs (k,), got {values.shape} and {costs.shape}")
    if (costs < 0).any():
        raise ValueError("costs: expected at least 0")
    free, free_value = _free(values, costs)
    steps = [step for begins in range(0, len(values), _ROWS) for step in _steps_of(values, costs, free_value, begins)]
    # A customer's first step stands before the second, also where their slopes are the same.
    slope = _joined([step.slope for step in steps], np.float64)
    order = np.argsort(-slope, kind="stable")
    cost = _joined([step.cost for step in steps], np.int64)[order].cumsum()
    value = _joined([step.value for step in steps], np.float64)[order].cumsum()
    row = _joined([step.row for step in steps], np.int32)[order]
    action = _joined([step.action for step in steps], np.int32)[order]
    return Frontier(free, float(free_value.sum()), row, action, cost, value, slope[order])


@dataclass(frozen=True, slots=True)
class _Step:
    row: NDArray[np.int32]
    action: NDArray[np.int32]
    cost: Integers
    value: Floats
    slope: Floats


def _free(values: Floats, costs: Integers) -> tuple[Integers, Floats]:
    """The best action that costs nothing and is worth more than nothing, and its value; -1 and 0 where none is."""
    choice = np.full(len(values), NOTHING, dtype=np.int64)
    best = np.zeros(len(values))
    for action in np.flatnonzero(costs == 0):
        better = values[:, action] > best
        choice[better] = action
        best[better] = values[better, action]
    return choice, best


def _steps_of(values: Floats, costs: Integers, free_value: Floats, begins: int) -> Iterator[_Step]:
    """The steps of a block of rows, the first ones, then the second ones of those who have one, ..."""
    row = np.arange(begins, min(begins + _ROWS, len(values)))
    paid = np.flatnonzero(costs > 0)
    offered, price = values[row][:, paid], costs[paid]
    at_cost, at_value = np.zeros(len(row), dtype=np.int64), free_value[row]
    before = np.full(len(row), np.inf)
    for _ in range(len(paid)):
        slopes = _slopes(offered, price, at_cost, at_value)
        chosen = slopes.argmax(axis=1)
        going = slopes[np.arange(len(row)), chosen] > 0.0
        if not going.any():
            return
        row, offered, chosen, before = row[going], offered[going], chosen[going], before[going]
        each = np.arange(len(row))
        # Slopes fall; of equal ones rounding must not turn the order.
        slope = np.minimum(slopes[going][each, chosen], before)
        value, cost = offered[each, chosen], price[chosen]
        gained, spent = value - at_value[going], cost - at_cost[going]
        yield _Step(row.astype(np.int32), paid[chosen].astype(np.int32), spent, gained, slope)
        at_cost, at_value, before = cost, value, slope


def _slopes(offered: Floats, price: Integers, at_cost: Integers, at_value: Floats) -> Floats:
    """Value gained a unit of cost from where each row is, shape (rows, actions); 0 where nothing is gained.

    Actions stand by the catalogue; of equal slopes the first is taken.
    """
    gained = offered - at_value[:, None]
    spent = price[None, :] - at_cost[:, None]
    useful = (gained > 0.0) & (spent > 0)
    return np.divide(gained, spent, out=np.zeros(offered.shape), where=useful)


def _joined(parts: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=kind)
