"""Versions of models in BentoML's store that answer again, by LightGBM's package; a test holds the service equal."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from feature_repo.linear_model import linear_from_json
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.model_store import BOOSTER, LINEAR, MANIFEST_FILE, MODEL_FILES, challenger_name

Array: TypeAlias = NDArray[np.float64]


class Scorer(Protocol):
    """What answers, of columns of shape (n, k): shapes (n,), (n,) and (n, k + 1), the base value last."""

    def predict(self, matrix: Array) -> Array: ...

    def raw_scores(self, matrix: Array) -> Array: ...

    def contributions(self, matrix: Array) -> Array: ...


@dataclass(frozen=True, slots=True)
class _Booster:
    booster: lgb.Booster

    def predict(self, matrix: Array) -> Array:
        return np.asarray(self.booster.predict(matrix), dtype=np.float64)

    def raw_scores(self, matrix: Array) -> Array:
        return np.asarray(self.booster.predict(matrix, raw_score=True), dtype=np.float64)

    def contributions(self, matrix: Array) -> Array:
        return np.asarray(self.booster.predict(matrix, pred_contrib=True), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version that was served: how its columns are made of features as read, and what answers of them."""

    inputs: ModelInputs
    scorer: Scorer


@dataclass(slots=True)
class Versions:
    """Versions in the store under `bentoml_home`, each read once."""

    bentoml_home: Path
    _read: dict[tuple[str, str], StoredVersion | None] = field(default_factory=dict)

    def find(self, model: str, version: str) -> StoredVersion | None:
        """None of one that is not there, cannot be read, or predicts no probability."""
        key = (model, version)
        if key not in self._read:
            # A challenger stands in the store under a name of its own until it is champion.
            folders = (self.bentoml_home / "models" / name / version for name in (model, challenger_name(model)))
            self._read[key] = next((found for folder in folders if (found := _stored(folder)) is not None), None)
        return self._read[key]


def _stored(folder: Path) -> StoredVersion | None:
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        features, kind = tuple(manifest["features"]), str(manifest.get("kind", BOOSTER))
        inputs = inputs_from_json(manifest["inputs"]) if "inputs" in manifest else ModelInputs(features, features)
        return StoredVersion(inputs, _scorer(kind, folder / MODEL_FILES[kind])) if kind in (BOOSTER, LINEAR) else None
    except (OSError, ValueError, KeyError, TypeError, lgb.basic.LightGBMError):
        return None


def _scorer(kind: str, file: Path) -> Scorer:
    if kind == LINEAR:
        return linear_from_json(json.loads(file.read_text(encoding="utf-8")))
    return _Booster(lgb.Booster(model_file=str(file)))
