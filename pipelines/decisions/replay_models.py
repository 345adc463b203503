"""What a version of a model in BentoML's store says, computed as in training; a test holds the service equal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.effect_model import effects_from_json
from feature_repo.linear_model import linear_from_json
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.catalogue import NO_ACTION
from pipelines.decisions.replay_log import Asking
from pipelines.decisions.situation import Predicted
from pipelines.model_store import BOOSTER, EFFECTS, LINEAR, MANIFEST_FILE, MODEL_FILES, effect_booster_file
from pipelines.uplift.rows import FittedEffects

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StoredVersions:
    """Versions in the store under `bentoml_home`; None stands for one that is not there, or cannot be read."""

    bentoml_home: Path
    _manifests: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def features(self, model: str, version: str) -> tuple[str, ...] | None:
        """What the version reads, in order."""
        manifest = self._manifest(model, version)
        return None if manifest is None else tuple(manifest["features"])

    def predict(self, model: str, version: str, asked: Sequence[Asking]) -> list[dict[str, Predicted]] | None:
        """What it says of each action, of each that is asked."""
        manifest = self._manifest(model, version)
        if manifest is None or not asked:
            return None if manifest is None else []
        inputs = _inputs(manifest)
        values = [[one.values[name] for name in inputs.features] for one in asked]
        columns = inputs.matrix(np.array(values, dtype=np.float64))
        kind, folder = str(manifest.get("kind", BOOSTER)), self._folder(model, version)
        try:
            if kind == EFFECTS:
                return _of_effects(folder, columns)
            probabilities = _probabilities(kind, folder, columns)
        except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError):
            return None
        return [
            {action: Predicted(None, float(probability)) for action in one.actions}
            for one, probability in zip(asked, probabilities, strict=True)
        ]

    def _manifest(self, model: str, version: str) -> Mapping[str, Any] | None:
        key = (model, version)
        if key not in self._manifests:
            try:
                text = (self._folder(model, version) / MANIFEST_FILE).read_text(encoding="utf-8")
                self._manifests[key] = json.loads(text)
            except (OSError, ValueError):
                return None
        return self._manifests[key]

    def _folder(self, model: str, version: str) -> Path:
        return self.bentoml_home / "models" / model / version


def _inputs(manifest: Mapping[str, Any]) -> ModelInputs:
    features = tuple(manifest["features"])
    return inputs_from_json(manifest["inputs"]) if "inputs" in manifest else ModelInputs(features, features)


def _of_effects(folder: Path, columns: Array) -> list[dict[str, Predicted]]:
    model = effects_from_json(json.loads((folder / MODEL_FILES[EFFECTS]).read_text(encoding="utf-8")))
    files = {name: folder / effect_booster_file(at) for at, name in enumerate(model.boosters)}
    fitted = FittedEffects(model, {name: lgb.Booster(model_file=str(file)) for name, file in files.items()})
    effects, responses = fitted.effect(columns).tolist(), fitted.response(columns).tolist()
    return [
        {NO_ACTION: Predicted(0.0, of_none)}
        | {action: Predicted(*told) for action, *told in zip(model.actions, effect, of_each, strict=True)}
        for effect, (of_none, *of_each) in zip(effects, responses, strict=True)
    ]


def _probabilities(kind: str, folder: Path, columns: Array) -> Array:
    file = folder / MODEL_FILES[kind]
    if kind == LINEAR:
        return linear_from_json(json.loads(file.read_text(encoding="utf-8"))).predict(columns)
    return np.asarray(lgb.Booster(model_file=str(file)).predict(columns), dtype=np.float64)
