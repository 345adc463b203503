"""MLflow runs this file to make a model of an `effects.json` with its boosters: nothing is pickled.

It loads wherever this project is installed, since effects are computed where the service computes them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from pipelines.next_best_action.storage import load_effects


class EffectsPyfunc(PythonModel):
    """Columns of the model, as doubles, to what each action changes, one column an action."""

    def load_context(self, context: PythonModelContext) -> None:
        self._fitted = load_effects(Path(context.artifacts["effects"]).parent)

    def predict(self, context: PythonModelContext, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        model = self._fitted.model
        columns = np.ascontiguousarray(model_input[list(model.inputs.names)].to_numpy(dtype=np.float64))
        return pd.DataFrame(self._fitted.effect(columns), columns=list(model.actions), index=model_input.index)


mlflow.models.set_model(EffectsPyfunc())
