"""A fitted model with what it reads, of whichever kind: how steps score rows with models that are served, or could be.

A model brings its own `ModelInputs`: the columns of a champion are computed with the champion's parameters, not with
those of the dataset it is judged on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from feature_repo.linear_model import Array, LinearModel, linear_from_json
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.artefacts import SIMPLE_MODELS, read_json, write_json


@dataclass(frozen=True, slots=True)
class FittedModel:
    """Features of rows to `inputs`, and those to a probability."""

    inputs: ModelInputs
    scorer: lgb.Booster | LinearModel

    def missing(self, rows: pd.DataFrame) -> list[str]:
        """Features that it reads and `rows` do not have."""
        return [name for name in self.inputs.features if name not in rows]

    def predict(self, rows: pd.DataFrame) -> Array:
        """The probability of label 1, shape (rows,). Raises KeyError where a feature is missing."""
        values = rows[list(self.inputs.features)].to_numpy(dtype=np.float64)
        return np.asarray(self.scorer.predict(self.inputs.matrix(values)), dtype=np.float64)


def read_fitted(file: Path, inputs: ModelInputs | None = None) -> FittedModel:
    """A model out of its file: LightGBM's text, or the JSON of a linear one. Without `inputs` its columns are features.

    Raises:
        OSError, ValueError, LightGBMError: the file is not one.
    """
    scorer: lgb.Booster | LinearModel
    if file.suffix == ".json":
        scorer = linear_from_json(json.loads(file.read_text(encoding="utf-8")))
    else:
        scorer = lgb.Booster(model_file=file)
    names = tuple(scorer.feature_name())
    return FittedModel(inputs or ModelInputs(names, names), scorer)


@dataclass(frozen=True, slots=True)
class SimpleModel:
    """A linear model that was compared with the booster, and can be registered in its place."""

    inputs: ModelInputs
    linear: LinearModel

    def predict(self, rows: pd.DataFrame) -> Array:
        """As `FittedModel.predict`."""
        return FittedModel(self.inputs, self.linear).predict(rows)


def write_simple_models(folder: Path, models: Mapping[str, SimpleModel], dataset_hash: str) -> None:
    """Write `simple_models.json`: by name what each reads, what it is, and the dataset it was fitted and judged on."""
    content = {
        name: {"dataset_hash": dataset_hash, "inputs": model.inputs.to_json(), "linear": model.linear.to_json()}
        for name, model in models.items()
    }
    write_json(folder / SIMPLE_MODELS, content)


def read_simple_models(folder: Path, dataset_hash: str) -> dict[str, SimpleModel]:
    """Those that were compared on this dataset; none where the evaluation left no file."""
    try:
        raw: dict[str, Any] = read_json(folder / SIMPLE_MODELS)
    except FileNotFoundError:
        return {}
    return {
        name: SimpleModel(inputs_from_json(item["inputs"]), linear_from_json(item["linear"]))
        for name, item in raw.items()
        if item["dataset_hash"] == dataset_hash
    }
