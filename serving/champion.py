"""The champion of a model, as BentoML's model store holds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from bentoml._internal.models import ModelStore
from bentoml.exceptions import BentoMLException
from numpy.typing import NDArray

from feature_repo.effect_model import effects_from_json
from feature_repo.linear_model import linear_from_json
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.model_store import BOOSTER, EFFECTS, LINEAR, MANIFEST_FILE, MODEL_FILES, effect_booster_file
from serving.api.errors import ApiError, ErrorDetail
from serving.booster import Booster
from serving.effect_champion import EffectChampion

MODEL_MISSING = "model_missing"  # code of the refusal of a model that has never had a champion


class Scorer(Protocol):
    """What answers, of k columns: a booster or a linear model. Threads may share it."""

    def feature_name(self) -> list[str]: ...

    def predict(self, matrix: NDArray[np.float64], /) -> NDArray[np.float64]: ...

    def raw_scores(self, matrix: NDArray[np.float64], /) -> NDArray[np.float64]: ...

    def contributions(self, matrix: NDArray[np.float64], /) -> NDArray[np.float64]: ...


@dataclass(frozen=True, slots=True)
class Champion:
    """A calibrated model, how its k columns are made of the f features it reads, and what it was trained on.

    Threads may share it.
    """

    model: str
    version: str  # of the model registry
    inputs: ModelInputs
    spec_hash: str
    manifest: Mapping[str, Any]
    scorer: Scorer

    @property
    def features(self) -> tuple[str, ...]:
        """What is read, in order."""
        return self.inputs.features

    def columns(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the model is asked with, shape (n, k), of features as read, shape (n, f)."""
        return self.inputs.matrix(features)

    def probabilities(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated, shape (n,), of columns of shape (n, k)."""
        return self.scorer.predict(columns)

    def scores(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        return self.scorer.raw_scores(columns)

    def contributions(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """What each column adds in log-odds (SHAP values of a booster), base value last, shape (n, k + 1)."""
        return self.scorer.contributions(columns)

    def in_population(self, features: NDArray[np.float64]) -> list[bool | None]:
        """Whether each row is of the kind of customer the model was trained on; None where it does not say.

        The others get an extrapolation.
        """
        population = self.manifest.get("population")
        if population is None or population["feature"] not in self.features:
            return [None] * len(features)
        column = features[:, self.features.index(population["feature"])]
        return [bool(value <= population["at_most"]) for value in column]  # an empty value (NaN) is outside


@dataclass(frozen=True, slots=True)
class StoredChampion:
    """A version in the model store, of which only the manifest was read."""

    model: str
    version: str
    folder: Path
    inputs: ModelInputs
    spec_hash: str
    manifest: Mapping[str, Any]

    @property
    def features(self) -> tuple[str, ...]:
        """What is read, in order."""
        return self.inputs.features

    @property
    def kind(self) -> str:
        """`booster`, `linear` or `effects`."""
        return str(self.manifest.get("kind", BOOSTER))

    @property
    def file(self) -> Path:
        """The model itself."""
        return self.folder / MODEL_FILES[self.kind]

    def load(self) -> Champion:
        """Raises ApiError (503) where the model's file cannot be read, or is not the one that was registered."""
        try:
            _check_intact([self.file], self.manifest.get("file_hash"))
            scorer = _scorer(self.kind, self.file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _unreadable(self.model, error) from error
        return Champion(self.model, self.version, self.inputs, self.spec_hash, self.manifest, scorer)

    def load_effects(self) -> EffectChampion:
        """Of a model of what actions change. Raises ApiError (503) where a file cannot be read."""
        try:
            effects = effects_from_json(json.loads((self.folder / MODEL_FILES[EFFECTS]).read_text(encoding="utf-8")))
            files = {name: self.folder / effect_booster_file(at) for at, name in enumerate(effects.boosters)}
            _check_intact([self.file, *files.values()], self.manifest.get("model_hash"))
            scorers = {name: Booster(file) for name, file in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _unreadable(self.model, error) from error
        return EffectChampion(self.model, self.version, self.inputs, self.spec_hash, self.manifest, effects, scorers)


def _check_intact(files: Sequence[Path], expected: object) -> None:
    """A model of which a part is missing or another may load, and would answer wrongly. Raises OSError, ValueError.

    `expected` is what `twin register` noted: SHA-256 of the bytes, 16 hex digits; None of a model from elsewhere.
    """
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    if expected is not None and digest.hexdigest()[:16] != expected:
        raise ValueError("not the bytes that were registered")


def _scorer(kind: str, file: Path) -> Scorer:
    if kind == LINEAR:
        return linear_from_json(json.loads(file.read_text(encoding="utf-8")))
    return Booster(file)


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
        raise ApiError(503, MODEL_MISSING, f"the model {model} has no champion yet", [detail]) from None
    folder = Path(stored.path)
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        inputs, spec_hash = _inputs(manifest), str(manifest["spec_hash"])
        return StoredChampion(model, str(stored.tag.version), folder, inputs, spec_hash, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(model, error) from error


def former_versions(bentoml_home: Path, model: str) -> list[str]:
    """Versions of `model` in the model store, the newest first, the latest included."""
    made = (bentoml_home / "models" / model).glob(f"*/{MANIFEST_FILE}")
    return [file.parent.name for file in sorted(made, key=lambda file: file.stat().st_mtime_ns, reverse=True)]


def _inputs(manifest: Mapping[str, Any]) -> ModelInputs:
    """How columns are made of features; in a manifest that does not say, they are the features."""
    features = tuple(manifest["features"])
    return inputs_from_json(manifest["inputs"]) if "inputs" in manifest else ModelInputs(features, features)


def _unreadable(model: str, error: Exception) -> ApiError:
    detail = ErrorDetail(
        field=f"{', '.join(MODEL_FILES.values())}, {MANIFEST_FILE}",
        expected="what `twin register` exports",
        got=type(error).__name__,
        hint="export the champion again",
    )
    return ApiError(503, "model_unreadable", f"the champion of {model} cannot be read", [detail])
