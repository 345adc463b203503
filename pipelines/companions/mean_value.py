"""The expected value, by three forms of booster, of which cross-validation chooses one.

- `l2`: squared error.
- `tweedie`: a logarithmic link and Tweedie's deviance (power 1.5), for amounts of which many are 0.
- `two_part`: the chance of bringing anything, times the amount of those who do (Gamma deviance).

All are judged by Tweedie's deviance of power 1.5, whose least mean is at the true expectation (Gneiting 2011,
"Making and Evaluating Point Forecasts"), as that of squared error is, but without a few large customers deciding all.
Where more was given back than bought, `tweedie` and `two_part` learn 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from pipelines.boosting import Floats, LearningRows
from pipelines.companions.boosting import CrossValidated, Searched, cross_validate, fit_all, part, relabelled, search
from pipelines.settings.models import TuneConfig

POWER = 1.5
# A prediction of nothing would be infinitely wrong: it is judged as this share of the mean.
LEAST = 0.01
FORMS = ("l2", "tweedie", "two_part")
_L2 = {"objective": "regression", "metric": "l2"}
_TWEEDIE = {"objective": "tweedie", "metric": "tweedie", "tweedie_variance_power": POWER}
_GAMMA = {"objective": "gamma", "metric": "gamma"}


def deviances(outcomes: Floats, predictions: Floats, mean: float) -> Floats:
    """Tweedie's deviance of power 1.5 of each row, in units of the root of `mean`, which scales all money.

    4 * (sqrt(y) - sqrt(m))^2 / sqrt(m) for outcome y and prediction m; outcomes below 0 count as 0.
    """
    y, m = np.maximum(outcomes, 0.0) / mean, np.maximum(predictions / mean, LEAST)
    return np.asarray(4.0 * (np.sqrt(y) - np.sqrt(m)) ** 2 / np.sqrt(m))


@dataclass(frozen=True, slots=True)
class MeanFit:
    """The chosen form and its boosters; out-of-fold deviance of each form with LightGBM's defaults."""

    form: str
    boosters: dict[str, lgb.Booster]
    rounds: dict[str, int]
    losses: dict[str, float]
    searched: Searched
    out_of_fold: Floats


def fit_mean(rows: LearningRows, tune: TuneConfig) -> MeanFit:
    """Choose the form with default parameters, then the parameters of that form, and fit it to all rows.

    `rows.labels` are money in whatever unit; predictions come in the same.
    """
    mean = float(np.maximum(rows.labels, 0).mean())

    def loss(form: str, params: Mapping[str, Any]) -> float:
        return float(deviances(rows.labels, _held_out(form, rows, params, tune)[0], mean).mean())

    losses = {form: loss(form, {}) for form in FORMS}
    form = min(losses, key=lambda name: losses[name])
    searched = search(lambda params: loss(form, params), tune)
    predictions, validated = _held_out(form, rows, searched.params, tune)
    boosters = {
        name: fit_all(learned, {**searched.params, **objective}, tune, validated[name].rounds)
        for name, (objective, learned) in _parts(form, rows).items()
    }
    rounds = {name: found.rounds for name, found in validated.items()}
    return MeanFit(form, boosters, rounds, losses, searched, predictions)


def predict_mean(form: str, boosters: Mapping[str, lgb.Booster], values: Floats) -> Floats:
    """Expected value, shape (rows,)."""
    parts = {name: np.asarray(booster.predict(values), dtype=np.float64) for name, booster in boosters.items()}
    return parts["chance"] * parts["amount"] if form == "two_part" else parts["mean"]


def _parts(form: str, rows: LearningRows) -> dict[str, tuple[dict[str, Any], LearningRows]]:
    """What each booster of a form minimises, and the rows it learns from."""
    brought = rows.labels > 0
    if form == "two_part":
        return {
            "chance": ({}, relabelled(rows, brought.astype(np.int64))),
            "amount": (_GAMMA, part(rows, brought)),
        }
    if form == "tweedie":
        return {"mean": (_TWEEDIE, relabelled(rows, np.maximum(rows.labels, 0)))}
    return {"mean": (_L2, rows)}


def _held_out(
    form: str, rows: LearningRows, params: Mapping[str, Any], tune: TuneConfig
) -> tuple[Floats, dict[str, CrossValidated]]:
    if form != "two_part":
        objective, learned = _parts(form, rows)["mean"]
        found = cross_validate(learned, {**params, **objective}, tune)
        return found.predictions, {"mean": found}
    brought = rows.labels > 0
    chance = cross_validate(relabelled(rows, brought.astype(np.int64)), params, tune)
    amount = cross_validate(rows, {**params, **_GAMMA}, tune, only=brought)
    return chance.predictions * amount.predictions, {"chance": chance, "amount": amount}
