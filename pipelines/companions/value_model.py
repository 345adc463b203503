"""The value of a customer over the horizon: an expectation and an interval, from boosters."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import Dataset
from pipelines.boosting import Floats, LearningRows, learning_rows
from pipelines.companions.boosting import cross_validate, fit_all, part, relabelled
from pipelines.companions.conformal import ConformalOffset, find_offset, least_customers, move, off_scale, on_scale
from pipelines.companions.mean_value import MeanFit, fit_mean, predict_mean
from pipelines.console import UserError
from pipelines.settings.models import CompanionConfig

# Held-out customers beyond these make the offset no surer than the rest of it is.
_ENOUGH_CUSTOMERS = 500
ENDS = ("lower", "upper")


@dataclass(frozen=True, slots=True)
class ValueModel:
    """Boosters by name: `mean`, or `chance` and `amount`; and `lower` and `upper`. Money in minor units.

    `unit` is the amount that the boosters of the mean count in.
    """

    form: str
    unit: float
    boosters: dict[str, lgb.Booster]
    offset: ConformalOffset
    inputs: ModelInputs

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Columns `value`, `lower` and `upper`, float64 in minor units, from the features of the model's service.

        Raises:
            KeyError: a feature is missing.
        """
        values = self.inputs.matrix(features[list(self.inputs.features)].to_numpy(dtype=np.float64))
        return self.predict_inputs(values, features.index)

    def predict_inputs(self, values: Floats, index: pd.Index | None = None) -> pd.DataFrame:
        """As `predict`, from the model's own columns, shape (rows, columns)."""
        means = {name: booster for name, booster in self.boosters.items() if name not in ENDS}
        value = predict_mean(self.form, means, values) * self.unit
        lower, upper = (np.asarray(self.boosters[end].predict(values), dtype=np.float64) for end in ENDS)
        lower, upper = move(lower, upper, self.offset.offset)
        lower, upper = off_scale(lower, self.offset.unit), off_scale(upper, self.offset.unit)
        return pd.DataFrame({"value": value, "lower": lower, "upper": upper}, index=index)


def fit_value(dataset: Dataset, config: CompanionConfig) -> tuple[ValueModel, dict[str, Any]]:
    """The model, and what is to be said of its training, as JSON.

    Raises:
        UserError: too few customers to hold some out, or none or all of the train part brings anything.
    """
    rows = learning_rows(dataset)
    brought = rows.labels > 0
    _check(rows, config)
    unit = float(rows.labels[brought].mean())
    mean = fit_mean(relabelled(rows, rows.labels / unit), config.tune)
    ends, offset, rounds = _interval(dataset, rows, config, mean, float(np.median(rows.labels[brought])))
    model = ValueModel(mean.form, unit, {**mean.boosters, **ends}, offset, dataset.manifest.inputs)
    told = {
        "form": mean.form, "form_losses": mean.losses, "unit": unit, "offset": asdict(offset),
        "params": mean.searched.params, "rounds": {**mean.rounds, **rounds}, "search": asdict(mean.searched),
    }  # fmt: skip
    return model, told


def _check(rows: LearningRows, config: CompanionConfig) -> None:
    problems = []
    if len(np.unique(rows.labels)) < 2:
        got = f"{len(rows.labels):,} rows, all of them {rows.labels[0]}"
        problems.append(Problem("labels of train", "values that differ", got, "change label.horizon or label.add"))
    counts = [int((rows.labels[rows.folds == fold] > 0).sum()) for fold in np.unique(rows.folds)]
    if len(counts) < config.split.folds or min(counts) < 1:
        got = f"{counts} customers' rows a fold"
        hint = "ingest more customers, lower split.folds, or lengthen label.horizon"
        problems.append(Problem("split.folds", f"{config.split.folds} folds with a value above 0 in each", got, hint))
    if problems:
        raise UserError(f"There is not enough to learn {config.name} from.", problems)


def _interval(
    dataset: Dataset, rows: LearningRows, config: CompanionConfig, mean: MeanFit, unit: float
) -> tuple[dict[str, lgb.Booster], ConformalOffset, dict[str, int]]:
    """Quantile boosters of the customers of all folds but the first, made valid on those of the first."""
    held = _held_out_rows(dataset, rows)
    if len(held) < least_customers(config.interval):
        expected = f"{least_customers(config.interval)} customers in a fold, to hold out"
        hint = "ingest more customers, or lower interval"
        problem = Problem("interval", expected, f"{len(held)}", hint)
        raise UserError(f"There are too few customers for an interval of {config.interval:g}.", [problem])
    scaled = on_scale(rows.labels.astype(np.float64), unit)
    learned = part(relabelled(rows, scaled), rows.folds != rows.folds.min())
    tail = (1.0 - config.interval) / 2.0
    boosters, rounds = {}, {}
    for end, level in zip(ENDS, (tail, 1.0 - tail), strict=True):
        chosen = {**mean.searched.params, "objective": "quantile", "metric": "quantile", "alpha": level}
        rounds[end] = cross_validate(learned, chosen, config.tune).rounds
        boosters[end] = fit_all(learned, chosen, config.tune, rounds[end])
    lower, upper = (np.asarray(boosters[end].predict(rows.values[held]), dtype=np.float64) for end in ENDS)
    offset = find_offset(lower, upper, scaled[held], config.interval)
    return boosters, ConformalOffset(config.interval, unit, offset, len(held)), rounds


def _held_out_rows(dataset: Dataset, rows: LearningRows) -> np.ndarray:
    """The newest row of each customer of the first fold, those of the newest snapshots first, up to some hundred."""
    customers = dataset.part("train")["customer_id"].to_numpy()
    own = np.flatnonzero(rows.folds == rows.folds.min())
    newest_first = own[np.argsort(rows.snapshots[own], kind="stable")[::-1]]
    _, first = np.unique(customers[newest_first], return_index=True)
    return np.asarray(newest_first[np.sort(first)[:_ENOUGH_CUSTOMERS]])
