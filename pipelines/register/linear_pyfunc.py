"""MLflow runs this file to make a model of a `linear.json`: its code goes along as text, and nothing is pickled.

It loads wherever this project is installed, since the model itself is computed where the service computes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from feature_repo.linear_model import Array, linear_from_json


class LinearPyfunc(PythonModel):
    """Columns of the model, as doubles, to the probability of label 1."""

    def load_context(self, context: PythonModelContext) -> None:
        text = Path(context.artifacts["linear"]).read_text(encoding="utf-8")
        self._model = linear_from_json(json.loads(text))

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> Array:
        return self._model.predict(model_input[list(self._model.columns)].to_numpy(dtype=np.float64))


mlflow.models.set_model(LinearPyfunc())
