"""From parameters and rows to a calibrated booster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from pipelines.boosting import Floats, Fold, LearningRows, bin_values, fit_fold, log_loss, parameters, probability
from pipelines.fitting.calibrate import Calibration, bake, calibrate
from pipelines.settings.models import FitConfig, TuneConfig


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


def fit_calibrated(
    rows: LearningRows, folds: Sequence[Fold], params: Mapping[str, Any], tune: TuneConfig, how: FitConfig
) -> tuple[FitSummary, lgb.Booster]:
    """Cross-validate on `folds`, of all `rows` or a draw of them, calibrate on their scores, and fit on all rows.

    The number of trees is the mean over folds of the best number. Out-of-fold scores are read at
    that one number too, so no fold profits from having chosen its own.
    """
    chosen = parameters(params, tune.seed, len(rows.values))
    boosters = [fit_fold(fold, chosen, tune.rounds, tune.early_stopping_rounds) for fold in folds]
    rounds = max(1, round(np.mean([booster.best_iteration for booster in boosters])))
    judged, raw = _out_of_fold(folds, boosters, rounds)
    labels = rows.labels[judged]
    calibration = calibrate(raw, labels, rows.snapshots[judged])
    data = bin_values(rows.values, rows.labels, list(rows.names), tune.seed)
    booster = bake(lgb.train(chosen, data, rounds), calibration)
    return FitSummary(dict(params), rounds, calibration, _judge(raw, calibration, labels)), booster


def _out_of_fold(
    folds: Sequence[Fold], boosters: Sequence[lgb.Booster], rounds: int
) -> tuple[NDArray[np.int64], Floats]:
    """Which rows the folds hold, ascending, and their log-odds."""
    rows = np.concatenate([fold.rows for fold in folds])
    raw = np.concatenate(
        [
            booster.predict(fold.values, raw_score=True, num_iteration=rounds)
            for fold, booster in zip(folds, boosters, strict=True)
        ]
    )
    order = np.argsort(rows)
    return rows[order], raw[order]


def _judge(raw: Floats, calibration: Calibration, labels: NDArray[Any]) -> OutOfFold:
    calibrated = calibration.slope * raw + calibration.intercept
    return OutOfFold(
        rows=len(labels),
        log_loss=log_loss(labels, raw),
        calibrated_log_loss=log_loss(labels, calibrated),
        auc=float(roc_auc_score(labels, raw)),
        brier=float(brier_score_loss(labels, probability(calibrated))),
    )
