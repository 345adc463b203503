"""Compare the tuned model with simple ones, the default and the champion, out of time, in one table."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import (
    DEFAULT_MODEL,
    EVALUATION,
    MODEL,
    PREDICTIONS,
    TRAINING,
    Dataset,
    file_hash,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError, progress
from pipelines.evaluate.baselines import BgNbdBaseline, base_rate, bg_nbd_baseline, logistic
from pipelines.evaluate.results import TUNED, Bin, Difference, Evaluation, ModelScores, verdict_sentences
from pipelines.fitted_model import read_fitted, write_simple_models
from pipelines.scoring.bootstrap import RESAMPLES, Resampled, resample
from pipelines.scoring.metrics import (
    Array,
    bin_matrix,
    calibration_error,
    equal_mass_bins,
    noise_floor,
    simulated_rates,
)
from pipelines.settings import Settings
from pipelines.settings.labels import ChurnLabel
from pipelines.settings.models import ModelConfig

SEED = 20050501


def evaluate(
    settings: Settings,
    model_config: ModelConfig,
    champion_path: Path | None = None,
    champion_inputs: ModelInputs | None = None,
) -> Evaluation:
    """Score all models on the test part; writes `evaluation.json`, `predictions.parquet` and `simple_models.json`.

    Args:
        settings: whose workspace holds the artefacts.
        model_config: which model, its label, and the features of the simple models.
        champion_path: file of the model served now, if there is one. It is left out, with a note, when it reads
            features this dataset does not have.
        champion_inputs: what it makes of features; without it, its columns are features.

    Raises:
        UserError: an artefact is missing, a part has no rows or one class only, or a column is missing.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(model_config.name)
    dataset = _load(folder, model_config)
    _refuse_foreign_training(folder, dataset)
    boosters = {name: _booster(folder / file, dataset) for name, file in
                (("lightgbm_default", DEFAULT_MODEL), (TUNED, MODEL))}  # fmt: skip
    train, test = dataset.part("train"), dataset.part("test")
    notes = list(NOTES)
    with progress("compare models", total=4) as advance:
        simple = _bg_nbd(train, test, model_config)
        advance(1)
        servable = {"logistic": logistic(train, model_config.baselines.logistic)}
        if simple is not None and simple.model is not None:
            servable["bg_nbd_calibrated"] = simple.model
        probabilities: dict[str, Array] = {
            "base_rate": base_rate(train, test),
            "logistic": servable["logistic"].predict(test),
        }
        if simple is not None:
            probabilities |= {"bg_nbd": simple.raw, "bg_nbd_calibrated": simple.calibrated}
        inputs = dataset.inputs("test")
        probabilities |= {name: _predict(booster, inputs) for name, booster in boosters.items()}
        champion = _champion(champion_path, champion_inputs, test, notes)
        if champion is not None:
            probabilities["champion"] = champion
        advance(1)
        labels = test["label"].to_numpy(dtype=np.float64)
        customers = pd.factorize(test["customer_id"])[0].astype(np.int64)
        resampled = resample(labels, probabilities, customers, RESAMPLES, SEED)
        advance(1)
        scores = tuple(_scores(name, labels, probabilities[name], resampled[name]) for name in probabilities)
        advance(1)
    differences = _differences(resampled, TUNED)
    sentences = verdict_sentences(differences)
    result = Evaluation(
        model=model_config.name, test_rows=len(test), test_customers=int(customers.max()) + 1,
        test_as_of=tuple(item.as_of for item in dataset.manifest.snapshots if item.part == "test"),
        train_rows=len(train), positive_rate=float(labels.mean()), train_positive_rate=float(train["label"].mean()),
        resamples=RESAMPLES, seed=SEED, models=scores, differences=differences,
        candidates={name: {"differences": _differences(resampled, name)} for name in servable},
        bg_nbd=asdict(simple.parameters) | {"customers": simple.customers} if simple else {},
        notes=tuple(notes), verdict=" ".join(sentences), verdict_sentences=sentences,
        dataset_hash=dataset.manifest.dataset_hash, model_hash=file_hash(folder / MODEL),
        champion_hash=file_hash(champion_path) if champion_path and champion is not None else None,
        seconds=round(time.monotonic() - began, 2),
    )  # fmt: skip
    _predictions(test, probabilities).to_parquet(folder / PREDICTIONS, index=False)
    write_simple_models(folder, servable, dataset.manifest.dataset_hash)
    write_json(folder / EVALUATION, asdict(result))
    return result


NOTES = (
    "All values are on the test part, which is later than every training label.",
    "Intervals are 95 % percentile intervals over resamples of whole customers; differences use the same resamples.",
    "Calibration is Platt's line on training rows only: out-of-fold predictions of the newest training snapshot "
    "for RFM and LightGBM, plain ones for calibrated BG/NBD.",
    "BG/NBD is fitted to purchase histories at the newest training snapshot and learns from no label. It is fitted "
    "given that a customer was active, as all rows of the dataset are; it takes the first purchase in the data for "
    "the first ever.",
    "The calibration error is over ten bins of equal mass; its noise floor is what exact probabilities would show.",
)


