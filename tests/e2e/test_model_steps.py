"""From a dataset to the registry, every step for real: what a bad model or odd data end in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.artefacts import Dataset, save_dataset
from pipelines.console import UserError
from pipelines.evaluate import evaluate
from pipelines.explain import explain
from pipelines.register import Registration, register
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.tracking import champion, connect
from pipelines.train import train
from pipelines.tune import tune
from tests.reference import churn_artefacts
from tests.reference.churn_artefacts import FEATURES

Change = Callable[[pd.DataFrame], pd.DataFrame]


def quick() -> ModelConfig:
    """A search of seconds, and no look for leakage, which is a step of its own."""
    config = churn_artefacts.config()
    tune = config.tune.model_copy(update={"trials": 2, "budget_seconds": 60, "rounds": 30})
    return config.model_copy(update={"tune": tune, "gates": config.gates.model_copy(update={"leakage": False})})


def run(settings: Settings, change: Change, customers: int = 500) -> Registration:
    config, made = quick(), churn_artefacts.dataset(customers)
    rows = change(made.rows.copy())
    manifest = dataclasses.replace(made.manifest, dataset_hash=str(pd.util.hash_pandas_object(rows).sum()))
    save_dataset(settings.workspace.artefacts("churn"), Dataset(rows, manifest))
    tune(settings, config)
    train(settings, config)
    present = champion(settings, config)
    evaluate(settings, config, present.file if present else None, present.inputs if present else None)
    explain(settings, config)
    return register(settings, config)


def shuffled(part: str) -> Change:
    def change(rows: pd.DataFrame) -> pd.DataFrame:
        labels, inside = rows["label"].to_numpy().copy(), (rows["part"] == part).to_numpy()
        labels[inside] = np.random.default_rng(0).permutation(labels[inside])
        return rows.assign(label=labels)

    return change


def test_a_model_that_learned_nothing_does_not_replace_the_champion(tmp_path: Path) -> None:
    settings = churn_artefacts.settings(tmp_path)
    first = run(settings, lambda rows: rows, 1000)
    assert first.is_champion, first.text()
    second = run(settings, shuffled("train"), 1000)
    assert (second.alias, second.previous_champion) == ("challenger", "1")
    failed = {gate.name for gate in second.gates if not gate.passed}
    assert {"beats_base_rate_by", "maximum_loss_against_champion"} <= failed
    still = champion(settings, quick())
    assert still is not None
    assert still.version == "1"


def test_odd_features_are_no_obstacle(tmp_path: Path) -> None:
    """One that is always empty, constant ones, and customers with one event each."""
    odd = {"noise": np.nan, FEATURES[2]: 1.0, FEATURES[3]: 500.0}
    assert run(churn_artefacts.settings(tmp_path), lambda rows: rows.assign(**odd), 300).gates


def test_twenty_customers_make_no_champion(tmp_path: Path) -> None:
    settings = churn_artefacts.settings(tmp_path)
    registration = run(settings, lambda rows: rows, 20)
    assert registration.alias == "challenger"
    assert "minimum_test_rows" in {gate.name for gate in registration.gates if not gate.passed}
    assert champion(settings, quick()) is None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda rows: rows.assign(label=rows["label"].where(rows["part"] == "train", 1)), id="test"),
        pytest.param(lambda rows: rows.assign(label=rows["label"].where(rows["part"] == "test", 1)), id="train"),
        pytest.param(lambda rows: rows.assign(**dict.fromkeys(FEATURES, np.nan)), id="every feature empty"),
    ],
)
def test_what_cannot_be_judged_is_said_and_not_registered(tmp_path: Path, change: Change) -> None:
    settings = churn_artefacts.settings(tmp_path)
    with pytest.raises(UserError) as caught:
        run(settings, change, 300)
    assert all(problem.hint for problem in caught.value.problems)
    assert connect(settings.workspace).search_registered_models() == []
