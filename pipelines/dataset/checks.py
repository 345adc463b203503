"""What a dataset must have for a model to be learned from it, and what is worth a note."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.artefacts import Dataset
from pipelines.console import UserError
from pipelines.settings.models import ActionModelConfig, LearningConfig

_NAMED = 3
_OUTCOMES = {"churn": "label.horizon or label.activity_window", "conversion": "label.horizon or label.open_for"}


def check_labels(rows: pd.DataFrame, config: LearningConfig) -> None:
    """Both parts must hold labels that differ, and every fold a customer.

    Raises:
        UserError: they do not.
    """
    file = f"configs/models/{config.name}.yaml"
    train = rows[rows["part"] == "train"]
    if train["fold"].nunique() < config.split.folds:
        found = f"{train['customer_id'].nunique()} customers"
        hint = "lower split.folds, or ingest more customers"
        problem = Problem("split.folds", f"a customer in each of {config.split.folds} folds", found, hint, file)
        raise UserError("Too few customers to cross-validate.", [problem])
    problems = []
    for part, label in rows.groupby("part")["label"]:
        if label.nunique() == 1:
            expected = "both 0 and 1" if config.label.kind in _OUTCOMES else "more than one value"
            got = f"{len(label):,} rows, all of them {label.iloc[0]}"
            ways = _OUTCOMES.get(config.label.kind, "label.horizon")
            hint = f"change {ways}; twin labels explain {config.name} shows what each choice gives"
            problems.append(Problem(f"labels of {part}", expected, got, hint, file))
    if problems:
        raise UserError("There is nothing to tell apart.", problems)


def check_actions(rows: pd.DataFrame, config: ActionModelConfig) -> None:
    """Both parts must hold customers with an action and customers with none, to compare.

    Raises:
        UserError: they do not.
    """
    control, problems = config.label.control, []
    for part, actions in rows.groupby("part")["action"]:
        found = set(actions)
        if control not in found or len(found) == 1:
            expected = f"rows of {control} (label.control) and of at least one action"
            hint = "log who was drawn to get none, or say in label.others whom to compare with"
            got = f"only {', '.join(sorted(found))}"
            problems.append(Problem(f"actions of {part}", expected, got, hint, f"configs/models/{config.name}.yaml"))
    if problems:
        raise UserError("There is nothing to compare an action with.", problems)


def check_inputs(dataset: Dataset) -> list[str]:
    """Notes on inputs that are empty in every train row, or the same in all of them.

    Raises:
        UserError: all are.
    """
    inputs = dataset.inputs("train")
    names = list(inputs.columns)
    values = inputs.to_numpy(dtype=np.float64)
    missing = np.isnan(values)
    is_empty = missing.all(axis=0)
    # Known for some and empty for others also tells customers apart.
    is_constant = ~missing.any(axis=0) & (values == values[0]).all(axis=0)
    empty = [name for name, is_one in zip(names, is_empty, strict=True) if is_one]
    constant = [name for name, is_one in zip(names, is_constant, strict=True) if is_one]
    if len(empty) + len(constant) == len(names):
        got = f"{len(empty)} that are empty in all {len(values):,} train rows, and {len(constant)} that never vary"
        hint = (
            "ingest a source with the events that these features read (twin features list "
            f"--service {dataset.manifest.feature_service}), or choose another feature_service"
        )
        file = f"configs/models/{dataset.manifest.model}.yaml"
        problem = Problem("feature_service", "features that tell customers apart", got, hint, file)
        raise UserError("No input of the model tells customers apart.", [problem])
    notes = []
    for found, what in ((empty, "are empty"), (constant, "never vary")):
        if found:
            more = ", ..." if len(found) > _NAMED else ""
            notes.append(f"{len(found)} of {len(names)} inputs {what} in training: {', '.join(found[:_NAMED])}{more}")
    return notes
