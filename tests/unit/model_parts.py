"""Parts the tests of the model steps share: a small dataset with a known signal, and a configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import Dataset, DatasetManifest, Snapshot, save_dataset
from pipelines.dataset.build import content_hash, fold_of
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.models import FitConfig, ModelConfig

DAYS = ("2011-03-01", "2011-03-15", "2011-03-29", "2011-06-07")


def make_settings(checkout: Path) -> Settings:
    """The project's own configuration, with everything that is written under `checkout`."""
    return replace(load_settings(), workspace=Workspace("tests", checkout=checkout))


def small_config(settings: Settings, **tune: Any) -> ModelConfig:
    """The churn model with a search of seconds, and nothing asked of columns that the small dataset does not have."""
    quick = {"trials": 4, "budget_seconds": 120.0, "rounds": 30, "early_stopping_rounds": 5, "processes": 1, **tune}
    config = settings.model("churn")
    return config.model_copy(update={"tune": config.tune.model_copy(update=quick), "fit": FitConfig()})


def make_dataset(customers: int = 300, features: int = 6, seed: int = 0, shuffled: bool = False) -> Dataset:
    """`customers` at four instants, the last for the test; the first two features carry the label."""
    generator = np.random.default_rng(seed)
    count = customers * len(DAYS)
    values = generator.normal(size=(count, features))
    chance = 1 / (1 + np.exp(-(1.5 * values[:, 0] - values[:, 1] + 0.5)))
    labels = (generator.random(count) < chance).astype(np.int64)
    if shuffled:
        labels = generator.permutation(labels)
    values[generator.random(values.shape) < 0.05] = np.nan
    ids = [f"customer-{number:04d}" for number in range(customers)] * len(DAYS)
    instants = pd.to_datetime(np.repeat(DAYS, customers), utc=True).astype("datetime64[us, UTC]")
    part = np.where(instants == instants.max(), "test", "train")
    folds = [fold_of(customer, 5) if which == "train" else -1 for customer, which in zip(ids, part, strict=True)]
    rows = pd.DataFrame(
        {"customer_id": ids, "as_of": instants, "snapshot": instants, "label": labels, "part": part, "fold": folds}
    )
    names = tuple(f"feature_{number}" for number in range(features))
    rows = pd.concat([rows, pd.DataFrame(values, columns=list(names))], axis=1)
    return Dataset(rows, _manifest(rows, names))


def saved_dataset(settings: Settings, config: ModelConfig, **made: Any) -> Dataset:
    """A dataset as the dataset step leaves it."""
    dataset = make_dataset(**made)
    save_dataset(settings.workspace.artefacts(config.name), dataset)
    return dataset


NEWEST = 1_307_404_800_000_000  # the newest test snapshot of the evaluation


def make_evaluation(log_loss: float = 0.5, against_champion: float | None = None, **changes: Any) -> dict[str, Any]:
    """What the evaluate step leaves, of a model that passes the default gates."""

    def around(value: float) -> dict[str, float]:
        return {"estimate": value, "low": value - 0.01, "high": value + 0.01}

    def model(name: str, loss: float, auc: float) -> dict[str, Any]:
        return {
            "name": name,
            "log_loss": around(loss),
            "auc": around(auc),
            "brier": around(0.2),
            "calibration_error": 0.02,
            "calibration_noise_floor": 0.015,
            "calibration_slope": 1.0,
        }

    def on_snapshot(snapshot: int, error: float) -> dict[str, Any]:
        scores = {"calibration_error": error, "noise_floor": 0.015}
        return {"snapshot": snapshot, "models": [{"name": model["name"], **scores} for model in models]}

    def difference(against: str, value: float) -> dict[str, Any]:
        return {"model": "lightgbm_tuned", "against": against, "metric": "log_loss", **around(value)}

    models = [model("base_rate", 0.65, 0.5), model("lightgbm_tuned", log_loss, 0.75)]
    differences = [difference("base_rate", log_loss - 0.65)]
    comparison = None
    if against_champion is not None:
        differences.append(difference("champion", against_champion))
        comparison = {
            "snapshot": NEWEST, "rows": 300, "log_loss": around(against_champion),
            "calibration_error": around(0.0), "profit": around(0.0), "worst_slice": None,
        }  # fmt: skip
    whole = {
        "model": "churn",
        "test_rows": 300,
        "positive_rate": 0.6,
        "models": models,
        "per_snapshot": [on_snapshot(NEWEST - 14 * 86_400_000_000, 0.9), on_snapshot(NEWEST, 0.02)],
        "differences": differences,
        "champion_comparison": comparison,
        "worst_slice": None,
        "verdict": "The tuned model beats the base rate.",
        "champion_hash": None,
    }
    return {**whole, **changes}


def make_leakage(**raised: str) -> dict[str, Any]:
    """What the leakage step leaves: two alarms, of which those named are raised, with what they mean."""
    alarms = [
        {"name": name, "raised": name in raised, "figure": 0.5, "threshold": 0.52, "meaning": raised.get(name, "AUC")}
        for name in ("shuffled_labels", "random_split")
    ]
    return {"alarms": alarms}


def _manifest(rows: pd.DataFrame, names: tuple[str, ...]) -> DatasetManifest:
    grouped = rows.groupby(["as_of", "part"])["label"].agg(["size", "sum"])
    snapshots = tuple(
        Snapshot(key[0].value // 1000, key[1], int(row["size"]), int(row["sum"])) for key, row in grouped.iterrows()
    )
    return DatasetManifest(
        "churn",
        "churn",
        names,
        load_settings().features.hash,
        1,
        2,
        "1" * 16,
        content_hash(_in_microseconds(rows), names, ModelInputs(names, names)),
        1,
        0,
        0,
        1,
        snapshots,
        ModelInputs(names, names),
        load_settings().models["churn"].label.model_dump(mode="json"),
    )


def _in_microseconds(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(as_of=rows["as_of"].astype("int64"), snapshot=rows["snapshot"].astype("int64"))
