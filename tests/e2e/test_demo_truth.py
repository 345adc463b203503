"""A model of the made-up retailer, made by the real steps, against the probabilities the retailer was made with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.artefacts import PREDICTIONS
from pipelines.cli.truth import read_truth
from pipelines.dataset import build_dataset
from pipelines.demo import DemoConfig, generate, source_files
from pipelines.evaluate import Evaluation, evaluate
from pipelines.feature_store import open_feature_store
from pipelines.ingest import commit, stage
from pipelines.settings import Workspace, load_settings
from pipelines.settings.models import CostsConfig, SliceConfig
from pipelines.train import train
from pipelines.tune import tune

pytestmark = pytest.mark.slow


@dataclass(frozen=True, slots=True)
class Retailer:
    """A small retailer: the evaluation of its model, the predictions, and its own file of true probabilities."""

    evaluation: Evaluation
    predictions: Path
    truth: Path


@pytest.fixture(scope="module")
def retailer(tmp_path_factory: pytest.TempPathFactory) -> Retailer:
    checkout = tmp_path_factory.mktemp("truth")
    settings = replace(load_settings("demo"), workspace=Workspace("demo", checkout=checkout))
    made = generate(DemoConfig(customers=1000, months=15, seed=5), settings.workspace.sources)
    for source, file in source_files(made.folder):
        commit(stage(settings, source, file))
    config = settings.model("churn")
    age = SliceConfig(name="age", feature=config.baselines.bg_nbd.age, quantiles=3, labels=("new", "older", "old"))
    costs = CostsConfig(kind="costs", action_cost=5.0, value=10.0)
    tune_config = config.tune.model_copy(update={"trials": 1, "rounds": 100})
    config = config.model_copy(update={"tune": tune_config, "profit": costs, "slices": (age,)})
    build_dataset(settings, config, open_feature_store(settings))
    tune(settings, config)
    train(settings, config)
    evaluation = evaluate(settings, config, truth=read_truth(settings, config, "demo"))
    predictions = settings.workspace.artefacts("churn") / PREDICTIONS
    return Retailer(evaluation, predictions, Path(made.truth) / "churn.parquet")


@pytest.fixture(scope="module")
def judged(retailer: Retailer) -> Evaluation:
    return retailer.evaluation


@pytest.fixture(scope="module")
def scored(retailer: Retailer) -> pd.DataFrame:
    """Test rows with the model's probability, and the true one of the retailer's own file as `truth`."""
    rows, truth = pd.read_parquet(retailer.predictions), pd.read_parquet(retailer.truth)
    truth = truth.rename(columns={"probability": "truth"})
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


def test_the_evaluation_says_how_near_every_model_is(judged: Evaluation) -> None:
    assert judged.truth is not None
    assert judged.truth.matched_share == 1.0
    models = {item.name: item for item in judged.truth.models}
    errors = [models[name].root_mean_squared_error for name in ("lightgbm_tuned", "bg_nbd", "base_rate")]
    assert errors == sorted(errors)
    assert models["lightgbm_tuned"].calibration_error < 3 * models["lightgbm_tuned"].noise_floor
    assert judged.truth.best_log_loss < min(item.log_loss.estimate for item in judged.models)
    assert "against the truth" in judged.text()


def test_acting_on_calibrated_probabilities_pays(judged: Evaluation) -> None:
    """More than acting on everybody or on nobody, where an action costs about half of what a churner is worth."""
    assert judged.profit is not None
    own = next(item for item in judged.profit.models if item.name == "lightgbm_tuned")
    assert own.profit.low > 0
    against = {item.against: item for item in judged.profit.differences if item.metric == "profit"}
    assert against["all"].low > 0
    assert [band.band for band in judged.slices] == ["new", "older", "old"]
