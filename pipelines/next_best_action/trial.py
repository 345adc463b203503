"""A part of the dataset as learners and estimators read it: arms by number, rewards, chances, and money.

There are k = m + 1 arms: 0 is the control, i is `actions[i - 1]`. Money is in major units of one currency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.next_best_action.worth import Prices
from pipelines.policy_value.decision_log import eligible_arms, unsaid_arms
from pipelines.policy_value.logged import Array, Logged
from pipelines.uplift.rows import TrialRows

# Decisions of an action, out of the train part, below which nothing is learned of it.
FEWEST_OF_ACTION = 30


@dataclass(frozen=True, slots=True)
class Trial:
    """n rows. fold: int64 (n,), rows of a customer have one, -1 in the test. eligible: bool (n, k). worth: float64
    (n, k), money that a unit of reward is worth under each arm. cost: float64 (k,), money that choosing it costs.
    drawn: whether chances are those that were drawn with; else `rows.propensity` is NaN until it is estimated.
    """

    rows: TrialRows
    fold: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    worth: Array
    cost: Array
    drawn: bool

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms by name, the control first."""
        return (self.rows.control, *self.rows.actions)

    def in_money(self, expected: Array) -> Array:
        """Expected rewards (n, k) as money net of the cost of the arm, (n, k)."""
        return expected * self.worth - self.cost

    def gains(self, effects: Array) -> Array:
        """Effects (n, m) as what each arm brings in money over the control, net of its cost: (n, k), 0 for the control.

        This is what a decision ranks by: effect × value − cost.
        """
        return np.hstack([np.zeros((len(effects), 1)), effects * self.worth[:, 1:] - self.cost[1:]])

    @property
    def logged(self) -> Logged:
        """The decisions with their rewards in money, net of costs."""
        rows, own = self.rows, (np.arange(len(self.rows.action)), self.rows.action)
        reward = rows.reward * self.worth[own] - self.cost[rows.action]
        return Logged(rows.action, reward, rows.propensity, self.eligible, rows.cluster)

    def with_propensity(self, propensity: Array) -> Trial:
        """The same rows with chances that were estimated, shape (n,)."""
        return replace(self, rows=replace(self.rows, propensity=propensity))

    def where(self, chosen: NDArray[np.bool_]) -> Trial:
        """Some of the rows."""
        rows = replace(
            self.rows, columns=self.rows.columns[chosen], reward=self.rows.reward[chosen],
            action=self.rows.action[chosen], propensity=self.rows.propensity[chosen],
            cluster=self.rows.cluster[chosen], eligible=self.eligible[chosen],
        )  # fmt: skip
        return Trial(
            rows, self.fold[chosen], self.eligible[chosen], self.worth[chosen], self.cost, self.drawn
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trials:
    """Both parts over the same arms, and what is to be known of how they were made."""

    train: Trial
    test: Trial
    notes: tuple[str, ...]


def trials_of(dataset: Dataset, control: str, randomised: bool, prices: Prices) -> Trials:
    """Both parts of the dataset. Actions with too few decisions to learn from are left out with their decisions.

    Raises:
        UserError: no action is left, or the control was never chosen.
    """
    actions, left = learned_actions(dataset.rows, control, prices.order)
    rows = dataset.rows[dataset.rows["action"].isin([control, *actions])]
    cluster = pd.Series(pd.factorize(dataset.rows["customer_id"])[0], index=dataset.rows.index)
    worth, notes = prices.worth(rows, actions)
    cost = prices.cost(actions)
    parts = []
    for name in ("train", "test"):
        own = (rows["part"] == name).to_numpy()
        parts.append(_trial(dataset, rows[own], cluster, control, actions, worth[own], cost, randomised))
    told = [
        f"{name} is left out with its {count:,} decisions: fewer than {FEWEST_OF_ACTION} of them are in the train part"
        for name, count in left
    ]
    train, test = parts
    return Trials(train, test, (*told, *notes))


def learned_actions(
    rows: pd.DataFrame, control: str, order: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """The actions that there is enough of to learn from, in `order` and then by name, and the others with their counts.

    Raises:
        UserError: there is none, or too little of the control.
    """
    counts = rows.loc[rows["part"] == "train", "action"].value_counts()
    of_all = rows["action"].value_counts()
    enough = {str(name) for name, count in counts.items() if count >= FEWEST_OF_ACTION}
    others = enough - {control}
    problems = []
    if control not in enough:
        got = f"{int(counts.get(control, 0))}"
        problems.append(Problem(control, f"at least {FEWEST_OF_ACTION} decisions in the train part", got))
    if not others:
        found = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
        expected = f"an action with at least {FEWEST_OF_ACTION} decisions in the train part"
        hint = "ingest the log of assignments, or let exploration go on"
        problems.append(Problem("action", expected, found, hint))
    if problems:
        raise UserError("What actions change cannot be learned from this dataset.", problems)
    places = {name: at for at, name in enumerate(order)}
    actions = tuple(sorted(others, key=lambda name: (places.get(name, len(places)), name)))
    left = [(str(name), int(of_all[name])) for name in sorted(set(of_all.index) - enough)]
    return actions, left


def _trial(
    dataset: Dataset, rows: pd.DataFrame, cluster: pd.Series, control: str, actions: tuple[str, ...],
    worth: Array, cost: Array, randomised: bool,
) -> Trial:  # fmt: skip
    inputs = dataset.manifest.inputs
    arms = (control, *actions)
    action = pd.Categorical(rows["action"], categories=list(arms)).codes.astype(np.int64)
    columns = inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64))
    eligible = eligible_arms(rows["eligible"].tolist(), arms, unsaid_arms(dataset.rows))
    # What was chosen, and no action, can be chosen.
    eligible[np.arange(len(rows)), action] = True
    eligible[:, 0] = True
    trial = TrialRows(
        columns, rows["label"].to_numpy(dtype=np.float64), action, rows["propensity"].to_numpy(dtype=np.float64),
        cluster[rows.index].to_numpy(dtype=np.int64), actions, control, inputs, eligible,
    )  # fmt: skip
    return Trial(trial, rows["fold"].to_numpy(dtype=np.int64), eligible, worth, cost, randomised)
