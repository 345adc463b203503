"""The simple models every tuned one has to beat, each calibrated on training data like the tuned one.

Calibration of all of them is Platt's line on the newest training snapshot, the one nearest the test. Those that can be
served are `SimpleModel`s, line included, and predict as such: what is compared is what would be served.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from feature_repo.bg_nbd import BgNbd
from feature_repo.linear_model import LinearModel, Term, transformed
from feature_repo.model_inputs import ALIVE, NO_ORDER, BuyingRhythm, ModelInputs
from feature_repo.windows import DAY
from pipelines import bg_nbd
from pipelines.buying_rhythm import fit_bg_nbd, histories, newest_sample
from pipelines.fitted_model import SimpleModel
from pipelines.scoring.metrics import Array, calibration_line, log_odds, on_line
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import BgNbdConfig, LogisticConfig


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


def fit_logistic(rows: pd.DataFrame, columns: list[str]) -> LinearModel:
    """Logistic regression (ridge, C = 1) on log(1 + |v|) with the sign of v, standardised.

    An empty value becomes the training median, and a 0/1 column says so where training had empty ones.
    """
    values = rows[columns].to_numpy(dtype=np.float64)
    terms = [
        Term(name, "signed_log", 1.0, 0.0, _median(column)) for name, column in zip(columns, values.T, strict=True)
    ]
    gaps = ~np.isfinite(values).all(axis=0)
    terms += [Term(name, "is_empty", 1.0, 0.0) for name, has_gaps in zip(columns, gaps, strict=True) if has_gaps]
    inputs = np.column_stack([term.contribution(values[:, columns.index(term.column)]) for term in terms])
    means = inputs.mean(axis=0)
    scales = np.array([
        max(spread, 1e-9) if term.transform == "signed_log" else 1.0
        for term, spread in zip(terms, inputs.std(axis=0), strict=True)
    ])  # fmt: skip
    found = LogisticRegression(C=1.0, max_iter=1000).fit((inputs - means) / scales, rows["label"].to_numpy())
    fitted = tuple(
        Term(term.column, term.transform, float(coefficient), float(mean), term.fill)
        for term, coefficient, mean in zip(terms, found.coef_[0] / scales, means, strict=True)
    )
    return LinearModel(tuple(columns), float(found.intercept_[0]), fitted)


def _median(column: Array) -> float:
    logs = transformed("signed_log", column, np.nan)
    there = np.isfinite(logs)
    return float(np.median(logs[there])) if there.any() else 0.0


def logistic(train: pd.DataFrame, config: LogisticConfig) -> SimpleModel:
    """Fitted on all training rows; its calibration line on out-of-fold predictions of the newest snapshot."""
    columns = config.features
    inputs = ModelInputs(columns, columns)
    late = newest(train)
    held_out = np.full(len(train), np.nan)
    for fold in sorted(train.loc[late, "fold"].unique()):
        inside = np.asarray(train["fold"] == fold)
        others = train[~inside]
        if others["label"].nunique() == 2:
            of_others = SimpleModel(inputs, fit_logistic(others, list(columns)))
            held_out[inside & late] = of_others.predict(train[inside & late])
    known = np.isfinite(held_out)
    line = _line(train["label"].to_numpy(dtype=np.float64)[known], held_out[known])
    return SimpleModel(inputs, fit_logistic(train, list(columns)).on_line(*line))


# BG/NBD --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BgNbdBaseline:
    """Probabilities on the test rows before and after calibration, and the parameters (time in days).

    `model` is the calibrated one as it can be served; None where there is a gap before the horizon, since the
    service computes no probability of no order after one.
    """

    raw: Array
    calibrated: Array
    parameters: BgNbd
    customers: int
    model: SimpleModel | None


def bg_nbd_baseline(train: pd.DataFrame, test: pd.DataFrame, config: BgNbdConfig, label: ChurnLabel) -> BgNbdBaseline:
    """Fitted on the histories of the newest training snapshot, which holds no labels, then calibrated on its labels.

    Rows whose history is empty get the rate of positives.

    Raises:
        ValueError: no row of the newest training snapshot has a history.
    """
    horizon, gap = (microseconds(length) / DAY for length in (label.horizon, label.gap))
    late = train[newest(train)]
    model = fit_bg_nbd(label, config, train)
    known = histories(newest_sample(train), config)[3]
    rate = float(train["label"].mean())

    def predict(rows: pd.DataFrame) -> Array:
        x, t_x, age, known = histories(rows, config)
        result = np.full(len(rows), rate)
        result[known] = bg_nbd.no_purchase_probability(model, x[known], t_x[known], age[known], horizon, gap)
        return result

    raw, before = predict(test), predict(late)
    line = _line(late["label"].to_numpy(dtype=np.float64), before)
    if gap > 0:
        return BgNbdBaseline(raw, on_line(raw, *line), model, int(known.sum()), None)
    rhythm = BuyingRhythm(model, config.recency, config.frequency, config.age, horizon)
    served = SimpleModel(_rhythm_alone(rhythm), _on_no_order(before, rate).on_line(*line))
    return BgNbdBaseline(raw, served.predict(test), model, int(known.sum()), served)


def _rhythm_alone(rhythm: BuyingRhythm) -> ModelInputs:
    return ModelInputs((rhythm.recency, rhythm.frequency, rhythm.age), (), rhythm)


def _on_no_order(probabilities: Array, rate: float) -> LinearModel:
    """The chance of no order, said as a linear model around the mean of its log-odds."""
    mean = float(log_odds(probabilities).mean())
    fill = float(log_odds(np.array([rate]))[0])
    return LinearModel((ALIVE, NO_ORDER), mean, (Term(NO_ORDER, "log_odds", 1.0, mean, fill),))
