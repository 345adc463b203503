"""What policies are worth by every estimator, for a person and for a program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.policy_value.checks import check_inputs
from pipelines.policy_value.cross_fit import expected_rewards
from pipelines.policy_value.decision_log import DecisionLog
from pipelines.policy_value.diagnostics import ASSOCIATIONAL, Support, support_of
from pipelines.policy_value.estimators import ESTIMATORS, TITLES, gain_of, value_of
from pipelines.policy_value.logged import Estimate, Gain, Policy
from pipelines.policy_value.policies import policy_named

EVERY_ROW = "there is no customer_id: intervals take every decision for a customer of its own"


@dataclass(frozen=True, slots=True)
class Judged:
    """One policy: its value by every estimator, and how far the log supports it; no support is said of the log."""

    policy: str
    estimates: tuple[Estimate, ...]
    support: Support | None

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(text for item in self.estimates for text in item.warnings))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Values are mean rewards a decision; `gains` are of the first policy over the second, paired by decision.

    No gain is called shown by DM, whose interval leaves out the error of its model.
    """

    decisions: int
    customers: int
    mean_reward: float
    judged: tuple[Judged, ...]
    gains: tuple[Gain, ...]
    warnings: tuple[str, ...]

    def text(self) -> str:
        lines = [
            f"{self.decisions:,} decisions of {self.customers:,} customers, mean reward {self.mean_reward:.5g}. "
            "Values are rewards a decision, intervals 95 % over customers."
        ]
        for item in self.judged:
            lines += ["", *_policy_lines(item)]
        if self.gains:
            first, second = (item.policy for item in self.judged)
            lines += ["", f"Gain of {first} over {second}"]
            lines += [
                f"  {_title(gain.estimator)} {gain.value:>+10.4g}  {_interval(gain.low, gain.high)}"
                f"{'  shown' if gain.is_shown and gain.estimator != 'dm' else ''}"
                for gain in self.gains
            ]
        told = [*self.warnings, *(f"{item.policy}: {text}" for item in self.judged for text in item.warnings)]
        return "\n".join([*lines, *([""] if told else []), *(f"warning: {text}" for text in told)])


def evaluate(log: DecisionLog, policy: str, against: str | None = None, seed: int = 7) -> Evaluation:
    """Judge `policy`, and `against` beside it, as policies.py names them. The reward model is cross-fitted.

    Raises:
        UserError: with every mistake of the log and of the policies.
    """
    logged = log.logged
    named = {"policy": policy, **({} if against is None else {"against": against})}
    policies = {option: policy_named(text, log, option) for option, text in named.items()}
    check_inputs(logged, {option: made for option, made in policies.items() if made is not None})
    expected = expected_rewards(log.context, logged.action, logged.reward, logged.actions, logged.cluster, seed)

    def judge(text: str, made: Policy | None) -> Judged:
        values = tuple(value_of(name, logged, made, expected) for name in ESTIMATORS)
        return Judged(text, values, None if made is None else support_of(logged, made))

    judged = tuple(judge(named[option], made) for option, made in policies.items())
    gains: tuple[Gain, ...] = ()
    if against is not None:
        one, another = policies["policy"], policies["against"]
        gains = tuple(gain_of(name, logged, one, another, expected) for name in ESTIMATORS)
    warnings = ((ASSOCIATIONAL,) if log.associational else ()) + (() if log.by_customer else (EVERY_ROW,))
    customers = len(np.unique(logged.cluster))
    return Evaluation(logged.rows, customers, float(logged.reward.mean()), judged, gains, warnings)


def _policy_lines(item: Judged) -> list[str]:
    """The log is its mean whatever the estimator, so that one line says it."""
    if item.support is None:
        first = item.estimates[0]
        return [
            f"{item.policy} (the log itself)",
            f"  mean      {first.value:>10.4g}  {_interval(first.low, first.high)}",
        ]
    support = item.support
    size = f"{support.effective_sample_size:,.0f} decisions ({support.effective_share:.1%})"
    return [
        item.policy,
        *(
            f"  {_title(one.estimator)} {one.value:>10.4g}  {_interval(one.low, one.high)}"
            for one in item.estimates
        ),
        f"  effective sample size {size}; it could choose {support.overlap:.1%} of what was chosen; "
        f"largest weight {support.largest_weights[0]:.4g} ({support.largest_share:.1%} of all)",
    ]  # fmt: skip


def _title(name: str) -> str:
    return f"{TITLES[name]:<9}"


def _interval(low: float, high: float) -> str:
    return f"[{low:.4g}, {high:.4g}]"
