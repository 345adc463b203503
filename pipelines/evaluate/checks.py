"""What must hold before models are compared: there is a dataset with both classes, and models of that very dataset."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from feature_repo.configuration import Problem
from pipelines.artefacts import Dataset, load_dataset_of
from pipelines.console import UserError
from pipelines.settings.models import ModelConfig


def dataset_to_judge_on(folder: Path, config: ModelConfig) -> Dataset:
    """The dataset of a model.

    Raises:
        UserError: there is none, a part has one class only, or a column is missing.
    """
    try:
        dataset = load_dataset_of(folder, config)
    except FileNotFoundError as error:
        raise UserError(f"There is no dataset of the model {config.name!r} to evaluate on.", [
            Problem("dataset", "a file made by the dataset step", "nothing there", "make the dataset first",
                    Path(error.filename or "").name),
        ]) from None  # fmt: skip
    problems = [
        Problem(f"labels of the {part} part", "both classes", _classes(dataset.part(part)["label"]),
                "use more data, another horizon, or more snapshots")
        for part in ("train", "test") if dataset.part(part)["label"].nunique() < 2
    ]  # fmt: skip
    cuts = [name for name in config.other_features if name not in config.baselines.features]
    problems += [
        Problem(place, "columns of the dataset", repr(name), "make the dataset again")
        for place, names in (("baselines", config.baselines.features), ("slices", cuts))
        for name in names if name not in dataset.rows
    ]  # fmt: skip
    if problems:
        raise UserError("The models cannot be compared on this dataset.", problems)
    return dataset


def _classes(labels: pd.Series) -> str:
    return "no rows" if labels.empty else f"only {labels.iloc[0]:.0f} in {len(labels):,} rows"
