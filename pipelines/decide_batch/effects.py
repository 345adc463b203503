"""What the champion says each action changes, for many customers at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from feature_repo.effect_model import FILE, effects_from_json
from pipelines.console import UserError
from pipelines.decide_batch.features import Column, matrix_of
from pipelines.model_store import MANIFEST_FILE, StoredModel, effect_booster_file, stored_models
from pipelines.settings import Settings
from pipelines.uplift.rows import FittedEffects

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effects:
    """The champion of a model of actions: its effects and responses in units of its reward."""

    model: str
    version: str
    spec_hash: str
    manifest: Mapping[str, Any]
    fitted: FittedEffects

    @property
    def features(self) -> tuple[str, ...]:
        return self.fitted.model.inputs.features

    @property
    def actions(self) -> tuple[str, ...]:
        """In the order of the answers."""
        return self.fitted.model.actions

    def of(self, columns: Mapping[str, Column], rows: int) -> tuple[Array, Array]:
        """Effects (rows, actions), and responses (rows, actions + 1) with the control's first, of features by name."""
        asked = self.fitted.model.inputs.matrix(matrix_of(self.features, columns, rows))
        return self.fitted.effect(asked), self.fitted.response(asked)


def champion_effects(settings: Settings, model: str) -> Effects | None:
    """The champion of `model` as the service serves it; None where there has never been one.

    Raises:
        UserError: its files cannot be read.
    """
    found = {stored.model: stored for stored in stored_models(settings.workspace.bentoml_home)}.get(model)
    if found is None:
        return None
    try:
        return _loaded(found)
    except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError) as error:
        problem = Problem(FILE, "what `twin train` exports", type(error).__name__, f"twin train {model}")
        raise UserError(f"the champion of {model} cannot be read", [problem]) from error


def _loaded(stored: StoredModel) -> Effects:
    manifest = json.loads((stored.folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    model = effects_from_json(json.loads((stored.folder / FILE).read_text(encoding="utf-8")))
    files = {name: stored.folder / effect_booster_file(at) for at, name in enumerate(model.boosters)}
    boosters = {name: lgb.Booster(model_file=str(file)) for name, file in files.items()}
    return Effects(stored.model, stored.version, str(manifest["spec_hash"]), manifest, FittedEffects(model, boosters))
