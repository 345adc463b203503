"""Compare the tuned model with simple ones, the default and the champion, out of time, on all that counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import (
    DEFAULT_MODEL,
    EVALUATION,
    MODEL,
    PREDICTIONS,
    RANDOM_MODEL,
    TRAINING,
    TUNING,
    Dataset,
    file_hash,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError, progress
from pipelines.evaluate.baselines import BgNbdBaseline, base_rate, bg_nbd_baseline, logistic
from pipelines.evaluate.champion import CHAMPION, compare_with_champion
from pipelines.evaluate.profit import profit_of
from pipelines.evaluate.results import (
    DEFAULT,
    NAMES,
    RANDOM,
    TUNED,
    Bin,
    Difference,
    Evaluation,
    Judgement,
    ModelScores,
    SearchCost,
    TuningGain,
)
from pipelines.evaluate.slices import FEWEST_ROWS, Band, Cut, Rows, judge_bands, worst_band
from pipelines.evaluate.snapshots import base_rate_drift, per_snapshot, snapshots_of
from pipelines.evaluate.trained import predict_booster, trained_booster
from pipelines.evaluate.truth import against_truth
from pipelines.evaluate.verdict import further_sentences, verdict_sentences
from pipelines.fitted_model import SimpleModel, read_fitted, write_simple_models
from pipelines.scoring.bootstrap import Interval, Resampled, resample, resamples_for
from pipelines.scoring.metrics import (
    Array,
    bin_matrix,
    calibration_error,
    equal_mass_bins,
    floor_of,
    simulated_rates,
)
from pipelines.settings import Settings
from pipelines.settings.labels import ChurnLabel
from pipelines.settings.models import ModelConfig
from pipelines.slicing import ConsentGroups, slice_rows

SEED = 20050501


def evaluate(
    settings: Settings,
    model_config: ModelConfig,
    champion_path: Path | None = None,
    champion_inputs: ModelInputs | None = None,
    consent: ConsentGroups | None = None,
    truth: pd.DataFrame | None = None,
) -> Evaluation:
    """Score all models on the test part; writes `evaluation.json`, `predictions.parquet` and `simple_models.json`.

    Args:
        settings: whose workspace holds the artefacts.
        model_config: which model, its label, profit and slices, and the features of the simple models.
        champion_path: file of the model served now, if there is one. It is left out, with a note, when it reads
            features this dataset does not have.
        champion_inputs: what it makes of features; without it, its columns are features.
        consent: of each purpose that a slice names, the group of each customer.
        truth: true probabilities, where the customers were made up: customer_id, as_of, probability.

    Raises:
        UserError: an artefact is missing, a part has no rows or one class only, a column is missing, or the truth
            is of other rows.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(model_config.name)
    dataset = _load(folder, model_config)
    _refuse_foreign_training(folder, dataset)
    train, test = dataset.part("train"), dataset.part("test")
    notes = [*NOTES, *(BG_NBD_NOTES if model_config.label.kind == "churn" and model_config.baselines.bg_nbd else ())]
    resamples = resamples_for(len(test))
    with progress("compare models", total=5) as advance:
        simple = _bg_nbd(train, test, model_config)
        servable = {"logistic": logistic(train, model_config.baselines.logistic)}
        if simple is not None and simple.model is not None:
            servable["bg_nbd_calibrated"] = simple.model
        probabilities = _probabilities(folder, dataset, simple, servable)
        served = _champion(champion_path, champion_inputs, test, notes)
        if served is not None:
            probabilities[CHAMPION] = served
        advance(1)
        labels, train_labels = (part["label"].to_numpy(dtype=np.float64) for part in (test, train))
        customers = pd.factorize(test["customer_id"])[0].astype(np.int64)
        resampled = resample(labels, probabilities, customers, resamples, SEED)
        scores = tuple(_scores(name, labels, probabilities[name], resampled[name]) for name in probabilities)
        advance(1)
        money = model_config.profit
        profit = profit_of(money, labels, probabilities, customers, TUNED, resamples, SEED) if money else None
        advance(1)
        cuts = [Cut(slice_rows(cut, test, train, consent), slice_rows(cut, train, train, consent))
                for cut in model_config.slices]  # fmt: skip
        rows = {name: Rows(labels, values, probabilities.get(CHAMPION), customers)
                for name, values in probabilities.items()}  # fmt: skip
        bands = judge_bands(cuts, train_labels, rows[TUNED], resamples, SEED)
        advance(1)

        def judgement(name: str, of: tuple[Band, ...]) -> Judgement:
            comparison = compare_with_champion(
                model_config, rows[name], snapshots_of(test), cuts, train_labels, resamples, SEED
            )
            return Judgement(_differences(resampled, name), worst_band(of), comparison)

        own = judgement(TUNED, bands)
        others = {name: judgement(name, judge_bands(cuts, train_labels, rows[name], resamples, SEED))
                  for name in servable}  # fmt: skip
        advance(1)
    notes += _slice_notes(bands)
    names = {**NAMES, "logistic": model_config.baselines.logistic.name}
    gain = _tuning_gain(folder, own.differences)
    sentences = verdict_sentences(own.differences, model_config.name, names, gain)
    sentences += further_sentences(profit, own.worst_slice, names)
    result = Evaluation(
        model=model_config.name, label_kind=model_config.label.kind,
        test_rows=len(test), test_customers=int(customers.max()) + 1,
        test_as_of=tuple(item.as_of for item in dataset.manifest.snapshots if item.part == "test"),
        train_rows=len(train), positive_rate=float(labels.mean()), train_positive_rate=float(train_labels.mean()),
        base_rate_drift=base_rate_drift(train, test, resamples, SEED), resamples=resamples, seed=SEED,
        names={name: names[name] for name in probabilities}, models=scores, differences=own.differences,
        tuning_gain=gain, per_snapshot=per_snapshot(test, probabilities, SEED), profit=profit, slices=bands,
        worst_slice=own.worst_slice, champion_comparison=own.champion_comparison, candidates=others,
        truth=None if truth is None else against_truth(test, probabilities, truth),
        bg_nbd=asdict(simple.parameters) | {"customers": simple.customers} if simple else {},
        notes=tuple(notes), verdict=" ".join(sentences), verdict_sentences=sentences,
        dataset_hash=dataset.manifest.dataset_hash, model_hash=file_hash(folder / MODEL),
        champion_hash=file_hash(champion_path) if champion_path and served is not None else None,
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
    "for the logistic regression and LightGBM. No rows are re-weighted for imbalance; thresholds move instead.",
    "The calibration error is over ten bins of equal mass; its noise floor is what exact probabilities would show.",
    "The profit threshold follows from the money and the probabilities alone; it was never chosen on test labels. The "
    "expected maximum profit (EMPC) is: it finds its own best threshold there, and judges the ranking.",
)
BG_NBD_NOTES = (
    "BG/NBD is fitted to purchase histories at the newest training snapshot and learns from no label; calibrated, "
    "from that snapshot's labels. It is fitted given that a customer was active, as all rows of the dataset are; it "
    "takes the first purchase in the data for the first ever.",
)


