"""From parameters and rows to a calibrated booster: the mean over several seeds, and monotone where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from feature_repo.configuration import Problem
from pipelines.boosting import Floats, Fold, LearningRows, bin_values, fit_fold, log_loss, parameters, probability
from pipelines.console import UserError
from pipelines.fitting.average import average
from pipelines.fitting.calibrate import Calibration, bake, calibrate
from pipelines.settings.models import FitConfig, TuneConfig

# What LightGBM draws while it grows trees. Its own `seed` also decides which rows it bins by, once for all boosters.
_DRAWS = ("bagging_seed", "feature_fraction_seed", "extra_seed", "objective_seed")


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
    """One fitted model: LightGBM parameters that differ from its defaults, trees a seed, calibration."""

    params: dict[str, Any]
    rounds: int
    calibration: Calibration
    out_of_fold: OutOfFold
    seeds: tuple[int, ...] = ()
    monotone: dict[str, str] = field(default_factory=dict)


def fit_calibrated(
    rows: LearningRows, folds: Sequence[Fold], params: Mapping[str, Any], tune: TuneConfig, how: FitConfig
) -> tuple[FitSummary, lgb.Booster]:
    """Cross-validate on `folds`, of all `rows` or a draw of them, calibrate on their scores, and fit on all rows.

    The number of trees is the mean over folds and seeds of the best number. Out-of-fold scores are read at
    that one number too, so no fold profits from having chosen its own; they are means over the seeds, as the
    scores of the model are.

    Raises:
        UserError: `how.monotone` names what is no column of the model.
    """
    chosen = {**parameters(params, tune.seed, len(rows.values)), **monotone_constraints(how, rows.names)}
    seeds = tuple(range(tune.seed, tune.seed + how.seeds))
    drawn = [_drawing(chosen, seed, tune.seed) for seed in seeds]
    boosters = [[fit_fold(fold, each, tune.rounds, tune.early_stopping_rounds) for each in drawn] for fold in folds]
    rounds = max(1, round(np.mean([booster.best_iteration for of_fold in boosters for booster in of_fold])))
    held_out, raw = _out_of_fold(folds, boosters, rounds)
    labels = rows.labels[held_out]
    calibration = calibrate(raw, labels, rows.snapshots[held_out])
    data = bin_values(rows.values, rows.labels, list(rows.names), tune.seed)
    booster = bake(average([lgb.train(each, data, rounds) for each in drawn]), calibration)
    judged = _judge(raw, calibration, labels)
    return FitSummary(dict(params), rounds, calibration, judged, seeds, dict(how.monotone)), booster


def _drawing(chosen: Mapping[str, Any], seed: int, first: int) -> dict[str, Any]:
    """The parameters with draws of another seed; those of the first seed are LightGBM's own."""
    return dict(chosen) if seed == first else {**chosen, **dict.fromkeys(_DRAWS, seed)}


def monotone_constraints(how: FitConfig, names: Sequence[str]) -> dict[str, Any]:
    """LightGBM's parameter for the directions of `how`, one number a column; empty where there are none.

    Raises:
        UserError: a direction is of what is no column.
    """
    problems = [
        Problem("fit.monotone", "a column of the model", repr(name), _close(name, names))
        for name in how.monotone
        if name not in names
    ]
    if problems:
        raise UserError("A direction is asked for of what the model does not read.", problems)
    if not how.monotone:
        return {}
    signs = {"raises": 1, "lowers": -1}
    return {"monotone_constraints": [signs[how.monotone[name]] if name in how.monotone else 0 for name in names]}


def _close(name: str, names: Sequence[str]) -> str:
    close = get_close_matches(name, names, 3)
    return f"did you mean {' or '.join(close)}?" if close else "features that are read but are no columns have none"


def _out_of_fold(
    folds: Sequence[Fold], boosters: Sequence[Sequence[lgb.Booster]], rounds: int
) -> tuple[NDArray[np.int64], Floats]:
    """Which rows the folds hold, ascending, and of each the mean log-odds over the seeds, by boosters of its fold."""
    rows = np.concatenate([fold.rows for fold in folds])
    raw = np.concatenate(
        [_mean_score(of_fold, fold.values, rounds) for fold, of_fold in zip(folds, boosters, strict=True)]
    )
    order = np.argsort(rows)
    return rows[order], raw[order]


def _mean_score(boosters: Sequence[lgb.Booster], values: Floats, rounds: int) -> Floats:
    scores = [booster.predict(values, raw_score=True, num_iteration=rounds) for booster in boosters]
    return np.asarray(np.mean(scores, axis=0), dtype=np.float64)


def _judge(raw: Floats, calibration: Calibration, labels: NDArray[Any]) -> OutOfFold:
    calibrated = calibration.slope * raw + calibration.intercept
    return OutOfFold(
        rows=len(labels),
        log_loss=log_loss(labels, raw),
        calibrated_log_loss=log_loss(labels, calibrated),
        auc=float(roc_auc_score(labels, raw)),
        brier=float(brier_score_loss(labels, probability(calibrated))),
    )
