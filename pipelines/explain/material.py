"""What a report is made from: the artefacts of earlier steps, checked to belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.artefacts import (
    ABLATION,
    EVALUATION,
    LEAKAGE,
    MODEL,
    TRAINING,
    TUNING,
    Dataset,
    file_hash,
    load_dataset,
    read_json,
)
from pipelines.console import UserError
from pipelines.explain.contributions import Array
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class Material:
    """`inputs` are the model's columns of the test rows, `probabilities` (rows,) what it says of them.

    `words` say what a column means. Files that some runs lack are empty where they are missing.
    """

    workspace: str
    config: ModelConfig
    dataset: Dataset
    booster: lightgbm.Booster
    train: pd.DataFrame
    test: pd.DataFrame
    inputs: Array
    probabilities: Array
    words: dict[str, str]
    evaluation: dict[str, Any]
    tuning: dict[str, Any]
    training: dict[str, Any]
    leakage: dict[str, Any]
    ablation: dict[str, Any]

    @property
    def labels(self) -> Array:
        """0 or 1 of each test row."""
        return self.test["label"].to_numpy(dtype=np.float64)


def load_material(folder: Path, workspace: str, config: ModelConfig, meanings: Mapping[str, str]) -> Material:
    """Raises UserError where dataset, model or evaluation is missing, or they do not belong together."""
    needed = {"dataset.json": "make the dataset", MODEL: "train the model", EVALUATION: "evaluate the model"}
    missing = [
        Problem(name, "a file made by an earlier step", "nothing there", f"{hint} first")
        for name, hint in needed.items() if not (folder / name).exists()
    ]  # fmt: skip
    if missing:
        raise UserError("There is nothing to explain yet.", missing)
    dataset, evaluation = load_dataset(folder), read_json(folder / EVALUATION)
    booster = lightgbm.Booster(model_file=folder / MODEL)
    _refuse_foreign(folder, dataset, booster, evaluation)
    inputs = dataset.inputs("test").to_numpy(dtype=np.float64)
    return Material(
        workspace, config, dataset, booster, dataset.part("train"), dataset.part("test"), inputs,
        np.asarray(booster.predict(inputs), dtype=np.float64), {**meanings, **dataset.manifest.inputs.words()},
        evaluation, *(_optional(folder / name) for name in (TUNING, TRAINING, LEAKAGE, ABLATION)),
    )  # fmt: skip


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _refuse_foreign(folder: Path, dataset: Dataset, booster: lightgbm.Booster, evaluation: Mapping[str, Any]) -> None:
    manifest = dataset.manifest
    problems = []
    if booster.feature_name() != list(manifest.inputs.names):
        problems.append(Problem(MODEL, "the inputs of the dataset, in order", "others", "train the model again"))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != (manifest.dataset_hash, file_hash(folder / MODEL)):
        problems.append(
            Problem(EVALUATION, "an evaluation of this model on this dataset", "another", "evaluate the model again")
        )
    if problems:
        raise UserError("The artefacts do not belong together.", problems)