def _slice_notes(bands: tuple[Band, ...]) -> list[str]:
    if not bands:
        return []
    judged = sum(band.judged for band in bands)
    return [
        f"{len(bands)} kinds of customers were looked at, {judged} of them judged ({FEWEST_ROWS} rows and both "
        "classes). Of 20 such intervals one lies beside the truth by chance: the worst of many looks worse than it is."
    ]


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
    cuts = [name for name in config.other_features if name not in config.baselines.features]
    problems += [
        Problem(place, "columns of the dataset", repr(name), "make the dataset again")
        for place, names in (("baselines", config.baselines.features), ("slices", cuts))
        for name in names if name not in dataset.rows
    ]  # fmt: skip
    if problems:
        raise UserError("The models cannot be compared on this dataset.", problems)
    return dataset


def _classes(labels: pd.Series) -> str:
    return "no rows" if labels.empty else f"only {labels.iloc[0]:.0f} in {len(labels):,} rows"


def _refuse_foreign_training(folder: Path, dataset: Dataset) -> None:
    """A model of an older split may have learned from what is the test now."""
    if not (folder / TRAINING).exists():
        return
    trained_on, present = read_json(folder / TRAINING)["dataset_hash"], dataset.manifest.dataset_hash
    if trained_on != present:
        problem = Problem(TRAINING, f"dataset {present}", f"dataset {trained_on}", "tune and train the model again")
        raise UserError("The model was trained on another dataset.", [problem])


