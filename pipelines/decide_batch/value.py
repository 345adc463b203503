"""What the plan's policy is worth by the log, not by the model: doubly robust, on decisions the model never saw.

The policy is the one that single decisions follow at the plan's shadow price, exploration included. In the test it acts
on a share s of decisions, and gains g over no action on a mean one: g / s a contact. Times the contacts of the plan it
is what the plan should bring, if those it contacts are like those whom it would contact in the test. A plan acts on
fewer customers, since consent and rules leave many out, which is why the gain is not taken of all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.artefacts import EVALUATION, PREDICTIONS, Dataset, load_dataset_of, read_json
from pipelines.catalogue import Catalogue
from pipelines.console import UserError
from pipelines.decide_batch.effects import Effects
from pipelines.next_best_action.policies import everybody, greedy
from pipelines.next_best_action.steps import prices_of
from pipelines.next_best_action.trial import Trial, trials_of
from pipelines.policy_value.diagnostics import support_of
from pipelines.policy_value.estimators import gain_of
from pipelines.policy_value.logged import Array, Policy
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig


@dataclass(frozen=True, slots=True)
class ByTheLog:
    """A gain over no action with its 95 % interval, minor units, of all contacts of the plan and of one.

    `decisions` are those of the test it was judged on, `effective` of them count. `unknown` says why there are no
    figures; then all others are None.
    """

    total: float | None = None
    low: float | None = None
    high: float | None = None
    a_contact: float | None = None
    decisions: int | None = None
    effective: float | None = None
    warnings: tuple[str, ...] = ()
    unknown: str | None = None


def value_by_the_log(
    settings: Settings, effects: Effects | None, catalogue: Catalogue, share: float, shadow_price: float, contacts: int
) -> ByTheLog:
    """The value of a plan with so many `contacts`, made at `shadow_price` and drawing `share`."""
    if effects is None:
        return ByTheLog(unknown="no effect is known yet, so what the plan changes is not either")
    config = settings.action_models.get(effects.model)
    if config is None:
        return ByTheLog(unknown=f"{effects.model} is not configured as a model of actions")
    if not config.label.randomised:
        return ByTheLog(unknown="nobody drew the logged actions, so the log cannot tell what the plan changes")
    folder = settings.workspace.artefacts(config.name)
    try:
        dataset, evaluation = load_dataset_of(folder, config), read_json(folder / EVALUATION)
        predictions = pd.read_parquet(folder / PREDICTIONS)
    except (FileNotFoundError, UserError):
        return ByTheLog(unknown="the decisions that the champion was tested on are not there any more")
    hashes = {dataset.manifest.dataset_hash, evaluation["dataset_hash"], effects.manifest["dataset_hash"]}
    if len(hashes) != 1:
        return ByTheLog(unknown="the champion was tested on other decisions than those that are kept here")
    return _valued(settings, config, dataset, predictions, effects, catalogue, share, shadow_price, contacts)


def _valued(
    settings: Settings, config: ActionModelConfig, dataset: Dataset, predictions: pd.DataFrame, effects: Effects,
    catalogue: Catalogue, share: float, shadow_price: float, contacts: int,
) -> ByTheLog:  # fmt: skip
    prices = prices_of(settings, config)
    test = trials_of(dataset, config.label.control, True, prices).test
    expected = np.stack([predictions[f"expected_{arm}"].to_numpy(dtype=np.float64) for arm in test.arms], axis=1)
    policy = policy_at(test, effects, catalogue, prices.minor, share, shadow_price)
    nobody = everybody(0, test.eligible)
    gain = gain_of("dr", test.logged, policy, nobody, test.in_money(expected))
    support = support_of(test.logged, policy)
    acts = float(policy[:, 1:].sum(axis=1).mean())
    if acts == 0.0:
        return ByTheLog(unknown="at this shadow price it would contact nobody of the decisions that it was tested on")
    a_contact = prices.minor / acts
    scale = a_contact * contacts
    return ByTheLog(
        gain.value * scale, gain.low * scale, gain.high * scale, gain.value * a_contact, test.logged.rows,
        support.effective_sample_size, support.warnings,
    )  # fmt: skip


def policy_at(
    test: Trial, effects: Effects, catalogue: Catalogue, minor: int, share: float, shadow_price: float
) -> Policy:
    """The chances, (n, k), with which decisions choose at a shadow price, exploration and levers included."""
    known = list(effects.actions)
    gains = np.full((len(test.rows.action), len(test.arms)), -np.inf)
    found = effects.fitted.effect(test.rows.columns)
    actions = {action.id: action for action in catalogue.actions}
    for at, arm in enumerate(test.arms):
        if at and arm in known and arm in actions:
            action = actions[arm]
            plain = found[:, known.index(arm)] * test.worth[:, at] - test.cost[at]
            gains[:, at] = action.priority * plain + action.boost / minor - shadow_price * test.cost[at]
    gains[:, 0] = 0.0
    best = greedy(gains, test.eligible)
    return _explored(best, test.eligible, share)


def _explored(best: Policy, eligible: NDArray[np.bool_], share: float) -> Array:
    """As `pipelines.decisions` explores: one of the eligible, no action among them, with a chance of `share`."""
    return (1.0 - share) * best + share * eligible / eligible.sum(axis=1, keepdims=True)
