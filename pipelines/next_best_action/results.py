"""What an evaluation of a model of actions says: policies with their values, gains, support, and a verdict in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.next_best_action.budget import BudgetPoint
from pipelines.next_best_action.candidates import GainFigures, PolicyFigures
from pipelines.scoring.bootstrap import Interval


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm of the test part: its rows, their mean reward as it stands, and the chances it was chosen with."""

    arm: str
    rows: int
    share: float
    mean_reward: float
    lowest_propensity: float
    highest_propensity: float


@dataclass(frozen=True, slots=True)
class RankingFigures:
    """How good an order of the customers is for one action against the control; formulas in `pipelines.uplift.metrics`.

    `by` is effect, propensity or random. In units of the reward; `uplift` and `dr_gain` at the first fifth.
    """

    action: str
    by: str
    rows: int
    qini: Interval
    auuc: Interval
    uplift: Interval
    dr_gain: Interval


@dataclass(frozen=True, slots=True)
class SegmentFigures:
    """Rows of one band of a slice: the arms that the model chooses, and what that brings over no action, by DR."""

    slice: str
    band: str
    rows: int
    shares: dict[str, float]
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ActionEvaluation:
    """All figures are on the test part; intervals are 95 % over customers, values are money a decision net of costs.

    Of `policies`, `chosen` is what is registered. `gains` are of it over each other one. `reference` is the best of one
    arm to all, no action among them, by its value on this test. `support` is what the log says of the chosen policy.
    `champion_version` held the alias then; it is among `policies` if it could be compared. `currency` is None where no
    catalogue says one. `recommendation` is the choice on the train part, in words.
    """

    model: str
    learner: str
    control: str
    actions: tuple[str, ...]
    reward: str
    currency: str | None
    randomised: bool
    judged_by: str
    train_rows: int
    test_rows: int
    test_customers: int
    arms: tuple[ArmFigures, ...]
    policies: tuple[PolicyFigures, ...]
    gains: tuple[GainFigures, ...]
    reference: str
    rankings: tuple[RankingFigures, ...]
    support: dict[str, Any]
    segments: tuple[SegmentFigures, ...]
    budget: tuple[BudgetPoint, ...]
    notes: tuple[str, ...]
    recommendation: str
    verdict_sentences: tuple[str, ...]
    verdict: str
    dataset_hash: str
    model_hash: str
    champion_version: str | None = None

    def text(self) -> str:
        """The summary for a person."""
        money = self.currency or "money"
        drawn = "drawn at random" if self.randomised else "NOT drawn: associational"
        lines = [
            f"Evaluation of {self.model} on {self.test_rows:,} decisions of {self.test_customers:,} customers, actions "
            f"{drawn}",
            f"  {'policy':<28} {f'{money} a decision, net':>32} {'acted':>7} {'spent':>8} {'effective':>10}",
        ]
        for row in sorted(self.policies, key=lambda row: -row.value):
            value = f"{row.value:,.3f} [{row.low:,.3f}, {row.high:,.3f}]"
            own = f"{row.title}{' *' if row.name == 'chosen' else ''}"
            size = f"{row.effective_sample_size:,.0f}"
            lines.append(f"  {own:<28} {value:>32} {row.acted:>7.0%} {row.spent:>8.2f} {size:>10}")
        lines += [f"  {sentence}" for sentence in self.verdict_sentences]
        lines += [f"  Note: {note}" for note in self.notes]
        return "\n".join(lines)


def row_of(rows: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """The policy called `name` in the JSON of an evaluation."""
    return next((row for row in rows if row["name"] == name), None)


def gain_over(gains: Sequence[Mapping[str, Any]], against: str) -> Mapping[str, Any] | None:
    """The gain over `against` in the JSON of an evaluation."""
    return next((gain for gain in gains if gain["against"] == against), None)
