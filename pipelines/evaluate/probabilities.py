"""Probabilities of every model on the test, from the simplest to the champion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import DEFAULT_MODEL, MODEL, RANDOM_MODEL, Dataset
from pipelines.console import UserError
from pipelines.evaluate.baselines import BgNbdBaseline, base_rate, bg_nbd_baseline, logistic
from pipelines.evaluate.champion import CHAMPION
from pipelines.evaluate.predict import LacksFeatures, predict_booster, predict_from_file, trained_booster
from pipelines.evaluate.results import DEFAULT, RANDOM, TUNED
from pipelines.scoring.metrics import Array
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class Compared:
    """`of` each model its probabilities, shape (test rows,); `servable` simple models; what was fitted of BG/NBD."""

    of: dict[str, Array]
    servable: tuple[str, ...]
    bg_nbd: BgNbdBaseline | None
    notes: tuple[str, ...]

    @property
    def champion(self) -> Array | None:
        return self.of.get(CHAMPION)


def all_probabilities(
    folder: Path,
    dataset: Dataset,
    config: ModelConfig,
    champion_path: Path | None,
    champion_inputs: ModelInputs | None,
    seed: int,
) -> Compared:
    """Simple models are fitted here, on the training part.

    Raises:
        UserError: a trained model is missing or of other inputs, or BG/NBD cannot be fitted.
    """
    files = {DEFAULT: DEFAULT_MODEL, RANDOM: RANDOM_MODEL, TUNED: MODEL}
    boosters = {name: trained_booster(folder / file, dataset) for name, file in files.items()
                if name != RANDOM or (folder / file).exists()}  # fmt: skip
    train, test = dataset.part("train"), dataset.part("test")
    simple = _bg_nbd(train, test, config, seed)
    found = {"base_rate": base_rate(train, test), "logistic": logistic(train, test, config.baselines.logistic)}
    if simple is not None:
        found |= {"bg_nbd": simple.raw, "bg_nbd_calibrated": simple.calibrated}
    inputs = dataset.inputs("test")
    found |= {name: predict_booster(booster, inputs) for name, booster in boosters.items()}
    notes: list[str] = []
    served = _champion(champion_path, champion_inputs, test, notes)
    if served is not None:
        found[CHAMPION] = served
    return Compared(found, _servable(config, dataset, simple), simple, tuple(notes))


def _servable(config: ModelConfig, dataset: Dataset, simple: BgNbdBaseline | None) -> tuple[str, ...]:
    """The service reads the features of its service only, and computes no chance of no order after a gap."""
    features = {"logistic": config.baselines.logistic.features}
    if simple is not None and config.baselines.bg_nbd is not None and microseconds(config.label.gap) == 0:
        features["bg_nbd_calibrated"] = tuple(config.baselines.bg_nbd.model_dump().values())
    return tuple(name for name, read in features.items() if set(read) <= set(dataset.manifest.features))


def _bg_nbd(train: pd.DataFrame, test: pd.DataFrame, config: ModelConfig, seed: int) -> BgNbdBaseline | None:
    """None where the label is not of buying."""
    if config.baselines.bg_nbd is None or not isinstance(config.label, ChurnLabel):
        return None
    try:
        return bg_nbd_baseline(train, test, config.baselines.bg_nbd, config.label, seed)
    except ValueError:
        problem = Problem(
            "baselines", "features with the purchase history of the newest training snapshot", "empty ones",
            "frequency counts, recency and age are days since the last and first of the label's events",
        )  # fmt: skip
        raise UserError("BG/NBD cannot be fitted.", [problem]) from None


def _champion(path: Path | None, inputs: ModelInputs | None, test: pd.DataFrame, notes: list[str]) -> Array | None:
    """The champion's probabilities; None, and a line in `notes`, where it cannot read this dataset."""
    if path is None:
        notes.append("There is no champion to compare with.")
        return None
    try:
        found = predict_from_file(path, inputs, test)
    except LacksFeatures as error:
        notes.append(f"The champion is not compared: it reads {len(error.names)} features which this dataset lacks.")
        return None
    notes.append("The champion may have been trained on customers, or days, of this test; that flatters it.")
    return found