# Probabilities of every model ----------------------------------------------------------------------------------


def _probabilities(
    folder: Path, dataset: Dataset, simple: BgNbdBaseline | None, servable: Mapping[str, SimpleModel]
) -> dict[str, Array]:
    """From the simplest to the tuned one, each shape (test rows,)."""
    files = {DEFAULT: DEFAULT_MODEL, RANDOM: RANDOM_MODEL, TUNED: MODEL}
    boosters = {name: trained_booster(folder / file, dataset) for name, file in files.items()
                if name != RANDOM or (folder / file).exists()}  # fmt: skip
    train, test = dataset.part("train"), dataset.part("test")
    found = {"base_rate": base_rate(train, test), "logistic": servable["logistic"].predict(test)}
    if simple is not None:
        found |= {"bg_nbd": simple.raw, "bg_nbd_calibrated": simple.calibrated}
    inputs = dataset.inputs("test")
    return found | {name: predict_booster(booster, inputs) for name, booster in boosters.items()}


def _bg_nbd(train: pd.DataFrame, test: pd.DataFrame, config: ModelConfig) -> BgNbdBaseline | None:
    """None where the label is not of buying."""
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


# Scores --------------------------------------------------------------------------------------------------------


def _scores(name: str, labels: Array, probabilities: Array, resampled: Resampled) -> ModelScores:
    slope = resampled.interval("calibration_slope")
    rates = simulated_rates(probabilities, seed=SEED)
    return ModelScores(
        name=name,
        log_loss=resampled.interval("log_loss"), auc=resampled.interval("auc"), brier=resampled.interval("brier"),
        calibration_error=calibration_error(labels, probabilities),
        calibration_error_interval=resampled.interval("calibration_error"),
        calibration_noise_floor=floor_of(probabilities, rates),
        calibration_intercept=resampled.interval("calibration_intercept"),
        calibration_slope=slope.estimate, calibration_slope_interval=slope,
        curve=_curve(labels, probabilities, rates),
    )  # fmt: skip


def _curve(labels: Array, probabilities: Array, rates: Array) -> tuple[Bin, ...]:
    members = bin_matrix(equal_mass_bins(probabilities))
    sizes = members.sum(axis=0)
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
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


def _tuning_gain(folder: Path, differences: tuple[Difference, ...]) -> TuningGain:
    found = {item.against: Interval(item.estimate, item.low, item.high)
             for item in differences if item.metric == "log_loss"}  # fmt: skip
    tuning = read_json(folder / TUNING) if (folder / TUNING).exists() else {}
    return TuningGain(found[DEFAULT], found.get(RANDOM), _cost(tuning), _cost(tuning.get("random")))


def _cost(search: Mapping[str, Any] | None) -> SearchCost | None:
    return SearchCost(float(search["seconds"]), int(search["trials"])) if search else None


def _predictions(test: pd.DataFrame, probabilities: dict[str, Array]) -> pd.DataFrame:
    return test[["customer_id", "as_of", "label"]].assign(**probabilities)