def _load(folder: Path, config: ModelConfig) -> Dataset:
    try:
        dataset = load_dataset(folder)
    except FileNotFoundError as error:
        raise UserError(f"There is no dataset of the model {config.name!r} to evaluate on.", [
            Problem("dataset", "a file made by the dataset step", "nothing there", "make the dataset first",
                    Path(error.filename or "").name),
        ]) from None  # fmt: skip
    problems = [
        Problem(f"labels of the {part} part", "both classes", _classes(dataset.part(part)["label"]),
                "use more data, another horizon, or more snapshots")
        for part in ("train", "test") if dataset.part(part)["label"].nunique() < 2
    ]  # fmt: skip
    problems += [
        Problem("baselines", "columns of the dataset", repr(name), "make the dataset again")
        for name in config.baselines.features if name not in dataset.rows
    ]  # fmt: skip
    if problems:
        raise UserError("The models cannot be compared on this dataset.", problems)
    return dataset


def _classes(labels: pd.Series) -> str:
    return "no rows" if labels.empty else f"only {labels.iloc[0]:.0f} in {len(labels):,} rows"


def _bg_nbd(train: pd.DataFrame, test: pd.DataFrame, config: ModelConfig) -> BgNbdBaseline | None:
    if config.baselines.bg_nbd is None or not isinstance(config.label, ChurnLabel):
        return None
    try:
        return bg_nbd_baseline(train, test, config.baselines.bg_nbd, config.label, SEED)
    except ValueError:
        problem = Problem(
            "baselines", "features with the purchase history of the newest training snapshot", "empty ones",
            "frequency counts, recency and age are days since the last and first of the label's events",
        )  # fmt: skip
        raise UserError("BG/NBD cannot be fitted.", [problem]) from None


def _booster(path: Path, dataset: Dataset) -> lightgbm.Booster:
    if not path.exists():
        problem = Problem(path.name, "a file made by the train step", "nothing there", "train the model first")
        raise UserError("There is no trained model to evaluate.", [problem])
    booster = lightgbm.Booster(model_file=path)
    if booster.feature_name() != list(dataset.manifest.inputs.names):
        problem = Problem(path.name, "the inputs of the dataset, in order", "others", "train the model again")
        raise UserError("The model was trained on another dataset.", [problem])
    return booster


def _refuse_foreign_training(folder: Path, dataset: Dataset) -> None:
    """A model of an older split may have learned from what is the test now."""
    if not (folder / TRAINING).exists():
        return
    trained_on, present = read_json(folder / TRAINING)["dataset_hash"], dataset.manifest.dataset_hash
    if trained_on != present:
        problem = Problem(TRAINING, f"dataset {present}", f"dataset {trained_on}", "tune and train the model again")
        raise UserError("The model was trained on another dataset.", [problem])


def _predict(booster: lightgbm.Booster, inputs: pd.DataFrame) -> Array:
    return np.asarray(booster.predict(inputs.to_numpy(dtype=np.float64)), dtype=np.float64)


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


def _scores(name: str, labels: Array, probabilities: Array, resampled: Resampled) -> ModelScores:
    slope = resampled.interval("calibration_slope")
    return ModelScores(
        name=name,
        log_loss=resampled.interval("log_loss"), auc=resampled.interval("auc"), brier=resampled.interval("brier"),
        calibration_error=calibration_error(labels, probabilities),
        calibration_error_interval=resampled.interval("calibration_error"),
        calibration_noise_floor=noise_floor(probabilities, seed=SEED),
        calibration_intercept=resampled.interval("calibration_intercept"),
        calibration_slope=slope.estimate, calibration_slope_interval=slope,
        curve=_curve(labels, probabilities),
    )  # fmt: skip


def _curve(labels: Array, probabilities: Array) -> tuple[Bin, ...]:
    members = bin_matrix(equal_mass_bins(probabilities))
    sizes = members.sum(axis=0)
    low, high = np.quantile(simulated_rates(probabilities, seed=SEED), [0.025, 0.975], axis=0)
    columns = (sizes.astype(int), probabilities @ members / sizes, labels @ members / sizes, low, high)
    return tuple(Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def _differences(resampled: dict[str, Resampled], model: str) -> tuple[Difference, ...]:
    """A model minus each other one, in log-loss and AUC."""
    own = resampled[model]
    return tuple(
        Difference(model, name, metric, interval.estimate, interval.low, interval.high)
        for name, other in resampled.items() if name != model
        for metric in ("log_loss", "auc") for interval in [own.difference(other, metric)]
    )  # fmt: skip


def _predictions(test: pd.DataFrame, probabilities: dict[str, Array]) -> pd.DataFrame:
    return test[["customer_id", "as_of", "label"]].assign(**probabilities)
