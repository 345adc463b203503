"""What decides in a batch: the champion that says what actions change, else the chance of the goal, else nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from feature_repo.linear_model import LinearModel, linear_from_json
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.catalogue import Catalogue
from pipelines.console import UserError
from pipelines.decide_batch.effects import Effects, champion_effects
from pipelines.decide_batch.features import Column, matrix_of
from pipelines.decisions.situation import Basis
from pipelines.model_store import BOOSTER, LINEAR, MANIFEST_FILE, MODEL_FILES, StoredModel, stored_models
from pipelines.settings import Settings

Array = NDArray[np.float64]


class Scorer(Protocol):
    def predict(self, matrix: Array, /) -> Array: ...


@dataclass(frozen=True, slots=True)
class Propensities:
    """The champion of a model of a probability, which ranks as long as no effect is known."""

    model: str
    version: str
    spec_hash: str
    inputs: ModelInputs
    scorer: Scorer

    @property
    def features(self) -> tuple[str, ...]:
        return self.inputs.features

    def of(self, columns: Mapping[str, Column], rows: int) -> Array:
        """Probabilities, shape (rows,), of features by name."""
        return np.asarray(self.scorer.predict(self.inputs.matrix(matrix_of(self.features, columns, rows))))


@dataclass(frozen=True, slots=True)
class Deciding:
    """The model in use; both are None where there is none yet."""

    effects: Effects | None
    propensities: Propensities | None

    @property
    def basis(self) -> Basis:
        if self.effects is not None:
            return "effect"
        return "none" if self.propensities is None else "propensity"

    @property
    def model(self) -> Effects | Propensities | None:
        return self.effects or self.propensities

    def amounts(self, actions: Sequence[str], columns: Mapping[str, Column], rows: int) -> Array:
        """What is predicted of the actions, shape (rows, actions); NaN for one that the model does not know."""
        made = np.full((rows, len(actions)), np.nan)
        if self.effects is not None:
            found, _ = self.effects.of(columns, rows)
            for at, action in enumerate(actions):
                if action in self.effects.actions:
                    made[:, at] = found[:, self.effects.actions.index(action)]
        elif self.propensities is not None:
            made[:] = self.propensities.of(columns, rows)[:, None]
        return made


def deciding_of(settings: Settings, catalogue: Catalogue) -> Deciding:
    """By the champions of the workspace. Raises UserError where a champion cannot be read."""
    effects = champion_effects(settings, catalogue.model)
    if effects is not None or catalogue.fallback_model is None:
        return Deciding(effects, None)
    stored = {model.model: model for model in stored_models(settings.workspace.bentoml_home)}
    found = stored.get(catalogue.fallback_model)
    if found is None:
        return Deciding(None, None)
    try:
        return Deciding(None, _propensities(found))
    except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError) as error:
        problem = Problem(MANIFEST_FILE, "what `twin train` exports", type(error).__name__, f"twin train {found.model}")
        raise UserError(f"the champion of {found.model} cannot be read", [problem]) from error


def _propensities(stored: StoredModel) -> Propensities:
    manifest = json.loads((stored.folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    features = tuple(manifest["features"])
    inputs = inputs_from_json(manifest["inputs"]) if "inputs" in manifest else ModelInputs(features, features)
    scorer: lgb.Booster | LinearModel
    if manifest.get("kind", BOOSTER) == LINEAR:
        scorer = linear_from_json(json.loads((stored.folder / MODEL_FILES[LINEAR]).read_text(encoding="utf-8")))
    else:
        scorer = lgb.Booster(model_file=str(stored.folder / MODEL_FILES[BOOSTER]))
    return Propensities(stored.model, stored.version, str(manifest["spec_hash"]), inputs, scorer)
