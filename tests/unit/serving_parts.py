"""A small real champion in a real model store, for tests of the service."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import bentoml
import lightgbm as lgb
import numpy as np
from bentoml._internal.models import ModelStore
from numpy.typing import NDArray

from feature_repo.spec import FeatureSpec
from pipelines.access import Keys
from pipelines.settings import Settings, Workspace, load_settings
from serving.features import FeatureReader, MemoryReader

DATA_END = 1_314_811_140_000_001  # 2011-08-31T17:19:00.000001Z
CUSTOMERS = tuple(str(number) for number in range(10_000, 10_040))


@dataclass
class Shop:
    """A workspace with settings, 40 customers in memory, and whatever `publish` has put into its store."""

    settings: Settings
    values: dict[str, NDArray[np.float64]]
    end: int | None = DATA_END
    spec_hash: str | None = field(default=None)

    @property
    def features(self) -> tuple[str, ...]:
        return self.settings.features.service_features("churn")

    def open_reader(self, spec: FeatureSpec, features: tuple[str, ...]) -> FeatureReader:
        built = spec.hash if self.spec_hash is None else self.spec_hash
        return MemoryReader({name: row.tolist() for name, row in self.values.items()}, len(features), built, self.end)

    def publish(self, version: str = "1", booster: lgb.Booster | None = None, **manifest: Any) -> lgb.Booster:
        """Put a champion into the model store; `manifest` replaces parts of its manifest."""
        booster = booster or train(self.features)
        publish(self.settings, "churn", version, booster, **{"features": list(self.features), **manifest})
        return booster


def publish(settings: Settings, name: str, version: str, booster: lgb.Booster, **manifest: Any) -> Path:
    """Put a model into the store under `name`; its folder. `manifest` has `features`, and may replace the rest."""
    content = {
        "model": name,
        "version": version,
        "spec_hash": settings.features.hash,
        "population": {"feature": RECENCY, "at_most": POPULATION_DAYS},
        "trained_on": {"rows": 400},
        **manifest,
    }
    models = settings.workspace.bentoml_home / "models"
    models.mkdir(parents=True, exist_ok=True)
    with bentoml.models.create(f"{name}:{version}", _model_store=ModelStore(models)) as model:
        booster.save_model(Path(model.path_of("model.lgb")))
        Path(model.path_of("manifest.json")).write_text(json.dumps(content), encoding="utf-8")
    return models / name / version


RECENCY = "order_completed_days_since_last_lifetime"
POPULATION_DAYS = 2.0


def train(features: Sequence[str], seed: int = 7) -> lgb.Booster:
    """A small binary model over `features`, with empty values among them."""
    rng = np.random.default_rng(seed)
    rows = _values(rng, 400, len(features))
    labels = (np.nan_to_num(rows[:, 0]) + rng.normal(0, 1, 400) > 1).astype(int)
    dataset = lgb.Dataset(rows, labels, feature_name=list(features))
    options = {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 5, "verbosity": -1, "num_threads": 1}
    return lgb.train(options, dataset, num_boost_round=30)


def make_shop(checkout: Path) -> Shop:
    loaded = load_settings()
    settings = replace(
        loaded,
        workspace=Workspace("test", checkout=checkout),
        models={"churn": loaded.models["churn"]},
        companions={},
        action_models={},
    )
    rng = np.random.default_rng(11)
    rows = _values(rng, len(CUSTOMERS), len(settings.features.service_features("churn")))
    return Shop(settings, dict(zip(CUSTOMERS, rows, strict=True)))


def _values(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float64]:
    values = rng.exponential(2.0, (rows, columns))
    values[rng.random((rows, columns)) < 0.2] = np.nan
    return values


def ingest_key(workspace: Workspace, source: str = "web", scopes: tuple[str, ...] = ("ingest",)) -> str:
    """The text of a fresh write key whose events count for features and models."""
    purposes = ["profiling", "training"]
    return Keys(workspace.access).create(source, scopes, "web", "THB", purposes=purposes, legal_basis="contract")[1]
