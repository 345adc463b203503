"""Every question that could show leakage, put to the dataset of a model."""

from __future__ import annotations

import time
from dataclasses import asdict

from feature_repo.configuration import Problem
from pipelines.artefacts import DATASET_MANIFEST, LEAKAGE, MODEL, Dataset, file_hash, load_dataset_of, write_json
from pipelines.boosting import drawn
from pipelines.console import UserError, progress
from pipelines.leakage.columns import single_feature
from pipelines.leakage.learning import random_split_gap, rows_of, shuffled_labels, time_in_features
from pipelines.leakage.results import Leakage
from pipelines.leakage.truncated import MadeAgain, truncated_log
from pipelines.settings import Settings
from pipelines.settings.labels import microseconds
from pipelines.settings.models import ModelConfig

# So many rows of whole customers are learned from; more would make no figure clearer.
MOST_ROWS = 30_000


def look_for_leakage(settings: Settings, config: ModelConfig, again: MadeAgain) -> Leakage:
    """All alarms; writes `leakage.json`. `again` makes rows of the dataset anew from a log that was cut.

    Raises:
        FileNotFoundError: there is no dataset, or no model.
        UserError: the dataset is of other features, or what it was made from is gone.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(config.name)
    dataset, model_hash = load_dataset_of(folder, config), file_hash(folder / MODEL)
    _refuse_another_dataset(settings, config, dataset)
    limits, label = config.leakage, config.label
    window = microseconds(label.gap) + microseconds(label.horizon)
    truncated = truncated_log(settings, dataset, again, window, limits.truncated_rows)
    with progress("Learn where nothing can be learned, and on other splits", 4) as advance:
        some = dataset.rows.iloc[drawn(dataset.rows["customer_id"].to_numpy(), MOST_ROWS)]
        rows = rows_of(Dataset(some, dataset.manifest))
        shuffled = shuffled_labels(rows, limits.shuffled_tolerance)
        advance(1)
        gap = random_split_gap(rows, limits.random_split_gap)
        advance(1)
        single = single_feature(dataset, limits.single_feature_auc)
        advance(1)
        drift = time_in_features(rows)
        advance(1)
    alarms = tuple(alarm.finite() for alarm in (truncated, shuffled, gap, single, drift))
    seconds = round(time.monotonic() - began, 2)
    result = Leakage(config.name, dataset.manifest.dataset_hash, model_hash, alarms, seconds)
    write_json(folder / LEAKAGE, asdict(result))
    return result


def _refuse_another_dataset(settings: Settings, config: ModelConfig, dataset: Dataset) -> None:
    """Rows made again by other settings would differ, and that would be no leak."""
    manifest, label = dataset.manifest, config.label
    pairs = (
        ("features", settings.features.hash, manifest.spec_hash),
        ("label.horizon", microseconds(label.horizon), manifest.horizon),
        ("label.gap", microseconds(label.gap), manifest.gap),
    )
    problems = [
        Problem(name, f"{now} as configured", f"{then} in {DATASET_MANIFEST}", "make the dataset again")
        for name, now, then in pairs
        if now != then
    ]
    if problems:
        raise UserError("The configuration was changed since the dataset was made.", problems)
