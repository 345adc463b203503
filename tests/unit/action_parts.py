"""A made-up dataset of actions with known effects, as the step before leaves it, for tests of the steps after."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import Dataset, DatasetManifest, Snapshot, save_dataset
from pipelines.settings import Settings, Workspace, load_settings
from pipelines.settings.labels import ActionLabel, AssignmentConfig, RewardConfig
from pipelines.settings.models import ActionGates, ActionModelConfig, TuneConfig

NAME, CONTROL, ACTIONS = "next_best_action", "no_action", ("email_coupon", "line_coupon")
DAY = 86_400_000_000
FIRST = 1_750_000_000_000_000


@dataclass(frozen=True)
class Made:
    """A workspace with the dataset saved in it. `truth` (rows, 3) is the expected reward under each arm."""

    settings: Settings
    config: ActionModelConfig
    dataset: Dataset
    truth: NDArray[np.float64]

    @property
    def folder(self) -> Path:
        return self.settings.workspace.artefacts(self.config.name)


def made_up(
    checkout: Path, effects: NDArray[np.float64] | None = None, *, rows: int = 1500, drawn: bool = True, seed: int = 3,
    **config: Any,
) -> Made:  # fmt: skip
    """Half of the rows are the test. Effects of the two actions, shape (rows, 2), by default as `heterogeneous` has it.

    Where they are not `drawn`, who has a high first feature gets an action more often.
    """
    loaded = load_settings()
    settings = replace(loaded, workspace=Workspace("test", checkout=checkout), models={}, companions={}, catalogue=None)
    names = settings.features.service_features(NAME)
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1, (rows, len(names)))
    values[generator.random(values.shape) < 0.05] = np.nan
    first = np.nan_to_num(values[:, 0])
    truth = 1.0 + 0.3 * first[:, None] + np.zeros((rows, 3))
    truth[:, 1:] += heterogeneous(values) if effects is None else effects
    truth = np.maximum(truth, 0.05)
    chances = np.full((rows, 3), 1 / 3)
    if not drawn:
        odds = np.exp(np.stack([np.zeros(rows), first, 0.5 * first], axis=1))
        chances = odds / odds.sum(axis=1, keepdims=True)
    arm = (generator.random(rows)[:, None] > np.cumsum(chances, axis=1)).sum(axis=1)
    reward = generator.poisson(truth[np.arange(rows), arm])
    test = np.arange(rows) >= rows // 2
    as_of = FIRST + np.where(test, 60 * DAY, 0) + np.arange(rows)
    snapshot = FIRST + np.where(test, 60 * DAY, 0)
    table = pd.DataFrame({
        "customer_id": [f"c{at % (rows // 2)}" for at in range(rows)],
        "as_of": pd.to_datetime(as_of, unit="us", utc=True), "snapshot": pd.to_datetime(snapshot, unit="us", utc=True),
        "label": reward.astype(np.int64), "part": np.where(test, "test", "train"),
        "fold": np.where(test, -1, np.arange(rows) % 5),
        "action": np.array([CONTROL, *ACTIONS])[arm],
        "propensity": chances[np.arange(rows), arm] if drawn else np.nan,
        "eligible": pd.Series([None] * rows, dtype="object"),
    })  # fmt: skip
    table = pd.concat([table, pd.DataFrame(values, columns=list(names))], axis=1)
    made = action_config(drawn, **config)
    inputs = ModelInputs(names, names)
    snapshots = tuple(Snapshot(int(FIRST + at), part, rows // 2, 1) for at, part in ((0, "train"), (60 * DAY, "test")))
    manifest = DatasetManifest(
        NAME, NAME, names, settings.features.hash, 3, 1, made.hash, f"{seed}{drawn}{made.hash[:8]}", 30 * DAY, 0, FIRST,
        FIRST + 90 * DAY, snapshots, inputs, made.label.model_dump(mode="json"),
    )  # fmt: skip
    dataset = Dataset(table, manifest)
    save_dataset(settings.workspace.artefacts(NAME), dataset)
    return Made(settings, made, dataset, truth)


def heterogeneous(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first action helps where the second feature is high and harms elsewhere; the second the other way round."""
    side = np.where(np.nan_to_num(values[:, 1]) > 0, 1.0, -1.0)
    return np.stack([1.2 * side, -1.2 * side], axis=1)


def action_config(drawn: bool = True, **changes: Any) -> ActionModelConfig:
    """Two learners and no search: seconds, not minutes."""
    loaded = load_settings().action_model(NAME)
    source = AssignmentConfig(event="Campaign Assigned", action="arm", propensity="chance" if drawn else None)
    label = ActionLabel(
        kind="action", assigned_by=(source,), control=CONTROL, horizon="30d",
        reward=RewardConfig(events=("Order Completed",), of="count"),
    )  # fmt: skip
    tune = TuneConfig(trials=1, budget_seconds=5, rounds=40, early_stopping_rounds=10)
    asked = {"label": label, "tune": tune, "learners": ("t", "dr"), "gates": ActionGates(), **changes}
    return loaded.model_copy(update=asked)
