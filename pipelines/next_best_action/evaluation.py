"""Out of time: what the fitted model's policy brings beside all others, and how good its orders of customers are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.next_best_action.budget import BudgetPoint, budget_curve
from pipelines.next_best_action.candidates import (
    GainFigures,
    PolicyFigures,
    best_constant,
    effect_policy,
    figures,
    gain,
    simple_policies,
)
from pipelines.next_best_action.policies import CHAMPION, NO_ACTION
from pipelines.next_best_action.results import ArmFigures, RankingFigures, SegmentFigures
from pipelines.next_best_action.trial import Trial
from pipelines.policy_value.diagnostics import support_of
from pipelines.policy_value.estimators import contributions
from pipelines.policy_value.intervals import half_width
from pipelines.policy_value.logged import Array, Policy
from pipelines.slicing import Slice
from pipelines.uplift.doubly_robust import pseudo_effects
from pipelines.uplift.metrics import OneAction, ranked

CHOSEN = "chosen"
_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Predicted:
    """Of n test rows: effects (n, m) and responses (n, k) of the fitted model, `expected` rewards (n, k) of boosters
    that estimates lean on, and the champion's policy where it could be compared."""

    effects: Array
    responses: Array
    expected: Array
    champion: Policy | None = None


def policies_of(
    test: Trial, predicted: Predicted, chosen: Policy, learners: Mapping[str, Array]
) -> dict[str, Policy | None]:
    """All that are compared; `learners` are effects (n, m) of others than the one that was chosen, by name."""
    made = simple_policies(test, predicted.expected)
    made |= {name: effect_policy(test, effects) for name, effects in learners.items()}
    if predicted.champion is not None:
        made[CHAMPION] = predicted.champion
    return {**made, CHOSEN: chosen}


def compared(
    test: Trial, policies: Mapping[str, Policy | None], expected: Array
) -> tuple[tuple[PolicyFigures, ...], tuple[GainFigures, ...], str]:
    """Figures of all policies, gains of the chosen over each other, and the best that gives one arm to all."""
    made = figures(test, policies, expected)
    gains = tuple(gain(test, policies, CHOSEN, name, expected) for name in policies if name != CHOSEN)
    return made, gains, best_constant(made).name


def support_figures(test: Trial, policy: Policy) -> dict[str, Any]:
    """Overlap and effective sample size of the chosen policy, with warnings in words."""
    found = support_of(test.logged, policy)
    return {**asdict(found), "warnings": list(found.warnings)}


def arm_figures(test: Trial) -> tuple[ArmFigures, ...]:
    """Each arm as the log has it."""
    made = []
    for at, arm in enumerate(test.arms):
        own = test.rows.action == at
        chances = test.rows.propensity[own]
        if own.any():
            mean, low, high = (float(part) for part in (test.rows.reward[own].mean(), chances.min(), chances.max()))
            made.append(ArmFigures(arm, int(own.sum()), float(own.mean()), mean, low, high))
    return tuple(made)


def ranking_figures(test: Trial, predicted: Predicted, seed: int) -> tuple[RankingFigures, ...]:
    """Orders by effect and by propensity, of the rows that got an action, or no action where they could have got it.

    A random order is their yardstick.
    """
    observed = pseudo_effects(test.rows, predicted.expected)
    made = []
    for at, action in enumerate(test.rows.actions, 1):
        own = np.isin(test.rows.action, (0, at)) & test.eligible[:, at]
        treated = test.rows.action[own] == at
        if treated.all() or not treated.any():
            continue
        rows = OneAction(
            test.rows.reward[own], treated, test.rows.propensity[own], observed[own, at - 1], test.rows.cluster[own]
        )
        scores = {
            "effect": predicted.effects[own, at - 1],
            "propensity": predicted.expected[own, at],
            "random": np.zeros(int(own.sum())),
        }
        for by, found in ranked(rows, scores, _SHARE, seed=seed).items():
            intervals = (found.interval(metric) for metric in ("qini", "auuc", "uplift", "dr_gain"))
            made.append(RankingFigures(action, by, int(own.sum()), *intervals))
    return tuple(made)


def segment_figures(
    test: Trial, policy: Policy, expected: Array, slices: Sequence[Slice]
) -> tuple[SegmentFigures, ...]:
    """What the policy chooses in each band of each slice, and what that brings over no action."""
    logged, money = test.logged, test.in_money(expected)
    nobody = simple_policies(test, expected)[NO_ACTION]
    more = contributions("dr", logged, policy, money).minus(contributions("dr", logged, nobody, money)).rows
    made = []
    for cut in slices:
        for number, band in enumerate(cut.bands):
            own = cut.numbers == number
            if not own.any():
                continue
            value = float(more[own].mean())
            _, half = half_width(more[own], logged.cluster[own])
            shares = policy[own].mean(axis=0)
            named = {arm: float(share) for arm, share in zip(test.arms, shares, strict=True)}
            made.append(SegmentFigures(cut.name, band, int(own.sum()), named, value, value - half, value + half))
    return tuple(made)


def budget_figures(test: Trial, predicted: Predicted) -> tuple[BudgetPoint, ...]:
    """The curves of the chosen policy, of targeting by propensity, and of acting at random."""
    by_response = test.in_money(predicted.expected)
    by_response[:, 0] = 0.0
    return tuple(budget_curve(test, test.gains(predicted.effects), by_response, predicted.expected))


def predictions(rows: pd.DataFrame, test: Trial, predicted: Predicted, policy: Policy) -> pd.DataFrame:
    """Every test row with what was predicted and what the log says of it.

    effect_<action>, response_<arm> (units of the reward; the fitted model), expected_<arm> (what estimates lean on),
    observed_<action> (doubly-robust effect, one noisy unbiased guess a row; NaN where the action could not be drawn),
    gain_<action> (money over no action, net),
    chosen (the arm that the model's policy takes).
    """
    made = rows[["customer_id", "as_of", "action", "label"]].rename(columns={"label": "reward"}).reset_index(drop=True)
    made["propensity"] = test.rows.propensity
    observed, gains = pseudo_effects(test.rows, predicted.expected), test.gains(predicted.effects)
    for at, arm in enumerate(test.arms):
        made[f"response_{arm}"] = predicted.responses[:, at]
        made[f"expected_{arm}"] = predicted.expected[:, at]
        if at:
            made[f"effect_{arm}"] = predicted.effects[:, at - 1]
            made[f"observed_{arm}"] = np.where(test.eligible[:, at], observed[:, at - 1], np.nan)
            made[f"gain_{arm}"] = gains[:, at]
    made["chosen"] = np.array(test.arms, dtype=object)[np.argmax(policy, axis=1)]
    return made
