"""The champion of a model, as BentoML's model store holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException
from numpy.typing import NDArray

from pipelines.model_store import MANIFEST_FILE
from serving.api.errors import ApiError, ErrorDetail
from serving.booster import Booster

MODEL_FILE = "model.lgb"


@dataclass(frozen=True, slots=True)
class Champion:
    """A calibrated LightGBM model of k features and what it was trained on. Threads may share it."""

    model: str
    version: str  # of the model registry
    features: tuple[str, ...]
    spec_hash: str
    manifest: Mapping[str, Any]
    booster: Booster

    def probabilities(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated, shape (n,), of features of shape (n, k)."""
        return self.booster.predict(matrix)

    def scores(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        return self.booster.raw_scores(matrix)

    def in_population(self, matrix: NDArray[np.float64]) -> list[bool | None]:
        """Whether each row is of the kind of customer the model was trained on; None where it does not say.

        The others get an extrapolation.
        """
        population = self.manifest.get("population")
        if population is None or population["feature"] not in self.features:
            return [None] * len(matrix)
        column = matrix[:, self.features.index(population["feature"])]
        return [bool(value <= population["at_most"]) for value in column]  # an empty value (NaN) is outside

    def contributions(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """SHAP values in log-odds, base value last, shape (n, k + 1)."""
        return self.booster.contributions(matrix)


@dataclass(frozen=True, slots=True)
class StoredChampion:
    """A version in the model store, of which only the manifest was read."""

    model: str
    version: str
    folder: Path
    features: tuple[str, ...]
    spec_hash: str
    manifest: Mapping[str, Any]

    def load(self) -> Champion:
        """Raises ApiError (503) where the model's file cannot be read."""
        try:
            booster = Booster(self.folder / MODEL_FILE)
        except (OSError, ValueError) as error:
            raise _unreadable(self.model, error) from error
        return Champion(self.model, self.version, self.features, self.spec_hash, self.manifest, booster)


def load_champion(bentoml_home: Path, model: str) -> Champion:
    """The latest version of `model` in the model store under `bentoml_home`.

    Raises:
        ApiError: 503, there is none, or it cannot be read.
    """
    return find_champion(bentoml_home, model).load()


def find_champion(bentoml_home: Path, model: str, version: str = "latest") -> StoredChampion:
    """A version of `model` in the model store. Raises as `load_champion`."""
    try:
        stored = ModelStore(bentoml_home / "models").get(f"{model}:{version}")
    except (BentoMLException, OSError):
        detail = ErrorDetail(
            field="model",
            expected="a champion in the model store",
            got="none",
            hint="train and register one: `twin run`",
        )
        raise ApiError(503, "model_missing", f"the model {model} has no champion yet", [detail]) from None
    folder = Path(stored.path)
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        features, spec_hash = tuple(manifest["features"]), str(manifest["spec_hash"])
        return StoredChampion(model, str(stored.tag.version), folder, features, spec_hash, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(model, error) from error


def former_versions(bentoml_home: Path, model: str) -> list[str]:
    """Versions of `model` in the model store, the newest first, the latest included."""
    made = (bentoml_home / "models" / model).glob(f"*/{MANIFEST_FILE}")
    return [file.parent.name for file in sorted(made, key=lambda file: file.stat().st_mtime_ns, reverse=True)]


def _unreadable(model: str, error: Exception) -> ApiError:
    detail = ErrorDetail(
        field=f"{MODEL_FILE}, {MANIFEST_FILE}",
        expected="what `twin register` exports",
        got=type(error).__name__,
        hint="export the champion again",
    )
    return ApiError(503, "model_unreadable", f"the champion of {model} cannot be read", [detail])
