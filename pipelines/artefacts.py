"""The named artefacts that the steps of one model hand to each other, as files of one folder.

`dataset.parquet` holds one row per (customer, as-of instant):
customer_id (text), as_of (instant, UTC), snapshot (instant, UTC: the as-of instant, or the start of the
span of openings that the row belongs to), label (int64: 0 or 1; an amount or a time for a companion), part
(`train` or `test`), fold (0.. for train rows, all rows of a customer in one fold; -1 for test rows), then one
float64 column per feature of the feature service, in its order, null where the feature is empty; then those
features that only the baselines, slices and the catalogue of actions read.

A dataset of actions (`label.kind: action`) has after `fold`: action (text, as `label.actions` calls it;
`label.control` is none), propensity (float64, the chance with which that action was drawn, NaN where nobody drew) and
eligible (tuple of text, the actions that could have been drawn, in alphabetical order; None where all could). Its
as_of is the instant of the assignment, and its label the reward. Where no label is known before a test could begin,
customers are divided, and a snapshot is in both parts.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.console import UserError
from pipelines.settings.models import LearningConfig

DATASET = "dataset.parquet"
DATASET_MANIFEST = "dataset.json"
TUNING = "tuning.json"
MODEL = "model.txt"
DEFAULT_MODEL = "default_model.txt"
RANDOM_MODEL = "random_model.txt"
SIMPLE_MODELS = "simple_models.json"
TRAINING = "training.json"
EVALUATION = "evaluation.json"
PREDICTIONS = "predictions.parquet"
ABLATION = "ablation.json"
LEAKAGE = "leakage.json"
MODEL_CARD = "model_card.md"
REPORT = "report.html"
REPORT_FIGURES = "report.json"
REGISTRATION = "registration.json"

ID_COLUMNS = ("customer_id", "as_of", "snapshot", "label", "part", "fold")
ACTION_COLUMNS = ("action", "propensity", "eligible")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of the dataset (int64 microseconds UTC), with its counts: rows, and labels above 0."""

    as_of: int
    part: str
    customers: int
    positives: int


@dataclass(frozen=True, slots=True)
class DatasetManifest:
    """What a dataset was made from; enough to make it again."""

    model: str
    feature_service: str
    features: tuple[str, ...]
    spec_hash: str
    lake_version: int
    identity_version: int
    config_hash: str
    dataset_hash: str
    horizon: int
    gap: int
    data_start: int
    data_end: int
    snapshots: tuple[Snapshot, ...]
    inputs: ModelInputs
    label: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The rows (see the module's text) and what they were made from."""

    rows: pd.DataFrame
    manifest: DatasetManifest

    def part(self, name: str) -> pd.DataFrame:
        """Rows of `train` or `test`, in order."""
        return self.rows[self.rows["part"] == name].reset_index(drop=True)

    def features(self, part: str) -> pd.DataFrame:
        """Feature columns of one part, float64, in the order of the feature service."""
        return self.part(part)[list(self.manifest.features)]

    def inputs(self, part: str) -> pd.DataFrame:
        """Columns of the model for one part, float64, in its order."""
        inputs = self.manifest.inputs
        values = self.features(part).to_numpy(dtype=np.float64)
        return pd.DataFrame(inputs.matrix(values), columns=list(inputs.names))


def value_columns(rows: pd.DataFrame) -> tuple[str, ...]:
    """The columns of `rows` that hold features."""
    return tuple(name for name in rows.columns if name not in (*ID_COLUMNS, *ACTION_COLUMNS))


def save_dataset(folder: Path, dataset: Dataset) -> None:
    """Write both files of a dataset: a manifest never stands beside rows of another one."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (DATASET + ".partial")
    pq.write_table(_table(dataset.rows), partial)
    (folder / DATASET_MANIFEST).unlink(missing_ok=True)
    os.replace(partial, folder / DATASET)
    write_json(folder / DATASET_MANIFEST, asdict(dataset.manifest))


def load_dataset(folder: Path) -> Dataset:
    """Read what `save_dataset` wrote.

    Raises:
        FileNotFoundError: there is none in `folder`.
        UserError: another version of the program made it.
    """
    raw = read_json(folder / DATASET_MANIFEST)
    try:
        snapshots = tuple(Snapshot(**item) for item in raw.pop("snapshots"))
        features, inputs = tuple(raw.pop("features")), inputs_from_json(raw.pop("inputs"))
        manifest = DatasetManifest(**raw, features=features, snapshots=snapshots, inputs=inputs)
    except (KeyError, TypeError):
        hint = "make it again: twin train MODEL"
        problem = Problem(DATASET_MANIFEST, "the keys that this version writes", "others", hint)
        raise UserError("The dataset was made by another version of the program.", [problem]) from None
    rows = pd.read_parquet(folder / DATASET)
    if "eligible" in rows:
        eligible = [None if names is None else tuple(names) for names in rows["eligible"]]
        rows["eligible"] = pd.Series(eligible, index=rows.index, dtype="object")
    return Dataset(rows, manifest)


def _table(rows: pd.DataFrame) -> pa.Table:
    """A list of names is one also where every row has none."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    if "eligible" not in rows:
        return table
    names = pa.array(rows["eligible"].tolist(), pa.list_(pa.string()))
    return table.set_column(table.column_names.index("eligible"), "eligible", names)


def load_dataset_of(folder: Path, config: LearningConfig) -> Dataset:
    """The dataset of a model, which must have been made by the label rule that is configured now.

    Raises:
        FileNotFoundError: there is none in `folder`.
        UserError: it was made by another rule.
    """
    dataset = load_dataset(folder)
    if dataset.manifest.label != config.label.model_dump(mode="json"):
        hint = f"make the dataset again: twin train {config.name}"
        problem = Problem("label", "the rule that the dataset was made by", "another", hint, f"{config.name}.yaml")
        raise UserError("The label rule was changed since the dataset was made.", [problem])
    return dataset


def newest_snapshot(rows: pd.DataFrame) -> pd.DataFrame:
    """Those of the newest snapshot among `rows`."""
    return rows[rows["snapshot"] == rows["snapshot"].max()]


def refuse_foreign_training(training: Mapping[str, Any], dataset: Dataset) -> None:
    """A model of an older split may have learned from what is the test now; `training` is `training.json`.

    Raises:
        UserError: it was trained on another dataset.
    """
    trained_on, present = training["dataset_hash"], dataset.manifest.dataset_hash
    if trained_on != present:
        problem = Problem(TRAINING, f"dataset {present}", f"dataset {trained_on}", "fit the model again")
        raise UserError("The model was trained on another dataset.", [problem])


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def file_hash(path: Path) -> str:
    """SHA-256 (16 hex digits) of a file's bytes: by it later steps know what an earlier one looked at."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
