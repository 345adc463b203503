"""Boosters of any objective, judged on held-out customers, and a small search of their parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import lightgbm as lgb
import numpy as np
import optuna
from numpy.typing import NDArray

from pipelines.boosting import Floats, LearningRows, bin_values, fit_fold, make_folds, parameters
from pipelines.settings.models import TuneConfig

# A part of what the search of the churn models tries (TabArena's space): what matters most on few rows.
SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "learning_rate": optuna.distributions.FloatDistribution(0.01, 0.1, log=True),
    "num_leaves": optuna.distributions.IntDistribution(2, 64, log=True),
    "min_data_in_leaf": optuna.distributions.IntDistribution(5, 200, log=True),
    "feature_fraction": optuna.distributions.FloatDistribution(0.4, 1.0),
    "lambda_l2": optuna.distributions.FloatDistribution(1e-3, 10.0, log=True),
}


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Predictions for the rows of each fold by a booster of the others, shape (rows,), at one number of trees."""

    predictions: Floats
    rounds: int


def cross_validate(
    rows: LearningRows, chosen: Mapping[str, Any], tune: TuneConfig, only: NDArray[np.bool_] | None = None
) -> CrossValidated:
    """Grouped cross-validation; boosters learn from the rows of `only`, and predict all.

    The number of trees is the mean over folds of the best number, and out-of-fold predictions are read at it.
    """
    learned = rows if only is None else part(rows, only)
    settings = parameters(chosen, tune.seed, len(learned.values))
    folds = make_folds(learned, tune.seed)
    boosters = [fit_fold(fold, settings, tune.rounds, tune.early_stopping_rounds) for fold in folds]
    rounds = max(1, round(np.mean([booster.best_iteration for booster in boosters])))
    predictions = np.full(len(rows.values), np.nan)
    for fold, booster in zip(folds, boosters, strict=True):
        own = rows.folds == fold.number
        predictions[own] = booster.predict(rows.values[own], num_iteration=rounds)
    return CrossValidated(predictions, rounds)


def fit_all(rows: LearningRows, chosen: Mapping[str, Any], tune: TuneConfig, rounds: int) -> lgb.Booster:
    """One booster of all rows."""
    settings = parameters(chosen, tune.seed, len(rows.values))
    return lgb.train(settings, bin_values(rows.values, rows.labels, list(rows.names), tune.seed), rounds)


def part(rows: LearningRows, only: NDArray[np.bool_]) -> LearningRows:
    """Some of the rows."""
    return LearningRows(rows.values[only], rows.names, rows.labels[only], rows.folds[only], rows.snapshots[only])


def relabelled(rows: LearningRows, labels: NDArray[Any]) -> LearningRows:
    """The same rows, with other labels."""
    return replace(rows, labels=labels)


@dataclass(frozen=True, slots=True)
class Searched:
    """The best parameters, the loss of LightGBM's defaults and the best one, and what was spent."""

    params: dict[str, Any]
    default_loss: float
    best_loss: float
    trials: int
    seconds: float


def search(loss: Callable[[Mapping[str, Any]], float], tune: TuneConfig) -> Searched:
    """LightGBM's defaults, then TPE, until `tune.trials` or `tune.budget_seconds` are spent; no trial is broken off."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began = time.monotonic()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=tune.seed))
    default = loss({})
    best: tuple[float, dict[str, Any]] = (default, {})
    trials = 1
    while trials < tune.trials and time.monotonic() - began < tune.budget_seconds:
        trial = study.ask(SPACE)
        found = loss(trial.params)
        study.tell(trial, found)
        best = min(best, (found, dict(trial.params)), key=lambda item: item[0])
        trials += 1
    return Searched(best[1], default, best[0], trials, round(time.monotonic() - began, 1))
