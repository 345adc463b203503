"""A candidate as a model of MLflow, in the active run. All inputs are doubles, in order."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy
import pandas
from mlflow.models.model import ModelInfo

from pipelines.model_store import LINEAR
from pipelines.register.candidate import Candidate
from pipelines.registry import doubles, log_booster

_CODE = Path(__file__).with_name("linear_pyfunc.py")


def log_model(candidate: Candidate, manifest: dict[str, Any]) -> ModelInfo:
    """Log it with its manifest: a booster in LightGBM's text format, a linear one as JSON with code to read it."""
    if candidate.kind != LINEAR:
        return log_booster(candidate.file, manifest["columns"], manifest)
    with warnings.catch_warnings():
        # MLflow asks for an example of the input, which the signature makes needless.
        warnings.simplefilter("ignore", UserWarning)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_CODE),
            artifacts={"linear": str(candidate.file)},
            signature=doubles(manifest["columns"]),
            # Named, because MLflow would else start a process to find them out.
            pip_requirements=[f"numpy=={numpy.__version__}", f"pandas=={pandas.__version__}"],
            metadata=manifest,
        )
