"""Make a model again without each of its ingredients, and compare on the test part."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.model_inputs import BuyingRhythm
from pipelines.ablation.made import Made, Trial, can_be_made, make, trial_of, uncalibrated
from pipelines.ablation.results import Ablation, Reference, Row, sentence
from pipelines.ablation.variants import Variant, variants
from pipelines.artefacts import (
    ABLATION,
    MODEL,
    TRAINING,
    Dataset,
    file_hash,
    load_dataset_of,
    read_json,
    refuse_foreign_training,
    write_json,
)
from pipelines.boosting import ROWS_WORTH_THREADS
from pipelines.buying_rhythm import fit_rhythm
from pipelines.console import UserError, progress
from pipelines.scoring.bootstrap import Resampled, resample
from pipelines.settings import Settings
from pipelines.settings.labels import ActiveLabel
from pipelines.settings.models import ModelConfig

SEED = 20050501
WHOLE = "the whole"


def take_apart(settings: Settings, config: ModelConfig, most_rows: int | None = None) -> Ablation:
    """The model with its tuned parameters, without each ingredient in turn; writes `ablation.json`.

    It is trained on `most_rows` of the train part, whole customers; None: as many as a quarter of a minute is enough
    for. The test part is always whole.

    Raises:
        FileNotFoundError: there is no dataset, or no model.
        UserError: the model was trained on another dataset.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(config.name)
    dataset, training = load_dataset_of(folder, config), read_json(folder / TRAINING)
    refuse_foreign_training(training, dataset)
    booster = lightgbm.Booster(model_file=folder / MODEL)
    gains = dict(zip(booster.feature_name(), booster.feature_importance("gain").tolist(), strict=True))
    inputs = dataset.manifest.inputs
    tried, notes = variants(config, settings.features, inputs, gains, _rhythm_to_add(config, dataset))
    whole = Variant(WHOLE, "", "", inputs, config.fit)
    trial = trial_of(config, dataset, training, [whole, *tried], most_rows)
    tried = [each for each in tried if can_be_made(trial, each)]
    made = _make_all(trial, [whole, *tried])
    resampled = _compare(dataset, made)
    rows = [_row(each, made[each.name], resampled[each.name], resampled[WHOLE]) for each in tried]
    result = Ablation(
        config.name, dataset.manifest.dataset_hash, file_hash(folder / MODEL),
        _reference(made[WHOLE], resampled[WHOLE]), tuple(rows), len(trial.train), trial.sampled, trial.folds,
        (*trial.notes, *notes), round(time.monotonic() - began, 2),
    )  # fmt: skip
    write_json(folder / ABLATION, asdict(result))
    return result


def _make_all(trial: Trial, tried: list[Variant]) -> dict[str, Made]:
    """By name; as many at once as there are cores, where LightGBM takes one thread for each."""
    fitted = [each for each in tried if each.calibrated]
    workers = len(os.sched_getaffinity(0)) if len(trial.train) < ROWS_WORTH_THREADS else 1
    made: dict[str, Made] = {}
    told = progress("Make the model again without each ingredient", len(fitted))
    with told as advance, ThreadPoolExecutor(workers) as pool:
        for each, one in zip(fitted, pool.map(lambda variant: make(trial, variant), fitted), strict=True):
            made[each.name] = one
            advance(1)
    return made | {each.name: uncalibrated(made[WHOLE]) for each in tried if not each.calibrated}


def _compare(dataset: Dataset, made: dict[str, Made]) -> dict[str, Resampled]:
    test = dataset.part("test")
    customers = pd.factorize(test["customer_id"])[0].astype(np.int64)
    probabilities = {name: one.probabilities for name, one in made.items()}
    return resample(test["label"].to_numpy(dtype=np.float64), probabilities, customers, seed=SEED)


def _reference(made: Made, resampled: Resampled) -> Reference:
    return Reference(
        resampled.interval("log_loss"), resampled.interval("auc"), made.out_of_fold_log_loss, made.columns,
        made.fit.rounds,
    )  # fmt: skip


def _row(variant: Variant, made: Made, resampled: Resampled, whole: Resampled) -> Row:
    difference = resampled.difference(whole, "log_loss")
    return Row(
        variant.name, variant.meaning, variant.ingredient, variant.adds, resampled.interval("log_loss"),
        resampled.interval("auc"), difference, made.out_of_fold_log_loss, made.columns, made.fit.rounds,
        sentence(variant.ingredient, variant.adds, difference),
    )  # fmt: skip


def _rhythm_to_add(config: ModelConfig, dataset: Dataset) -> BuyingRhythm | None:
    """BG/NBD where the model has none, the label is one of buying, and it is said which features hold the history."""
    asked = config.baselines.bg_nbd
    if dataset.manifest.inputs.rhythm is not None or asked is None or not isinstance(config.label, ActiveLabel):
        return None
    try:
        return fit_rhythm(config.label, asked, dataset.rows)
    except UserError:
        # Nobody asked for it, and customers without a purchase have no rhythm to add.
        return None
