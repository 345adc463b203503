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
from pipelines.evaluate.results import DEFAULT, RANDOM, TUNED
from pipelines.evaluate.trained import predict_booster, trained_booster
from pipelines.fitted_model import SimpleModel, read_fitted
from pipelines.scoring.metrics import Array
from pipelines.settings.labels import ChurnLabel
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class Compared:
    """`of` each model its probabilities, shape (test rows,); simple models that could be served; BG/NBD as fitted."""

    of: dict[str, Array]
    simple: dict[str, SimpleModel]
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
) -> Compared:
    """Simple models are fitted here, on the training part; `servable` read only what the feature service has.

    Raises:
        UserError: a trained model is missing or of other inputs, or BG/NBD cannot be fitted.
    """
    files = {DEFAULT: DEFAULT_MODEL, RANDOM: RANDOM_MODEL, TUNED: MODEL}
    boosters = {name: trained_booster(folder / file, dataset) for name, file in files.items()
                if name != RANDOM or (folder / file).exists()}  # fmt: skip
    train, test = dataset.part("train"), dataset.part("test")
    simple = _bg_nbd(train, test, config)
    models = {"logistic": logistic(train, config.baselines.logistic)}
    if simple is not None and simple.model is not None:
        models["bg_nbd_calibrated"] = simple.model
    found = {"base_rate": base_rate(train, test), "logistic": models["logistic"].predict(test)}
    if simple is not None:
        found |= {"bg_nbd": simple.raw, "bg_nbd_calibrated": simple.calibrated}
    inputs = dataset.inputs("test")
    found |= {name: predict_booster(booster, inputs) for name, booster in boosters.items()}
    notes: list[str] = []
    served = _champion(champion_path, champion_inputs, test, notes)
    if served is not None:
        found[CHAMPION] = served
    reads = set(dataset.manifest.features)
    servable = tuple(name for name, model in models.items() if set(model.inputs.features) <= reads)
    return Compared(found, models, servable, simple, tuple(notes))


def _bg_nbd(train: pd.DataFrame, test: pd.DataFrame, config: ModelConfig) -> BgNbdBaseline | None:
    """None where the label is not of buying."""
    if config.baselines.bg_nbd is None or not isinstance(config.label, ChurnLabel):
        return None
    try:
        return bg_nbd_baseline(train, test, config.baselines.bg_nbd, config.label)
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
    fitted = read_fitted(path, inputs)
    missing = fitted.missing(test)
    if missing:
        notes.append(f"The champion is not compared: it reads {len(missing)} features which this dataset lacks.")
        return None
    notes.append("The champion may have been trained on customers, or days, of this test; that flatters it.")
    return fitted.predict(test)
