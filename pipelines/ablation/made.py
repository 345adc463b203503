"""One variant made: fitted, calibrated, and its probabilities on the test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.model_inputs import ModelInputs
from pipelines.ablation.variants import Variant
from pipelines.artefacts import Dataset, newest_snapshot
from pipelines.boosting import Floats, LearningRows, drawn, make_folds, probability
from pipelines.fitting import FitSummary, fit_calibrated
from pipelines.settings.models import FitConfig, ModelConfig, TuneConfig

# Cells (rows * columns) times trees that two cores get through in about a quarter of a minute.
MOST_WORK = 5_000_000_000
LEAST_ROWS = 5_000
FEW_FOLDS = 2


@dataclass(frozen=True, slots=True)
class Trial:
    """What all variants share: rows with all features, parameters, and the number of folds."""

    train: pd.DataFrame
    test: pd.DataFrame
    params: Mapping[str, Any]
    tune: TuneConfig
    folds: int
    sampled: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """Probabilities of the test rows, shape (rows,), their calibrated log-odds, and how it was fitted."""

    probabilities: Floats
    scores: Floats
    fit: FitSummary
    out_of_fold_log_loss: float
    columns: int


def trial_of(
    config: ModelConfig, dataset: Dataset, training: Mapping[str, Any], tried: Sequence[Variant], most_rows: int | None
) -> Trial:
    """All train rows and folds where that is done in time, else fewer folds, then rows of fewer customers."""
    train, folds, notes = dataset.part("train"), config.split.folds, []
    rows = len(train) if most_rows is None else most_rows
    if most_rows is None and _work(training, config, tried, folds) * rows > MOST_WORK:
        folds = min(FEW_FOLDS, folds)
        rows = max(LEAST_ROWS, int(MOST_WORK / _work(training, config, tried, folds)))
        notes.append(
            f"To save time, each row is cross-validated on {folds} folds, the model itself on {config.split.folds}."
        )
    part = train.iloc[drawn(train["customer_id"].to_numpy(), rows)].reset_index(drop=True)
    sampled = len(part) < len(train)
    if sampled:
        notes.append(
            f"Trained, the whole too, on {len(part):,} of {len(train):,} rows, all of "
            f"{part['customer_id'].nunique():,} customers; --rows {len(train)} takes all."
        )
    return Trial(part, dataset.part("test"), training["params"], config.tune, folds, sampled, tuple(notes))


def _work(training: Mapping[str, Any], config: ModelConfig, tried: Sequence[Variant], folds: int) -> float:
    """Columns times trees that all variants take for each row; a fit on all rows and `folds` on the other folds."""
    trees = int(training["rounds"]) + config.tune.early_stopping_rounds
    fitted = [each for each in tried if each.calibrated and not each.newest_only]
    return float(trees * folds * sum(each.how.seeds * len(each.inputs.names) for each in fitted))


def make(trial: Trial, variant: Variant) -> Made:
    """Fitted with the parameters of the trial as a model is, on the variant's columns and rows."""
    train = newest_snapshot(trial.train) if variant.newest_only else trial.train
    rows = _learning_rows(train, variant.inputs, trial.folds)
    fit, booster = fit_calibrated(
        rows, make_folds(rows, trial.tune.seed), trial.params, trial.tune, _of_columns(variant.how, rows.names)
    )
    scores = np.asarray(booster.predict(_values(trial.test, variant.inputs), raw_score=True), dtype=np.float64)
    return Made(probability(scores), scores, fit, fit.out_of_fold.calibrated_log_loss, len(rows.names))


def can_be_made(trial: Trial, variant: Variant) -> bool:
    """Not where the newest snapshot is the only one, or too small to be learned from alone."""
    if not variant.newest_only:
        return True
    late = newest_snapshot(trial.train)
    return len(late) < len(trial.train) and late["label"].nunique() == 2 and (late["fold"] % trial.folds).nunique() > 1


def uncalibrated(whole: Made) -> Made:
    """The whole model with the line of its calibration taken back."""
    line = whole.fit.calibration
    raw = (whole.scores - line.intercept) / line.slope
    return replace(
        whole, probabilities=probability(raw), scores=raw, out_of_fold_log_loss=whole.fit.out_of_fold.log_loss
    )


def _of_columns(how: FitConfig, names: Sequence[str]) -> FitConfig:
    """Directions of columns that are left."""
    return how.model_copy(update={"monotone": {name: way for name, way in how.monotone.items() if name in names}})


def _learning_rows(train: pd.DataFrame, inputs: ModelInputs, folds: int) -> LearningRows:
    return LearningRows(
        _values(train, inputs), inputs.names, train["label"].to_numpy(), train["fold"].to_numpy() % folds,
        train["snapshot"].to_numpy(dtype="datetime64[us]"),
    )  # fmt: skip


def _values(rows: pd.DataFrame, inputs: ModelInputs) -> Floats:
    return np.ascontiguousarray(inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64)))
