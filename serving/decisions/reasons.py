"""Why the model says what it says of an action: what each feature adds to the effect, or to the probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import check_adds_up
from feature_repo.reasons import check_additive, format_value, reason_codes
from pipelines.decisions.situation import Decision
from pipelines.settings.labels import RewardConfig
from serving.decisions.reading import Known, Model
from serving.effect_champion import EffectPredictor

_MOST = 5


@dataclass(frozen=True, slots=True)
class FeatureReason:
    """`contribution` is in units of the reward for an effect, in log-odds for a probability."""

    feature: str
    meaning: str
    value: float | None
    contribution: float
    sentence: str


@dataclass(frozen=True, slots=True)
class Explained:
    """The features that moved what is said of `action` most, the strongest first."""

    action: str
    reasons: tuple[FeatureReason, ...]


def explained(model: Model | None, known: Known, decision: Decision, unit: str) -> Explained | None:
    """Of the action that was chosen, or of the best one that was not where that is none; None where no model says.

    Raises:
        AdditivityError: the parts do not sum to the whole; nothing of this may be told.
    """
    if model is None or known.columns is None:
        return None
    if not isinstance(model, EffectPredictor):
        champion = model.champion
        parts = champion.contributions(known.columns)
        check_additive(parts, champion.scores(known.columns))
        codes = reason_codes(parts[0], known.columns[0], champion.inputs.names, _MOST, model.meanings)
        told = (FeatureReason(c.feature, c.meaning, c.value, c.contribution, c.sentence) for c in codes)
        return Explained(decision.action, tuple(told))
    action = _asked_about(model, decision)
    if action is None:
        return None
    parts = model.champion.contributions(action, known.columns)
    whole = model.champion.effects(known.columns)[:, model.champion.actions.index(action)]
    check_adds_up(parts, whole)
    return Explained(action, _strongest(model, parts[0], known.columns[0], unit))


def _asked_about(model: EffectPredictor, decision: Decision) -> str | None:
    """The chosen action, else the first of the others that the model knows: they are ordered by what they bring."""
    of_model = [item.action for item in decision.alternatives if item.action in model.champion.actions]
    return decision.action if decision.action in of_model else next(iter(of_model), None)


def _strongest(
    model: EffectPredictor, parts: NDArray[np.float64], values: NDArray[np.float64], unit: str
) -> tuple[FeatureReason, ...]:
    """`parts`, shape (k + 1,), base value last, and `values`, shape (k,), NaN where empty."""
    names = model.champion.inputs.names
    # A stable sort, so that ties fall in the order of the columns.
    order = np.argsort(-np.abs(parts[:-1]), kind="stable")[:_MOST].tolist()
    return tuple(
        _told(names[at], model.meanings.get(names[at], names[at]), float(values[at]), float(parts[at]), unit)
        for at in order
        if parts[at] != 0.0
    )


def _told(name: str, words: str, value: float, part: float, unit: str) -> FeatureReason:
    verb = "raises" if part > 0 else "lowers"
    sentence = f"{words} is {format_value(value)}: {verb} the effect by {abs(part):.3g} {unit}"
    return FeatureReason(name, words, None if np.isnan(value) else value, part, sentence)


def unit_of(reward: RewardConfig) -> str:
    """What a reward is counted in, in words."""
    if reward.of == "value":
        return "minor units"
    return " or ".join(event.lower() for event in reward.events)
