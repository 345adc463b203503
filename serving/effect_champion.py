"""The champion of a model of actions, as BentoML's model store holds it: what each action changes, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import EffectModel, RawScorer
from feature_repo.model_inputs import ModelInputs
from pipelines.events.spec_lease import SpecLease
from serving.booster import Booster
from serving.features import FeatureReader

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EffectChampion:
    """Effects of m actions in units of the reward, of the f features it reads. Threads may share it."""

    model: str
    version: str  # of the model registry
    inputs: ModelInputs
    spec_hash: str
    manifest: Mapping[str, Any]
    effect_model: EffectModel
    scorers: Mapping[str, Booster]

    @property
    def features(self) -> tuple[str, ...]:
        """What is read, in order."""
        return self.inputs.features

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions that it tells apart from `control`, in the order of its answers."""
        return self.effect_model.actions

    @property
    def control(self) -> str:
        """What stands for no action."""
        return self.effect_model.control

    @property
    def randomised(self) -> bool:
        """Whether it learned from actions that were drawn; else what it says is associational."""
        return bool(self.manifest["randomised"])

    def columns(self, features: Array) -> Array:
        """What the model is asked with, shape (n, k), of features as read, shape (n, f)."""
        return self.inputs.matrix(features)

    def effects(self, columns: Array) -> Array:
        """What each action changes, shape (n, m), of columns of shape (n, k)."""
        return self.effect_model.effect(columns, self.scorers)

    def responses(self, columns: Array) -> Array:
        """The expected reward under the control, then under each action, shape (n, m + 1)."""
        return self.effect_model.response(columns, self.scorers)

    def told(self, columns: Array) -> tuple[Array, Array]:
        """`effects` and `responses`; a booster that is part of both is asked once."""
        asked = {name: _Once(scorer) for name, scorer in self.scorers.items()}
        return self.effect_model.effect(columns, asked), self.effect_model.response(columns, asked)

    def contributions(self, action: str, columns: Array) -> Array:
        """What each column adds to the effect of `action`, base value last, shape (n, k + 1).

        Raises:
            ValueError: the model does not know the action.
        """
        return self.effect_model.contributions(action, columns, self.scorers)

    def misfit(self) -> str | None:
        """What of its files does not fit together, in words; None where all does."""
        if self.effect_model.inputs != self.inputs:
            return "effects.json is of other inputs than manifest.json"
        parts = (*self.effect_model.effects, *self.effect_model.responses, self.effect_model.control_response)
        for term in (term for part in parts for term in part.terms):
            asked = list(self.inputs.names)
            found = self.scorers[term.booster].feature_name()
            more = 0 if term.asked_with is None else len(self.actions)
            if found[: len(asked)] != asked or len(found) != len(asked) + more:
                return f"the booster {term.booster} is of other columns, or another order"
        return None


class _Once:
    """A booster that answers what it was asked before from memory, for the walk over one matrix."""

    def __init__(self, scorer: RawScorer) -> None:
        self._scorer = scorer
        self._said: dict[bytes, Array] = {}

    def raw_scores(self, matrix: Array) -> Array:
        asked = matrix.tobytes()
        if asked not in self._said:
            self._said[asked] = self._scorer.raw_scores(matrix)
        return self._said[asked]

    def contributions(self, matrix: Array) -> Array:
        return self._scorer.contributions(matrix)


@dataclass(frozen=True, slots=True)
class EffectPredictor:
    """An effect champion over one reader of the features that it reads, in its order.

    `now` gives the as-of instant in int64 microseconds UTC, or None where there is no event yet. `meanings` are words
    for columns. While there is a `lease`, the states that the reader reads are not removed.
    """

    champion: EffectChampion
    reader: FeatureReader
    meanings: Mapping[str, str]
    now: Callable[[], int | None] = field(repr=False)
    lease: SpecLease | None = field(default=None, repr=False)
