"""The time to the next event as a discrete-time hazard (Singer & Willett 1993): one booster over person-periods.

A row of the dataset becomes one row a period for as long as no event has come, with the period's start as a column
and whether the event comes in it as label. The booster's probability is the hazard of that period, and the chance
of no event is the product of 1 - hazard. Folds are whole customers, and hazards are calibrated on the newest
training snapshot, as those of the churn models are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from feature_repo.windows import DAY
from pipelines.artefacts import Dataset
from pipelines.boosting import Floats, LearningRows, learning_rows, log_loss, make_folds
from pipelines.companions.boosting import cross_validate, search
from pipelines.companions.survival import Survival, times_of
from pipelines.console import UserError
from pipelines.fitting import fit_calibrated
from pipelines.settings.labels import microseconds
from pipelines.settings.models import CompanionConfig, FitConfig

PERIOD = "period_start_days"
_WEEK = 7.0
_FEWEST_PERIODS = 8


def period_edges(horizon: float) -> Floats:
    """Weeks, the last one cut at the horizon; eighths of a horizon that has fewer weeks than that. Days."""
    if horizon < _FEWEST_PERIODS * _WEEK:
        return np.linspace(0.0, horizon, _FEWEST_PERIODS + 1)
    return np.append(np.arange(0.0, horizon - 1e-9, _WEEK), horizon)


def person_periods(rows: LearningRows, times: Floats, edges: Floats) -> LearningRows:
    """One row a period at whose start no event had come; its label is 1 where the event comes in that period.

    `times` are days, NaN where no event comes, shape (rows,). A time at an edge belongs to the period it opens.
    """
    last = np.where(np.isfinite(times), np.searchsorted(edges, times, side="right") - 1, len(edges) - 2)
    last = np.clip(last, 0, len(edges) - 2).astype(np.int64)
    source = np.repeat(np.arange(len(times)), last + 1)
    period = np.concatenate([np.arange(count + 1) for count in last])
    labels = ((period == last[source]) & np.isfinite(times)[source]).astype(np.int64)
    values = np.column_stack([rows.values[source], edges[period]])
    return LearningRows(
        np.ascontiguousarray(values), (*rows.names, PERIOD), labels, rows.folds[source], rows.snapshots[source]
    )


@dataclass(frozen=True, slots=True)
class TimeModel:
    """`edges` of the periods in days, shape (periods + 1,). The booster's columns are the inputs and the period."""

    edges: Floats
    booster: lgb.Booster
    inputs: ModelInputs

    def predict(self, features: pd.DataFrame) -> Survival:
        """Chance of no event until each edge, from the features of the model's service.

        Raises:
            KeyError: a feature is missing.
        """
        values = features[list(self.inputs.features)].to_numpy(dtype=np.float64)
        return self.predict_inputs(self.inputs.matrix(values))

    def predict_inputs(self, values: Floats) -> Survival:
        """As `predict`, from the model's own columns, shape (rows, columns)."""
        left = [np.ones(len(values))]
        for start in self.edges[:-1]:
            hazard = self.booster.predict(np.column_stack([values, np.full(len(values), start)]))
            left.append(left[-1] * (1.0 - np.asarray(hazard, dtype=np.float64)))
        return Survival(self.edges, np.column_stack(left))


def fit_time(dataset: Dataset, config: CompanionConfig) -> tuple[TimeModel, dict[str, Any]]:
    """The model, and what is to be said of its training, as JSON.

    Raises:
        UserError: a fold of the train part has no event, or no row without one.
    """
    edges = period_edges(microseconds(config.label.horizon) / DAY)
    rows = learning_rows(dataset)
    _check(rows, config)
    periods = person_periods(rows, times_of(rows.labels), edges)

    def loss(params: Mapping[str, Any]) -> float:
        hazards = np.clip(cross_validate(periods, params, config.tune).predictions, 1e-12, 1 - 1e-12)
        return log_loss(periods.labels, np.log(hazards) - np.log1p(-hazards))

    searched = search(loss, config.tune)
    folds = make_folds(periods, config.tune.seed)
    summary, booster = fit_calibrated(periods, folds, searched.params, config.tune, FitConfig())
    told = {
        "edges_days": edges.tolist(), "person_periods": len(periods.labels), "search": asdict(searched),
        "params": searched.params, "rounds": {"hazard": summary.rounds},
        "calibration": asdict(summary.calibration), "out_of_fold": asdict(summary.out_of_fold),
    }  # fmt: skip
    return TimeModel(edges, booster, dataset.manifest.inputs), told


def _check(rows: LearningRows, config: CompanionConfig) -> None:
    came = rows.labels >= 0
    folds = np.unique(rows.folds)
    fewest = min(min(came[rows.folds == fold].sum(), (~came[rows.folds == fold]).sum()) for fold in folds)
    if len(folds) < config.split.folds or fewest < 1:
        got = f"{came.sum():,} rows with an event and {(~came).sum():,} without, in {len(folds)} folds"
        hint = "ingest more customers, lower split.folds, or change label.horizon"
        expected = f"{config.split.folds} folds, in each rows with an event and without"
        problem = Problem("split.folds", expected, got, hint)
        raise UserError(f"There is not enough to learn {config.name} from.", [problem])
