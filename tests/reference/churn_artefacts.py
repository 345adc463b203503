"""A small churn dataset with trained models, as earlier steps leave them, and its settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.bg_nbd import BgNbd
from feature_repo.model_inputs import ModelInputs
from feature_repo.windows import DAY
from pipelines.artefacts import (
    DEFAULT_MODEL,
    MODEL,
    TUNING,
    Dataset,
    DatasetManifest,
    Snapshot,
    save_dataset,
    write_json,
)
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.models import ModelConfig
from tests.reference.repeat_buyers import simulate

FEATURES = (
    "order_completed_days_since_last_lifetime", "order_completed_days_since_first_lifetime",
    "order_completed_count_lifetime", "order_completed_value_mean_lifetime", "page_viewed_count_30d", "noise",
)  # fmt: skip
_BEGIN = 1_577_836_800_000_000  # 2020-01-01


def config() -> ModelConfig:
    return ModelConfig.model_validate({
        "name": "churn", "description": "Probability of no order in the next 60 days.", "owner": "tests",
        "feature_service": "churn",
        "label": {
            "kind": "churn", "qualifying_events": ["Order Completed"], "activity_window": "90d", "horizon": "60d",
        },
        "snapshots": {"every": "60d", "most": 3}, "tune": {"trials": 1, "budget_seconds": 1},
        "baselines": {
            "logistic": {"name": "RFM logistic regression", "features": list(FEATURES[:4])},
            "bg_nbd": {"recency": FEATURES[0], "age": FEATURES[1], "frequency": FEATURES[2]},
        },
    })  # fmt: skip


def settings(checkout: Path) -> Settings:
    return dataclasses.replace(load_settings(), workspace=Workspace("unit", checkout=checkout))


def dataset(customers: int = 1500, seed: int = 3) -> Dataset:
    """Two training snapshots and a test of BG/NBD buyers; page views hint at the label, `noise` does not."""
    generator = np.random.default_rng(seed)
    born = generator.uniform(0, 400, customers)
    folds = generator.integers(0, 3, customers)
    parts, snapshots = [], []
    for day, part in ((420.0, "train"), (480.0, "train"), (540.0, "test")):
        rows = _snapshot(day - born, generator, seed)
        rows["as_of"] = pd.Timestamp(_BEGIN + int(day * DAY), unit="us", tz="UTC")
        rows["snapshot"], rows["part"] = rows["as_of"], part
        rows["fold"] = folds[rows.pop("row")] if part == "train" else -1
        parts.append(rows)
        snapshots.append(Snapshot(_BEGIN + int(day * DAY), part, len(rows), int(rows["label"].sum())))
    rows = pd.concat(parts, ignore_index=True)[["customer_id", "as_of", "snapshot", "label", "part", "fold", *FEATURES]]
    spec_hash = load_settings().features.hash
    manifest = DatasetManifest(
        "churn", "churn", FEATURES, spec_hash, 1, 2, "config", "data", 60 * DAY, 0, _BEGIN, _BEGIN + 600 * DAY,
        tuple(snapshots), ModelInputs(FEATURES, FEATURES), config().label.model_dump(mode="json"),
    )  # fmt: skip
    return Dataset(rows, manifest)


def _snapshot(ages: np.ndarray, generator: np.random.Generator, seed: int) -> pd.DataFrame:
    buyers = simulate(BgNbd(0.9, 30.0, 0.8, 3.0), ages, 60.0, seed)
    seen = np.flatnonzero(buyers.age - buyers.t_x < 90)
    label = (~buyers.bought(0.0, 60.0)).astype(int)[seen]
    count = len(seen)
    views = generator.poisson(4 - 1.5 * label).astype(float)
    views[generator.random(count) < 0.2] = np.nan
    columns = (
        (buyers.age - buyers.t_x)[seen], buyers.age[seen], buyers.x[seen] + 1,
        generator.lognormal(8, 0.5, count).round(), views, generator.normal(size=count),
    )  # fmt: skip
    frame = pd.DataFrame(dict(zip(FEATURES, columns, strict=True)))
    return frame.assign(row=seen, customer_id=[f"c{i:05d}" for i in seen], label=label)


def save_all(folder: Path, data: Dataset) -> None:
    """The dataset, a small default and tuned model, and the tuning they came from."""
    save_dataset(folder, data)
    inputs, labels = data.features("train").to_numpy(), data.part("train")["label"].to_numpy()
    for file, leaves in ((DEFAULT_MODEL, 31), (MODEL, 4)):
        parameters = {
            "objective": "binary", "num_leaves": leaves, "learning_rate": 0.1, "verbosity": -1, "num_threads": 1,
            "deterministic": True, "seed": 1,
        }  # fmt: skip
        rows = lightgbm.Dataset(inputs, labels, feature_name=list(FEATURES))
        lightgbm.train(parameters, rows, 40).save_model(folder / file)
    write_json(folder / TUNING, {
        "params": {"num_leaves": 4, "learning_rate": 0.1}, "rounds": 40, "trials": 5, "pruned": 2, "seconds": 1.5,
        "default_loss": 0.52, "best_loss": 0.5,
    })  # fmt: skip
