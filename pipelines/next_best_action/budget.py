"""What a budget buys: the value of a policy against what is spent, beside targeting by propensity and at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.next_best_action.candidates import JUDGED_BY
from pipelines.next_best_action.policies import PROPENSITY, RANDOM, everybody
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.estimators import gain_of
from pipelines.policy_value.logged import Array, Policy

POINTS = 10
CHOSEN = "chosen"
_SEED = 20


@dataclass(frozen=True, slots=True)
class BudgetPoint:
    """What is brought over no action, in money a decision net of costs, 95 % interval, at `budget` a decision.

    `spent` of it is used, on the share `acted` of decisions. Both are money, or actions where none costs anything.
    """

    policy: str
    budget: float
    spent: float
    acted: float
    value: float
    low: float
    high: float


def budget_curve(trial: Trial, gains: Array, ranked: Array, expected: Array, points: int = POINTS) -> list[BudgetPoint]:
    """`points` budgets up to acting on everybody, of three policies.

    `gains` (n, k) is what each arm is predicted to bring over the control in money net of its cost; `ranked` (n, k) the
    expected worth of the response to each arm net of its cost, which propensity goes by; `expected` (n, k) are rewards
    by models that have not seen the row.
    """
    price = prices(trial)
    most = float((trial.eligible * price).max(axis=1).mean())
    logged, money = trial.logged, trial.in_money(expected)
    nobody = everybody(0, trial.eligible)
    made = []
    for budget in np.linspace(0.0, most, points + 1)[1:].tolist():
        policies: Sequence[tuple[str, Policy]] = (
            (CHOSEN, within_budget(trial, gains, price, budget)),
            (PROPENSITY, within_budget(trial, ranked, price, budget)),
            (RANDOM, random_within_budget(trial, price, budget)),
        )
        for name, policy in policies:
            found = gain_of(JUDGED_BY, logged, policy, nobody, money)
            acted, spent = float(1.0 - policy[:, 0].mean()), float((policy * price).sum(axis=1).mean())
            made.append(BudgetPoint(name, budget, spent, acted, found.value, found.low, found.high))
    return made


def prices(trial: Trial) -> Array:
    """What counts against the budget, shape (k,): the costs, or 1 an action where none costs anything."""
    return trial.cost if trial.cost.any() else np.array([0.0, *np.ones(len(trial.arms) - 1)])


def within_budget(trial: Trial, scores: Array, price: Array, budget: float) -> Policy:
    """Each row's best arm, for the rows with most gain a unit of the budget, as far as it reaches; nothing at a loss.

    `budget` is a mean over decisions. Rows of equal rank come in an order drawn once.
    """
    allowed = np.where(trial.eligible, scores, -np.inf)
    allowed[:, 0] = 0.0
    arm = np.argmax(allowed, axis=1)
    rows = np.arange(len(arm))
    cost = price[arm]
    with np.errstate(divide="ignore", invalid="ignore"):
        rank = np.where(arm > 0, np.where(cost > 0, allowed[rows, arm] / cost, np.inf), -np.inf)
    drawn = np.random.default_rng(_SEED).permutation(len(arm))
    order = drawn[np.argsort(-rank[drawn], kind="stable")]
    spent = np.cumsum(cost[order])
    taken = order[(arm[order] > 0) & (spent <= budget * len(arm) * (1 + 1e-12))]
    made = everybody(0, trial.eligible)
    made[taken, 0] = 0.0
    made[taken, arm[taken]] = 1.0
    return made


def random_within_budget(trial: Trial, price: Array, budget: float) -> Policy:
    """Any eligible action, with the same chance for each row, as large as the budget allows."""
    acting = trial.eligible.copy().astype(np.float64)
    acting[:, 0] = 0.0
    count = acting.sum(axis=1, keepdims=True)
    acting = np.divide(acting, count, out=np.zeros_like(acting), where=count > 0)
    whole = float((acting * price).sum(axis=1).mean())
    share = min(1.0, budget / whole) if whole > 0 else 0.0
    made = acting * share
    made[:, 0] = 1.0 - made.sum(axis=1)
    return made
