"""Probabilities of a model from its file, its manifest and the rows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import inputs_from_json
from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.scoring.metrics import Array


class LacksFeatures(Exception):
    """The rows do not have some features that the model reads, `names`."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(", ".join(names))


def predict_from_file(path: Path, manifest: Mapping[str, Any], dataset: Dataset, part: str) -> Array:
    """Shape (rows,), of a registered model: its columns are made of the features as its manifest's `inputs` say.

    Raises:
        LacksFeatures: the dataset lacks features, or columns of a model whose manifest does not say them.
    """
    booster = lightgbm.Booster(model_file=path)
    rows = dataset.part(part)
    if "inputs" in manifest:
        inputs = inputs_from_json(manifest["inputs"])
        _refuse_missing(inputs.features, rows)
        values = inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64))
        columns = pd.DataFrame(values, columns=list(inputs.names))
    else:
        columns = dataset.inputs(part)
    _refuse_missing(booster.feature_name(), columns)
    return predict_booster(booster, columns[booster.feature_name()])


def predict_booster(booster: lightgbm.Booster, inputs: pd.DataFrame) -> Array:
    """Shape (rows,), of columns in the booster's own order."""
    return np.asarray(booster.predict(inputs.to_numpy(dtype=np.float64)), dtype=np.float64)


def trained_booster(path: Path, dataset: Dataset) -> lightgbm.Booster:
    """A booster of the train step, of this very dataset's inputs.

    Raises:
        UserError: there is none, or it has other inputs.
    """
    if not path.exists():
        problem = Problem(path.name, "a file made by the train step", "nothing there", "train the model first")
        raise UserError("There is no trained model to evaluate.", [problem])
    booster = lightgbm.Booster(model_file=path)
    if booster.feature_name() != list(dataset.manifest.inputs.names):
        problem = Problem(path.name, "the inputs of the dataset, in order", "others", "train the model again")
        raise UserError("The model was trained on another dataset.", [problem])
    return booster


def _refuse_missing(names: tuple[str, ...] | list[str], rows: pd.DataFrame) -> None:
    missing = [name for name in names if name not in rows]
    if missing:
        raise LacksFeatures(missing)
