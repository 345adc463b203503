"""The boosters that the fit step left, for the dataset they were fitted to."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.scoring.metrics import Array


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
