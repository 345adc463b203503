"""What a learner of effects learns from, and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import EffectModel
from feature_repo.model_inputs import ModelInputs

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TrialRows:
    """n rows of a trial with m actions beside the control.

    columns: float64 (n, k), as `inputs` makes them, NaN where empty. reward: float64 (n,). action: int64 (n,), 0 is the
    control and i is `actions[i - 1]`. propensity: float64 (n,), the chance of the row's own action. cluster: int64
    (n,), rows of one customer have one number. eligible: bool (n, m + 1), which arms could have been drawn, the control
    always; None where all could.
    """

    columns: Array
    reward: Array
    action: NDArray[np.int64]
    propensity: Array
    cluster: NDArray[np.int64]
    actions: tuple[str, ...]
    control: str
    inputs: ModelInputs
    eligible: NDArray[np.bool_] | None = None

    def could_get(self, arm: int) -> NDArray[np.bool_]:
        """Whether an arm could have been drawn, shape (n,). Only these rows tell what it changes."""
        return np.ones(len(self.action), dtype=bool) if self.eligible is None else self.eligible[:, arm]


@dataclass(frozen=True, slots=True)
class FittedEffects:
    """An effect model with its boosters by name, which answer in units of the reward."""

    model: EffectModel
    boosters: Mapping[str, lgb.Booster]

    def effect(self, columns: Array) -> Array:
        """Shape (n, m)."""
        return self.model.effect(columns, self._scorers())

    def response(self, columns: Array) -> Array:
        """Expected rewards, the control's first: shape (n, m + 1)."""
        return self.model.response(columns, self._scorers())

    def contributions(self, action: str, columns: Array) -> Array:
        """What each column adds to the effect of `action`, the base value last: shape (n, k + 1)."""
        return self.model.contributions(action, columns, self._scorers())

    def _scorers(self) -> dict[str, _Scorer]:
        return {name: _Scorer(booster) for name, booster in self.boosters.items()}


@dataclass(frozen=True, slots=True)
class _Scorer:
    booster: lgb.Booster

    def raw_scores(self, matrix: Array, /) -> Array:
        return np.asarray(self.booster.predict(matrix, raw_score=True), dtype=np.float64)

    def contributions(self, matrix: Array, /) -> Array:
        return np.asarray(self.booster.predict(matrix, pred_contrib=True), dtype=np.float64)
