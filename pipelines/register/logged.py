"""A candidate as a model of MLflow, in the active run. All inputs are doubles, in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm as lgb
import mlflow
import numpy
import pandas
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema

from pipelines.model_store import LINEAR
from pipelines.register.candidate import Candidate

_CODE = Path(__file__).with_name("linear_pyfunc.py")


def log_model(candidate: Candidate, manifest: dict[str, Any]) -> ModelInfo:
    """Log it with its manifest: a booster in LightGBM's text format, a linear one as JSON with code to read it."""
    signature = ModelSignature(
        Schema([ColSpec(DataType.double, name) for name in manifest["columns"]]), Schema([ColSpec(DataType.double)])
    )
    shared = {"name": "model", "signature": signature, "metadata": manifest}
    # Requirements are named, because MLflow would else start a process to find them out.
    if candidate.kind == LINEAR:
        return mlflow.pyfunc.log_model(
            python_model=str(_CODE),
            artifacts={"linear": str(candidate.file)},
            pip_requirements=[f"numpy=={numpy.__version__}", f"pandas=={pandas.__version__}"],
            **shared,
        )
    return mlflow.lightgbm.log_model(
        lgb.Booster(model_file=candidate.file),
        pip_requirements=[f"lightgbm=={lgb.__version__}", f"numpy=={numpy.__version__}"],
        **shared,
    )
