"""Probabilities of a model from its file and the rows of a dataset."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.scoring.metrics import Array


class LacksFeatures(Exception):
    """The rows do not have some features that the model reads, `names`."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(", ".join(names))


def predict_from_file(path: Path, inputs: ModelInputs | None, rows: pd.DataFrame) -> Array:
    """Shape (rows,), of a registered model: its columns are made of features as its own `inputs` say.

    Without `inputs` its columns are features.

    Raises:
        LacksFeatures: the rows lack features that it reads.
    """
    booster = lightgbm.Booster(model_file=path)
    names = tuple(booster.feature_name())
    reads = inputs or ModelInputs(names, names)
    missing = [name for name in reads.features if name not in rows]
    if missing:
        raise LacksFeatures(missing)
    values = reads.matrix(rows[list(reads.features)].to_numpy(dtype=np.float64))
    return np.asarray(booster.predict(values), dtype=np.float64)


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
