"""The policies that are compared, and what they are worth: one table for the choice and for the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.next_best_action.policies import ALL, LOGGED, NO_ACTION, PROPENSITY, RANDOM, at_random, everybody, greedy
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.estimators import ESTIMATORS, Estimator, contributions, gain_of, value_of
from pipelines.policy_value.intervals import widening
from pipelines.policy_value.logged import Array, Estimate, Gain, Policy

CONSTANT = "constant"
JUDGED_BY: Estimator = "dr"
TITLES: Mapping[str, str] = {
    "s": "S-learner", "t": "T-learner", "x": "X-learner", "dr": "DR-learner", CONSTANT: "One effect for all",
    NO_ACTION: "No action", RANDOM: "At random", PROPENSITY: "Propensity only", LOGGED: "As it was logged",
    "champion": "Present champion", "chosen": "This model",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """What a policy is worth a decision: money net of costs, with a 95 % interval over customers, by DR.

    `effective_sample_size` is in decisions. `acted` is the share of decisions with an action, `spent` the mean cost of
    a decision, `shares` that of each arm. `estimates` are all estimators' value, low, high by name.
    """

    name: str
    title: str
    value: float
    low: float
    high: float
    effective_sample_size: float
    acted: float
    spent: float
    shares: dict[str, float]
    warnings: tuple[str, ...]
    estimates: dict[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class GainFigures:
    """How much more `policy` brings a decision than `against`, in money, paired by decision, 95 % interval."""

    policy: str
    against: str
    value: float
    low: float
    high: float

    @property
    def is_shown(self) -> bool:
        return self.low > 0


def title_of(name: str) -> str:
    """The words for a policy's name."""
    return TITLES.get(name, f"{name.removeprefix(ALL)} to all")


def simple_policies(trial: Trial, responses: Array) -> dict[str, Policy | None]:
    """Those that no effect is learned for. `responses` (n, k) are expected rewards under each arm.

    Propensity only is the rule of most products: whoever is likely to respond gets the action with the highest
    expected worth of the response, also if they would have responded without.
    """
    ranked = trial.in_money(responses)
    ranked[:, 0] = 0.0
    constant = {f"{ALL}{arm}": everybody(at, trial.eligible) for at, arm in enumerate(trial.arms) if at}
    return {
        NO_ACTION: everybody(0, trial.eligible),
        **constant,
        RANDOM: at_random(trial.eligible),
        PROPENSITY: greedy(ranked, trial.eligible),
        LOGGED: None,
    }


def effect_policy(trial: Trial, effects: Array) -> Policy:
    """What brings most over no action by `effects` (n, m), net of costs."""
    return greedy(trial.gains(effects), trial.eligible)


def figures(
    trial: Trial,
    policies: Mapping[str, Policy | None],
    expected: Array,
    estimators: Sequence[Estimator] = ESTIMATORS,
) -> tuple[PolicyFigures, ...]:
    """Of every policy. `expected` (n, k) are rewards by models that have not seen the row."""
    logged, money = trial.logged, trial.in_money(expected)
    made = []
    for name, policy in policies.items():
        found = {estimator: value_of(estimator, logged, policy, money) for estimator in estimators}
        made.append(_figures(trial, name, policy, found))
    return tuple(made)


def gain(trial: Trial, policies: Mapping[str, Policy | None], one: str, other: str, expected: Array) -> GainFigures:
    """Of one of the policies over another."""
    found: Gain = gain_of(JUDGED_BY, trial.logged, policies[one], policies[other], trial.in_money(expected))
    return GainFigures(one, other, found.value, found.low, found.high)


def gains_at_once(
    trial: Trial, policies: Mapping[str, Policy | None], names: Sequence[str], other: str, expected: Array
) -> dict[str, GainFigures]:
    """Of each of `names` over `other`, with intervals that hold for all of them at once: the best one is chosen."""
    money = trial.in_money(expected)
    base = contributions(JUDGED_BY, trial.logged, policies[other], money)
    made = [contributions(JUDGED_BY, trial.logged, policies[name], money).minus(base).rows for name in names]
    wider = widening(np.stack(made, axis=1), trial.logged.cluster)
    found = {name: gain(trial, policies, name, other, expected) for name in names}
    return {name: _widened(one, wider) for name, one in found.items()}


def _widened(one: GainFigures, times: float) -> GainFigures:
    return replace(one, low=one.value + times * (one.low - one.value), high=one.value + times * (one.high - one.value))


def best_constant(made: Sequence[PolicyFigures]) -> PolicyFigures:
    """Of one arm to all, no action among them, the one that is worth most."""
    return max((row for row in made if row.name == NO_ACTION or row.name.startswith(ALL)), key=lambda row: row.value)


def as_json(figure: PolicyFigures | GainFigures) -> dict[str, Any]:
    """A row of a table, for `training.json` and `evaluation.json`."""
    return {name: getattr(figure, name) for name in figure.__dataclass_fields__}


def _figures(trial: Trial, name: str, policy: Policy | None, found: Mapping[Estimator, Estimate]) -> PolicyFigures:
    judged = found[JUDGED_BY]
    chances = np.eye(len(trial.arms))[trial.rows.action] if policy is None else policy
    shares = chances.mean(axis=0)
    return PolicyFigures(
        name, title_of(name), judged.value, judged.low, judged.high, judged.effective_sample_size,
        float(1.0 - shares[0]), float(shares @ trial.cost),
        {arm: float(share) for arm, share in zip(trial.arms, shares, strict=True)}, judged.warnings,
        {estimator: (one.value, one.low, one.high) for estimator, one in found.items()},
    )  # fmt: skip
