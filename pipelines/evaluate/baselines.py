"""The simple models every tuned one has to beat, each calibrated on training data like the tuned one.

Calibration of all of them is Platt's line on the newest training snapshot, the one nearest the test.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from feature_repo.bg_nbd import BgNbd, history
from feature_repo.windows import DAY
from pipelines import bg_nbd
from pipelines.scoring.metrics import Array, calibration_line, log_odds, on_line
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import BgNbdConfig, LogisticConfig

# Beyond some thousands of customers the four parameters of BG/NBD no longer move.
_MOST_CUSTOMERS = 10_000


def newest(train: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows of the newest training snapshot."""
    return np.asarray(train["snapshot"] == train["snapshot"].max())


def base_rate(train: pd.DataFrame, test: pd.DataFrame) -> Array:
    """The rate of positives over all training rows, for everyone."""
    return np.full(len(test), float(train["label"].mean()))


def _line(labels: Array, probabilities: Array) -> tuple[float, float]:
    """Platt's line, or no change where the labels are of one class or the probabilities all equal."""
    intercepts, slopes = calibration_line(labels, log_odds(probabilities))
    if not np.isfinite(intercepts[0] + slopes[0]):
        return 0.0, 1.0
    return float(intercepts[0]), float(slopes[0])


# Logistic regression, such as on recency, frequency and monetary value -----------------------------------------


class Logistic:
    """Logistic regression (ridge, C = 1) on log(1 + |v|) with the sign of v, standardised.

    An empty value becomes the training median, and a 0/1 column says so where training had empty ones.
    """

    def __init__(self, rows: pd.DataFrame, columns: list[str]) -> None:
        self._columns = columns
        logs = self._logs(rows)
        known = np.isfinite(logs)
        self._gaps = ~known.all(axis=0)
        self._medians = np.array([
            np.median(column[there]) if there.any() else 0.0 for column, there in zip(logs.T, known.T, strict=True)
        ])  # fmt: skip
        filled = np.where(known, logs, self._medians)
        self._means, self._scales = filled.mean(axis=0), np.maximum(filled.std(axis=0), 1e-9)
        self._model = LogisticRegression(C=1.0, max_iter=1000).fit(self._inputs(rows), rows["label"].to_numpy())

    def _logs(self, rows: pd.DataFrame) -> Array:
        values = rows[self._columns].to_numpy(dtype=np.float64)
        return np.asarray(np.sign(values) * np.log1p(np.abs(values)))

    def _inputs(self, rows: pd.DataFrame) -> Array:
        logs = self._logs(rows)
        known = np.isfinite(logs)
        scaled = (np.where(known, logs, self._medians) - self._means) / self._scales
        return np.hstack([scaled, (~known)[:, self._gaps]])

    def predict(self, rows: pd.DataFrame) -> Array:
        """Probability of the label, shape (rows,)."""
        return np.asarray(self._model.predict_proba(self._inputs(rows))[:, 1], dtype=np.float64)


def logistic(train: pd.DataFrame, test: pd.DataFrame, config: LogisticConfig) -> Array:
    """Fitted on all training rows; its calibration line on out-of-fold predictions of the newest snapshot."""
    columns = list(config.features)
    late = newest(train)
    held_out = np.full(len(train), np.nan)
    for fold in sorted(train.loc[late, "fold"].unique()):
        inside = np.asarray(train["fold"] == fold)
        others = train[~inside]
        if others["label"].nunique() == 2:
            held_out[inside & late] = Logistic(others, columns).predict(train[inside & late])
    known = np.isfinite(held_out)
    line = _line(train["label"].to_numpy(dtype=np.float64)[known], held_out[known])
    return on_line(Logistic(train, columns).predict(test), *line)


# BG/NBD --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BgNbdBaseline:
    """Probabilities on the test rows before and after calibration, and the parameters (time in days)."""

    raw: Array
    calibrated: Array
    parameters: BgNbd
    customers: int


def bg_nbd_baseline(
    train: pd.DataFrame, test: pd.DataFrame, config: BgNbdConfig, label: ChurnLabel, seed: int = 0
) -> BgNbdBaseline:
    """Fitted on the histories of the newest training snapshot, which holds no labels, then calibrated on its labels.

    Rows whose history is empty get the rate of positives.

    Raises:
        ValueError: no row of the newest training snapshot has a history.
    """
    active, horizon, gap = (microseconds(length) / DAY for length in (label.activity_window, label.horizon, label.gap))
    late = train[newest(train)]
    sample = late if len(late) <= _MOST_CUSTOMERS else late.sample(_MOST_CUSTOMERS, random_state=seed)
    x, t_x, age, known = _history(sample, config)
    model = bg_nbd.fit(x[known], t_x[known], age[known], active)

    def predict(rows: pd.DataFrame) -> Array:
        x, t_x, age, known = _history(rows, config)
        result = np.full(len(rows), float(train["label"].mean()))
        result[known] = bg_nbd.no_purchase_probability(model, x[known], t_x[known], age[known], horizon, gap)
        return result

    raw = predict(test)
    line = _line(late["label"].to_numpy(dtype=np.float64), predict(late))
    return BgNbdBaseline(raw, on_line(raw, *line), model, int(known.sum()))


def _history(rows: pd.DataFrame, config: BgNbdConfig) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    columns = (rows[name].to_numpy(dtype=np.float64) for name in (config.recency, config.frequency, config.age))
    return history(*columns)
