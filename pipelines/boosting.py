"""LightGBM as tuning and training both use it: fixed parameters, folds, and how a score is judged.

Features are float64 with NaN for empty; none is declared categorical. Rows are not re-weighted for
class imbalance: that would bias every probability.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.artefacts import Dataset

ROWS_WORTH_THREADS = 50_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LearningRows:
    """What a model is fitted to: `values` (rows, columns) called `names`; `labels`, `folds` and `snapshots` (rows,).

    All rows of a customer are in one fold. `snapshots` are instants (datetime64[us], UTC).
    """

    values: Floats
    names: tuple[str, ...]
    labels: NDArray[Any]
    folds: NDArray[Any]
    snapshots: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of the train part: fitted on the rows of all other folds, judged on its own `rows`."""

    number: int
    rows: NDArray[np.int64]
    values: Floats
    fit: lgb.Dataset
    held_out: lgb.Dataset


def parameters(chosen: Mapping[str, Any], seed: int, rows: int) -> dict[str, Any]:
    """`chosen` with what never varies. The same data and seed give the same trees on any number of threads.

    `rows` decides the threads: on few rows they wait for each other longer than they work.
    """
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "num_threads": 1 if rows < ROWS_WORTH_THREADS else len(os.sched_getaffinity(0)),
        **chosen,
    }


def learning_rows(dataset: Dataset) -> LearningRows:
    """The train part of a dataset, all columns of its model."""
    train = dataset.part("train")
    snapshots = train["snapshot"].to_numpy(dtype="datetime64[us]")
    inputs = dataset.inputs("train")
    return LearningRows(
        matrix(inputs), tuple(inputs.columns), train["label"].to_numpy(), train["fold"].to_numpy(), snapshots
    )


def make_folds(rows: LearningRows, seed: int) -> tuple[Fold, ...]:
    """The grouped folds, binned once and shared by every fit."""
    names = list(rows.names)
    return tuple(
        _fold(int(number), rows.folds, rows.values, rows.labels, names, seed) for number in np.unique(rows.folds)
    )


def matrix(features: pd.DataFrame) -> Floats:
    """Rows by features, float64."""
    return np.ascontiguousarray(features.to_numpy(dtype=np.float64))


def bin_values(values: Floats, labels: NDArray[Any], names: list[str], seed: int) -> lgb.Dataset:
    """A LightGBM dataset that may be trained on many times, with other parameters each time."""
    return lgb.Dataset(
        values, labels, feature_name=names, params=parameters({}, seed, len(values)), free_raw_data=False
    ).construct()


def fit_fold(fold: Fold, settings: Mapping[str, Any], rounds: int, patience: int) -> lgb.Booster:
    """Boost up to `rounds` trees, until the held-out log-loss has not fallen for `patience` of them."""
    stop = lgb.early_stopping(patience, verbose=False)
    return lgb.train(dict(settings), fold.fit, rounds, valid_sets=[fold.held_out], callbacks=[stop])


def log_loss(labels: NDArray[Any], raw: Floats) -> float:
    """Mean negative log-likelihood (nats) of 0/1 `labels` under log-odds `raw`; finite for finite scores."""
    return float(np.mean(np.logaddexp(0.0, raw) - labels * raw))


def probability(raw: Floats) -> Floats:
    """The logistic function of log-odds, without overflow."""
    return np.exp(-np.logaddexp(0.0, -raw))


def _fold(
    number: int, numbers: NDArray[Any], values: Floats, labels: NDArray[Any], names: list[str], seed: int
) -> Fold:
    own = numbers == number
    fit = bin_values(values[~own], labels[~own], names, seed)
    held_out = fit.create_valid(values[own], labels[own], params=fit.params).construct()
    return Fold(number, np.flatnonzero(own), values[own], fit, held_out)
