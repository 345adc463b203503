"""What each action changes, as weighted sums of boosters: effects that add up, so that their reasons are exact.

Every learner (S, T, X, DR), and a constant, is written in one form. For action a the effect on the reward is

    effect_a(x) = intercept_a + sum over terms of weight * booster(x [, action])

A booster of an S-learner reads one column more for each action but the control, 1 for the action that is asked for
and 0 else; a term says which action it is asked with. All boosters answer in units of the reward (objective
`regression`), also where the reward is 0 or 1, so that SHAP's contributions of a booster, weighted alike, are those
of the effect.
The service and the evaluation both compute it here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feature_repo.model_inputs import ModelInputs, inputs_from_json
from feature_repo.reasons import ADDITIVITY, AdditivityError

Array: TypeAlias = NDArray[np.float64]
FILE = "effects.json"


class RawScorer(Protocol):
    """A booster, whichever library asks it. Shapes: (n, k) to (n,), and to (n, k + 1) with the base value last."""

    def raw_scores(self, matrix: Array, /) -> Array: ...

    def contributions(self, matrix: Array, /) -> Array: ...


@dataclass(frozen=True, slots=True)
class Term:
    """`weight` times what `booster` says; `asked_with` is an action, or the control, where it reads actions."""

    booster: str
    weight: float
    asked_with: str | None = None


@dataclass(frozen=True, slots=True)
class Combination:
    """`intercept` and terms, in units of the reward."""

    intercept: float
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class EffectModel:
    """`actions` are those that are told apart from `control`, in order; `effects` and `responses` go with them.

    `responses` are the expected reward under each action, `control_response` that under none. `learner` says how it
    was made: s, t, x, dr, or constant.
    """

    learner: str
    control: str
    actions: tuple[str, ...]
    inputs: ModelInputs
    effects: tuple[Combination, ...]
    responses: tuple[Combination, ...]
    control_response: Combination

    @property
    def boosters(self) -> tuple[str, ...]:
        """The names of all boosters, each once, in order."""
        parts = (*self.effects, *self.responses, self.control_response)
        return tuple(dict.fromkeys(term.booster for part in parts for term in part.terms))

    def effect(self, columns: Array, scorers: Mapping[str, RawScorer]) -> Array:
        """Effects in units of the reward, shape (n, actions), of columns of shape (n, k) as `inputs` makes them."""
        return self._of(self.effects, columns, scorers)

    def response(self, columns: Array, scorers: Mapping[str, RawScorer]) -> Array:
        """Expected rewards under the control (column 0) and each action, shape (n, actions + 1)."""
        return self._of((self.control_response, *self.responses), columns, scorers)

    def contributions(self, action: str, columns: Array, scorers: Mapping[str, RawScorer]) -> Array:
        """What each column adds to the effect of `action`, shape (n, k + 1).

        The base value stands last; what an S-learner's booster says of the action itself is part of it.
        """
        part = self.effects[self.actions.index(action)]
        width = columns.shape[1]
        made = np.zeros((len(columns), width + 1))
        made[:, -1] = part.intercept
        for term in part.terms:
            told = term.weight * scorers[term.booster].contributions(self._asked(term, columns))
            made[:, :width] += told[:, :width]
            made[:, -1] += told[:, width:].sum(axis=1)
        return made

    def _of(self, parts: Sequence[Combination], columns: Array, scorers: Mapping[str, RawScorer]) -> Array:
        made = np.empty((len(columns), len(parts)))
        told: dict[tuple[str, str | None], Array] = {}
        for at, part in enumerate(parts):
            made[:, at] = part.intercept
            for term in part.terms:
                key = (term.booster, term.asked_with)
                if key not in told:
                    told[key] = scorers[term.booster].raw_scores(self._asked(term, columns))
                made[:, at] += term.weight * told[key]
        return made

    def _asked(self, term: Term, columns: Array) -> Array:
        return columns if term.asked_with is None else with_action(columns, self.actions, term.asked_with)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "inputs": self.inputs.to_json()}


def with_action(columns: Array, actions: Sequence[str], action: str) -> Array:
    """The columns, shape (n, k + actions), that a booster reads which also reads the action; the control is all 0."""
    asked = np.zeros((len(columns), len(actions)))
    if action in actions:
        asked[:, list(actions).index(action)] = 1.0
    return np.ascontiguousarray(np.hstack([columns, asked]))


def check_adds_up(contributions: Array, effects: Array) -> None:
    """Check that contributions, shape (n, k + 1), sum to `effects`, shape (n,), both in units of the reward.

    A reward may be money in minor units, so what is missed is held against the size of what is summed, where that is
    above 1.

    Raises:
        AdditivityError: a row is off by more than 1e-9 of that size, or is not finite: it must not be shown.
    """
    sizes = np.maximum(1.0, np.abs(contributions).sum(axis=1))
    worst = float(np.max(np.abs(contributions.sum(axis=1) - effects) / sizes, initial=0.0))
    if not worst <= ADDITIVITY:  # also true of NaN
        raise AdditivityError(f"contributions miss the effect by {worst:.3g} of their size, more than {ADDITIVITY:g}")


def effects_from_json(raw: Mapping[str, Any]) -> EffectModel:
    """What `to_json` gave, also through a JSON file.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    effects = tuple(_combination(item) for item in raw["effects"])
    responses = tuple(_combination(item) for item in raw["responses"])
    actions = tuple(raw["actions"])
    if not len(actions) == len(effects) == len(responses):
        raise ValueError(f"{len(actions)} actions, {len(effects)} effects, {len(responses)} responses")
    control, control_response = str(raw["control"]), _combination(raw["control_response"])
    for part in (*effects, *responses, control_response):
        if strange := [term.asked_with for term in part.terms if term.asked_with not in (None, control, *actions)]:
            raise ValueError(f"asked with {strange[0]}, which is no action")
    inputs = inputs_from_json(raw["inputs"])
    return EffectModel(str(raw["learner"]), control, actions, inputs, effects, responses, control_response)


def _combination(raw: Mapping[str, Any]) -> Combination:
    return Combination(float(raw["intercept"]), tuple(Term(**term) for term in raw["terms"]))
