"""From parameters to a calibrated booster, once for the tuned and once for the default parameters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, roc_auc_score

from pipelines.artefacts import DEFAULT_MODEL, MODEL, TRAINING, TUNING, Dataset, load_dataset, read_json, write_json
from pipelines.boosting import Floats, Fold, bin_values, fit_fold, log_loss, make_folds, matrix, parameters, probability
from pipelines.console import progress
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.train.calibrate import Calibration, bake, calibrate


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Grouped cross-validation on the train part; `calibrated_log_loss` is after Platt scaling. Nats."""

    rows: int
    log_loss: float
    calibrated_log_loss: float
    auc: float
    brier: float


@dataclass(frozen=True, slots=True)
class FitSummary:
    """One fitted model: LightGBM parameters that differ from its defaults, trees, calibration."""

    params: dict[str, Any]
    rounds: int
    calibration: Calibration
    out_of_fold: OutOfFold


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """The two fitted models, and where they are."""

    model: str
    path: str
    tuned: FitSummary
    default: FitSummary

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"Training of {self.model} (out-of-fold figures on the train part)"]
        for name, fit in (("tuned", self.tuned), ("default", self.default)):
            figures, scale = fit.out_of_fold, fit.calibration
            lines.append(
                f"  {name:<8} {fit.rounds:>4} rounds  log-loss {figures.calibrated_log_loss:.4f}  "
                f"AUC {figures.auc:.4f}  calibrated with slope {scale.slope:.3f}, intercept {scale.intercept:+.3f}"
            )
            if scale.note:
                lines.append(f"  Note: {name} model: calibration on {scale.note}")
        return "\n".join([*lines, f"  {self.path}"])


def train(settings: Settings, config: ModelConfig) -> TrainSummary:
    """Fit and calibrate both models on the train part of the saved dataset.

    Writes `model.txt` (tuned), `default_model.txt` and `training.json`. Both text models are
    calibrated already: `Booster.predict` gives probabilities to be used as they are.

    Raises:
        FileNotFoundError: there is no dataset, or no tuning.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, tuning = load_dataset(folder), read_json(folder / TUNING)
    folds = make_folds(dataset, config.tune.seed)
    with progress("Training", 2) as advance:
        tuned, tuned_booster = fit(dataset, folds, tuning["params"], config)
        advance(1)
        default, default_booster = fit(dataset, folds, {}, config)
        advance(1)
    _save(tuned_booster, folder / MODEL)
    _save(default_booster, folder / DEFAULT_MODEL)
    shared = {
        "model": config.name,
        "dataset_hash": dataset.manifest.dataset_hash,
        "seeds": {"lightgbm": config.tune.seed},
    }
    write_json(folder / TRAINING, {**shared, **asdict(tuned), "default": asdict(default)})
    return TrainSummary(config.name, str(folder / MODEL), tuned, default)


def fit(
    dataset: Dataset, folds: Sequence[Fold], params: Mapping[str, Any], config: ModelConfig
) -> tuple[FitSummary, lgb.Booster]:
    """Cross-validate, calibrate on the out-of-fold scores, and fit on all rows of the train part.

    The number of trees is the mean over folds of the best number. Out-of-fold scores are read at
    that one number too, so no fold profits from having chosen its own.
    """
    rows = dataset.part("train")
    chosen = parameters(params, config.tune.seed, len(rows))
    boosters = [fit_fold(fold, chosen, config.tune.rounds, config.tune.early_stopping_rounds) for fold in folds]
    rounds = max(1, round(np.mean([booster.best_iteration for booster in boosters])))
    raw = _out_of_fold(folds, boosters, rounds, len(rows))
    calibration = calibrate(raw, rows)
    features = dataset.features("train")
    data = bin_values(matrix(features), rows["label"].to_numpy(), list(features.columns), config.tune.seed)
    booster = bake(lgb.train(chosen, data, rounds), calibration)
    return FitSummary(dict(params), rounds, calibration, _judge(raw, calibration, rows)), booster


def _out_of_fold(folds: Sequence[Fold], boosters: Sequence[lgb.Booster], rounds: int, count: int) -> Floats:
    raw = np.empty(count)
    for fold, booster in zip(folds, boosters, strict=True):
        raw[fold.rows] = booster.predict(fold.values, raw_score=True, num_iteration=rounds)
    return raw


def _judge(raw: Floats, calibration: Calibration, rows: pd.DataFrame) -> OutOfFold:
    labels = rows["label"].to_numpy()
    calibrated = calibration.slope * raw + calibration.intercept
    return OutOfFold(
        rows=len(rows),
        log_loss=log_loss(labels, raw),
        calibrated_log_loss=log_loss(labels, calibrated),
        auc=float(roc_auc_score(labels, raw)),
        brier=float(brier_score_loss(labels, probability(calibrated))),
    )


def _save(booster: lgb.Booster, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    booster.save_model(partial)
    os.replace(partial, path)
