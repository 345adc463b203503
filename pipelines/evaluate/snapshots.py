"""Every model on each test snapshot apart, and how far the base rate has moved since training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.scoring.bootstrap import Interval, interval_of, resample_sums
from pipelines.scoring.metrics import (
    Array,
    auc,
    calibration_error,
    calibration_line,
    known,
    log_losses,
    log_odds,
    noise_floor,
)

_SIMULATIONS = 200


@dataclass(frozen=True, slots=True)
class ModelOnSnapshot:
    """Main figures of one model; None where one is undefined."""

    name: str
    log_loss: float
    auc: float | None
    calibration_error: float
    noise_floor: float
    calibration_intercept: float | None
    calibration_slope: float | None


@dataclass(frozen=True, slots=True)
class OnSnapshot:
    """All models on one test snapshot (int64 microseconds UTC; `day` in UTC)."""

    snapshot: int
    day: str
    rows: int
    positive_rate: float
    models: tuple[ModelOnSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """Rates of positives; `difference` is test minus train, with customers drawn again over both."""

    train_rate: float
    test_rate: float
    difference: Interval


def snapshots_of(rows: pd.DataFrame) -> NDArray[np.int64]:
    """The snapshot of each row, int64 microseconds UTC."""
    return rows["snapshot"].dt.as_unit("us").astype("int64").to_numpy()


def per_snapshot(test: pd.DataFrame, probabilities: Mapping[str, Array], seed: int) -> tuple[OnSnapshot, ...]:
    """In order of time."""
    snapshots, labels = snapshots_of(test), test["label"].to_numpy(dtype=np.float64)
    found = []
    for snapshot in np.unique(snapshots):
        own = snapshots == snapshot
        models = tuple(_scores(name, labels[own], values[own], seed) for name, values in probabilities.items())
        day = pd.Timestamp(int(snapshot), unit="us", tz="UTC").date().isoformat()
        found.append(OnSnapshot(int(snapshot), day, int(own.sum()), float(labels[own].mean()), models))
    return tuple(found)


def _scores(name: str, labels: Array, probabilities: Array, seed: int) -> ModelOnSnapshot:
    intercepts, slopes = calibration_line(labels, log_odds(probabilities))
    return ModelOnSnapshot(
        name, float(log_losses(labels, probabilities).mean()), known(auc(labels, probabilities)),
        calibration_error(labels, probabilities), noise_floor(probabilities, simulations=_SIMULATIONS, seed=seed),
        known(intercepts[0]), known(slopes[0]),
    )  # fmt: skip


def base_rate_drift(train: pd.DataFrame, test: pd.DataFrame, resamples: int, seed: int) -> Drift:
    """A customer of both parts is drawn with the rows of both."""
    both = pd.concat([train[["customer_id", "label", "part"]], test[["customer_id", "label", "part"]]])
    labels, later = both["label"].to_numpy(dtype=np.float64), (both["part"] == "test").to_numpy(dtype=np.float64)
    columns = np.stack([1 - later, (1 - later) * labels, later, later * labels], axis=1)
    sums = resample_sums(columns, pd.factorize(both["customer_id"])[0].astype(np.int64), resamples, seed)
    train_rate, test_rate = sums.estimates[1] / sums.estimates[0], sums.estimates[3] / sums.estimates[2]
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = sums.draws[3] / sums.draws[2] - sums.draws[1] / sums.draws[0]
    return Drift(float(train_rate), float(test_rate), interval_of(float(test_rate - train_rate), draws))
