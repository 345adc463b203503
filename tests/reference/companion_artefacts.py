"""Customers who buy as BG/NBD says and spend as Gamma-Gamma says, as the dataset step leaves them to a companion."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from feature_repo.bg_nbd import BgNbd
from feature_repo.model_inputs import ModelInputs
from feature_repo.windows import DAY
from pipelines.artefacts import Dataset, DatasetManifest, Snapshot, save_dataset
from pipelines.gamma_gamma import GammaGamma
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.models import CompanionConfig
from tests.reference.repeat_buyers import simulate

Kind = Literal["customer_value", "next_order"]
KINDS: tuple[Kind, ...] = ("customer_value", "next_order")
BUYING = BgNbd(0.9, 30.0, 0.8, 3.0)
SPENDING = GammaGamma(4.0, 4.0, 3000.0)
HORIZON = 60.0
FEATURES = (
    "order_completed_days_since_last_lifetime", "order_completed_days_since_first_lifetime",
    "order_completed_count_lifetime", "order_completed_value_mean_lifetime", "noise",
)  # fmt: skip
_BEGIN = 1_577_836_800_000_000  # 2020-01-01


def config(kind: Kind, trials: int = 1) -> CompanionConfig:
    """The project's own companion, with a horizon of 60 days, three folds and a search of seconds."""
    found = load_settings().companion(kind)
    tune = found.tune.model_copy(update={"trials": trials, "budget_seconds": 30, "rounds": 150})
    label = found.label.model_copy(update={"horizon": "60d", "gap": "0d", "activity_window": "90d"})
    split = found.split.model_copy(update={"folds": 3})
    return found.model_copy(update={"tune": tune, "label": label, "split": split})


def settings(checkout: Path) -> Settings:
    return dataclasses.replace(load_settings(), workspace=Workspace("unit", checkout=checkout))


def dataset(kind: Kind, customers: int = 1500, seed: int = 3) -> Dataset:
    """Two training snapshots, 60 days apart, and a test 60 days later."""
    generator = np.random.default_rng(seed)
    born = generator.uniform(0, 400, customers)
    folds = generator.integers(0, 3, customers)
    rates = generator.gamma(SPENDING.q, 1 / SPENDING.gamma, customers)
    parts, snapshots = [], []
    for day, part in ((420.0, "train"), (480.0, "train"), (540.0, "test")):
        rows = _snapshot(kind, day - born, rates, generator, seed)
        rows["as_of"] = pd.Timestamp(_BEGIN + int(day * DAY), unit="us", tz="UTC")
        rows["snapshot"], rows["part"] = rows["as_of"], part
        rows["fold"] = folds[rows.pop("row")] if part == "train" else -1
        parts.append(rows)
        snapshots.append(Snapshot(_BEGIN + int(day * DAY), part, len(rows), int((rows["label"] > 0).sum())))
    rows = pd.concat(parts, ignore_index=True)[["customer_id", "as_of", "snapshot", "label", "part", "fold", *FEATURES]]
    manifest = DatasetManifest(
        kind, "churn", FEATURES, load_settings().features.hash, 1, 2, "config", "data", int(HORIZON * DAY), 0, _BEGIN,
        _BEGIN + 600 * DAY, tuple(snapshots), ModelInputs(FEATURES, FEATURES),
        config(kind).label.model_dump(mode="json"),
    )  # fmt: skip
    return Dataset(rows, manifest)


def saved(checkout: Path, kind: Kind, made: Dataset | None = None) -> Settings:
    """Settings whose workspace holds the dataset."""
    place = settings(checkout)
    save_dataset(place.workspace.artefacts(kind), dataset(kind) if made is None else made)
    return place


def _snapshot(
    kind: Kind, ages: np.ndarray, rates: np.ndarray, generator: np.random.Generator, seed: int
) -> pd.DataFrame:
    buyers = simulate(BUYING, ages, HORIZON, seed)
    seen = np.flatnonzero(buyers.age - np.where(buyers.x > 0, buyers.t_x, 0.0) < 90)
    before = [generator.gamma(SPENDING.p, 1 / rates[row], int(buyers.x[row]) + 1).mean() for row in seen]
    if kind == "customer_value":
        labels = [round(generator.gamma(SPENDING.p, 1 / rates[row], len(buyers.later[row])).sum()) for row in seen]
    else:
        labels = [int(buyers.later[row][0] * DAY) if len(buyers.later[row]) else -1 for row in seen]
    columns = (
        (buyers.age - np.where(buyers.x > 0, buyers.t_x, 0.0))[seen], buyers.age[seen], buyers.x[seen] + 1, before,
        generator.normal(size=len(seen)),
    )  # fmt: skip
    frame = pd.DataFrame(dict(zip(FEATURES, columns, strict=True)))
    return frame.assign(row=seen, customer_id=[f"c{row:05d}" for row in seen], label=np.array(labels, dtype=np.int64))
