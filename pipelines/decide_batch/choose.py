"""Which action each of many customers gets under one budget: exploration first, the rest by allocation.

A draw is the one that a single decision with the same id makes, so its chance is known exactly. Draws spend at most the
share of the budget that exploration has of the decisions. Where those of the catalogue would spend more, the share is
lowered until they fit, for all alike; the plan says by how much. What is left is allocated, and gives the shadow price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.decisions.allocation import NOTHING, frontier_of
from pipelines.decisions.draws import chances, seed_of, uniforms

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choices:
    """Of n customers and k actions; an index of an action is that of the catalogue, -1 is no action.

    choice and best: int64 (n,), what is chosen, and what would be without the draw. explored: bool (n,). chance_of_best
    and chance_of_others: float64 (n,), of each choice that is open. `spent` is the cost of all that is chosen, minor
    units; `exploration_share` is the share that was drawn with, `shadow_price` what a unit of money more would bring.
    """

    choice: Indices
    best: Indices
    explored: Flags
    chance_of_best: Floats
    chance_of_others: Floats
    spent: int
    exploration_share: float
    shadow_price: float

    @property
    def propensity(self) -> Floats:
        """The chance with which each customer gets what was chosen, shape (n,)."""
        return np.where(self.choice == self.best, self.chance_of_best, self.chance_of_others)


@dataclass(frozen=True, slots=True)
class Draws:
    """Two uniform numbers a customer, (n,) each: whether something is drawn, and which of the open choices."""

    whether: Floats
    which: Floats


def draws_of(salt: str, decision_ids: Sequence[str], customers: Sequence[str]) -> Draws:
    """Those of single decisions with these ids for these customers."""
    found = np.empty((len(customers), 2))
    for at, (decision, customer) in enumerate(zip(decision_ids, customers, strict=True)):
        found[at] = uniforms(seed_of(salt, decision, customer))
    return Draws(found[:, 0].copy(), found[:, 1].copy())


def choose_many(
    is_open: Flags, values: Floats, holdout: Flags, costs: Indices, draws: Draws, share: float, budget: int
) -> Choices:
    """Choose for n customers.

    Args:
        is_open: bool (n, k), what has no obstacle.
        values: float64 (n, k), what an action is expected to bring with its levers, minor units; NaN where not known.
        holdout: bool (n,), gets nothing.
        costs: int64 (k,), minor units.
        draws: those of the customers.
        share: of decisions that are drawn, at most.
        budget: minor units.
    """
    drawn, options = _drawn(is_open, draws)
    drawn_cost = np.where(drawn == NOTHING, 0, costs[drawn]) if len(costs) else np.zeros(len(drawn), dtype=np.int64)
    lowered = _affordable_share(draws.whether[~holdout], drawn_cost[~holdout], share, int(share * budget))
    explored = ~holdout & (draws.whether < lowered)
    open_values = np.where(is_open & ~holdout[:, None], values, np.nan)
    left = budget - int(drawn_cost[explored].sum())
    allocated = frontier_of(np.where(explored[:, None], np.nan, open_values), costs).allocate(left)
    best = np.where(explored, _best_at(open_values, costs, allocated.shadow_price), allocated.choice)
    choice = np.where(explored, drawn, allocated.choice)
    of_best, of_others = chances_of_many(lowered, options)
    return Choices(
        choice, best, explored, np.where(holdout, 1.0, of_best), np.where(holdout, 0.0, of_others),
        allocated.spent + budget - left, lowered, allocated.shadow_price,
    )  # fmt: skip


def chances_of_many(share: float, options: Indices) -> tuple[Floats, Floats]:
    """`chances` of customers with that many open choices, no action among them, shape (n,) each; the same bits."""
    table = np.array([chances(share, count) for count in range(1, int(options.max(initial=1)) + 1)])
    return table[options - 1, 0], table[options - 1, 1]


def _drawn(is_open: Flags, draws: Draws) -> tuple[Indices, Indices]:
    """What would be drawn for each, -1 for no action, and how many choices are open, no action among them."""
    places = is_open.cumsum(axis=1)
    options = (is_open.sum(axis=1) + 1).astype(np.int64)
    wanted = (draws.which * options).astype(np.int64)
    # No action is the choice 0, the first open action is 1.
    found = is_open & (places == wanted[:, None])
    drawn = found.argmax(axis=1) if is_open.shape[1] else np.zeros(len(options), dtype=np.int64)
    return np.where(wanted == 0, NOTHING, drawn).astype(np.int64), options


def _affordable_share(whether: Floats, cost: Indices, share: float, most: int) -> float:
    """The largest share up to `share` with which draws cost `most` at most."""
    within = np.flatnonzero(whether < share)
    order = within[np.argsort(whether[within], kind="stable")]
    over = np.flatnonzero(np.cumsum(cost[order]) > most)
    # Whoever is drawn has a number below the share: that of the first who does not fit is not.
    return float(whether[order[over[0]]]) if len(over) else share


def _best_at(values: Floats, costs: Indices, price: float) -> Indices:
    """What is worth most at a price of money, the first of equals, no action before any; as `decide` has it."""
    if not values.shape[1]:
        return np.full(len(values), NOTHING, dtype=np.int64)
    scores = np.nan_to_num(values - price * costs, nan=-np.inf)
    best = scores.argmax(axis=1)
    return np.where(scores[np.arange(len(scores)), best] > 0.0, best, NOTHING).astype(np.int64)
