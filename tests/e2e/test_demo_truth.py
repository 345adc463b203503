"""A model of the made-up retailer, made by the real steps, against the probabilities the retailer was made with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.artefacts import PREDICTIONS
from pipelines.dataset import build_dataset
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.evaluate import evaluate
from pipelines.feature_store import open_feature_store
from pipelines.ingest import commit, stage
from pipelines.settings import Workspace, load_settings
from pipelines.train import train
from pipelines.tune import tune

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Test rows with the model's probability, and the true one as `truth`."""
    checkout = tmp_path_factory.mktemp("truth")
    settings = replace(load_settings("demo"), workspace=Workspace("demo", checkout=checkout))
    made = generate(DemoConfig(customers=1000, months=15, seed=5), settings.workspace.sources)
    for source, file in source_files(made.folder):
        commit(stage(settings, source, file))
    config = settings.model("churn")
    config = config.model_copy(update={"tune": config.tune.model_copy(update={"trials": 1, "rounds": 100})})
    build_dataset(settings, config, open_feature_store(settings))
    tune(settings, config)
    train(settings, config)
    evaluate(settings, config)
    rows = pd.read_parquet(settings.workspace.artefacts("churn") / PREDICTIONS)
    truth = pd.read_parquet(Path(made.truth) / "churn.parquet").rename(columns={"probability": "truth"})
    truth["as_of"] = truth["as_of"].astype(rows["as_of"].dtype)
    return rows.merge(truth, on=["customer_id", "as_of"], how="left", validate="one_to_one")


def test_labels_are_what_came_true(scored: pd.DataFrame) -> None:
    assert scored["truth"].notna().all()
    assert (scored["label"] == scored["churned"].astype(int)).all()


def test_probabilities_are_near_the_true_ones(scored: pd.DataFrame) -> None:
    """Truth has no coin tosses in it, so this is sharper than any test on labels."""
    model, truth = scored["lightgbm_tuned"], scored["truth"]
    assert abs(model.mean() - truth.mean()) < 0.05
    thirds = scored.groupby(pd.qcut(model, 3, labels=False))
    assert np.abs(thirds["lightgbm_tuned"].mean() - thirds["truth"].mean()).max() < 0.08
    distance = {name: float(((scored[name] - truth) ** 2).mean()) for name in ("base_rate", "bg_nbd", "lightgbm_tuned")}
    assert distance["lightgbm_tuned"] < distance["bg_nbd"] < distance["base_rate"]
    assert np.corrcoef(model, truth)[0, 1] > 0.5
