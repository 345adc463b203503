from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipelines.artefacts import DEFAULT_MODEL, MODEL, TRAINING, TUNING, Dataset, load_dataset, read_json, write_json
from pipelines.boosting import learning_rows, log_loss, make_folds, matrix, parameters, probability
from pipelines.fitting import fit_calibrated
from pipelines.fitting.calibrate import LEAST_SLOPE, Calibration, bake, calibrate, platt
from pipelines.settings import Settings
from pipelines.train import TrainSummary, train
from tests.unit.model_parts import make_dataset, make_settings, saved_dataset, small_config

PARAMS = {"learning_rate": 0.1, "num_leaves": 7, "bagging_freq": 1, "bagging_fraction": 0.8, "extra_trees": True}


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def trained(project: Settings) -> tuple[TrainSummary, Dataset]:
    config = small_config(project)
    saved_dataset(project, config)
    write_json(project.workspace.artefacts("churn") / TUNING, {"params": PARAMS, "rounds": 20})
    return train(project, config), load_dataset(project.workspace.artefacts("churn"))


def test_both_models_answer_calibrated_probabilities(project: Settings) -> None:
    summary, dataset = trained(project)
    folder = project.workspace.artefacts("churn")
    test, features = dataset.part("test"), matrix(dataset.features("test"))
    base_rate = dataset.part("train")["label"].mean()
    for name in (MODEL, DEFAULT_MODEL):
        booster = lgb.Booster(model_file=folder / name)
        assert booster.feature_name() == list(dataset.manifest.features)
        raw = booster.predict(features, raw_score=True)
        np.testing.assert_allclose(booster.predict(features), probability(raw), atol=1e-12, rtol=0)
        np.testing.assert_allclose(booster.predict(features, pred_contrib=True).sum(axis=1), raw, atol=1e-9, rtol=0)
        ignorant = log_loss(test["label"].to_numpy(), np.full(len(test), np.log(base_rate / (1 - base_rate))))
        assert log_loss(test["label"].to_numpy(), raw) < ignorant - 0.05
    written = read_json(folder / TRAINING)
    assert written["calibration"]["slope"] == summary.tuned.calibration.slope > 0
    assert written["rounds"] == summary.tuned.rounds
    assert written["seeds"]["lightgbm"] == small_config(project).tune.seed
    assert written["out_of_fold"]["rows"] == len(dataset.part("train"))
    assert written["default"]["rounds"] == summary.default.rounds
    assert "slope" in summary.text()


def test_the_same_data_and_seed_give_the_same_model(project: Settings) -> None:
    trained(project)
    folder = project.workspace.artefacts("churn")
    first = (folder / MODEL).read_bytes()
    train(project, small_config(project))
    assert (folder / MODEL).read_bytes() == first


def small_booster(rounds: int = 25, **params: object) -> tuple[lgb.Booster, np.ndarray]:
    dataset = make_dataset()
    values, labels = matrix(dataset.features("train")), dataset.part("train")["label"].to_numpy()
    chosen = parameters({"num_leaves": 15, **params}, seed=1, rows=len(values))
    return lgb.train(chosen, lgb.Dataset(values, labels, params=chosen), rounds), values


@pytest.mark.parametrize(("slope", "intercept"), [(0.7, 0.4), (1.3, -2.0), (0.05, 0.0)])
def test_a_baked_booster_is_the_booster_rescaled(tmp_path: Path, slope: float, intercept: float) -> None:
    booster, values = small_booster()
    raw, parts = booster.predict(values, raw_score=True), booster.predict(values, pred_contrib=True)
    bake(booster, Calibration(slope, intercept, 0, ())).save_model(tmp_path / "model.txt")
    baked = lgb.Booster(model_file=tmp_path / "model.txt")
    expected = slope * raw + intercept
    np.testing.assert_allclose(baked.predict(values, raw_score=True), expected, atol=1e-9, rtol=0)
    np.testing.assert_allclose(baked.predict(values), 1 / (1 + np.exp(-expected)), atol=1e-9, rtol=0)
    scaled = baked.predict(values, pred_contrib=True)
    np.testing.assert_allclose(scaled.sum(axis=1), expected, atol=1e-9, rtol=0)
    np.testing.assert_allclose(scaled[:, :-1], slope * parts[:, :-1], atol=1e-9, rtol=0)
    np.testing.assert_array_equal(raw, booster.predict(values, raw_score=True))


def test_a_booster_without_a_split_can_be_baked() -> None:
    booster, values = small_booster(min_data_in_leaf=10_000)
    raw = booster.predict(values[:3], raw_score=True)
    baked = bake(booster, Calibration(2.0, 0.5, 0, ()))
    np.testing.assert_allclose(baked.predict(values[:3], raw_score=True), 2 * raw + 0.5, atol=1e-12)


def test_platt_is_logistic_regression_on_smoothed_labels() -> None:
    generator = np.random.default_rng(0)
    raw = generator.normal(0, 2, 4000)
    labels = (generator.random(4000) < probability(0.6 * raw - 0.3)).astype(int)
    slope, intercept = platt(raw, labels)
    high, low = (labels.sum() + 1) / (labels.sum() + 2), 1 / ((1 - labels).sum() + 2)
    doubled, targets = np.concatenate([raw, raw])[:, None], np.repeat([1, 0], len(raw))
    chance = np.where(labels == 1, high, low)
    oracle = LogisticRegression(C=np.inf, tol=1e-10).fit(doubled, targets, np.concatenate([chance, 1 - chance]))
    assert slope == pytest.approx(oracle.coef_[0, 0], abs=1e-4)
    assert intercept == pytest.approx(oracle.intercept_[0], abs=1e-4)
    assert slope == pytest.approx(0.6, abs=0.06)
    assert intercept == pytest.approx(-0.3, abs=0.1)


@pytest.mark.parametrize("raw", [np.linspace(-9, 9, 200), np.linspace(-900, 900, 200), np.zeros(200)])
def test_platt_stays_finite_where_scores_separate_or_say_nothing(raw: np.ndarray) -> None:
    slope, intercept = platt(raw, (np.arange(200) >= 100).astype(int))
    assert np.isfinite([slope, intercept]).all()
    assert slope > 0


def snapshot_rows(sizes: dict[str, int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random labels, and the snapshots of their rows."""
    instants = np.repeat(np.array(list(sizes), dtype="datetime64[us]"), list(sizes.values()))
    return np.random.default_rng(seed).integers(0, 2, len(instants)), instants


def test_calibration_takes_the_latest_snapshot_and_more_where_it_is_small() -> None:
    labels, snapshots = snapshot_rows({"2011-03-01": 600, "2011-03-15": 400, "2011-03-29": 450})
    raw = labels + np.random.default_rng(1).normal(size=len(labels))
    found = calibrate(raw, labels, snapshots)
    assert found.snapshots == ("2011-03-29", "2011-03-15")
    assert found.rows == 850
    assert "2 snapshots" in found.note
    alone = calibrate(raw[:1000], labels[:1000], np.repeat(snapshots[:1], 1000))
    assert alone.snapshots == ("2011-03-01",)
    assert alone.note == ""


def test_scores_that_rank_the_wrong_way_are_not_turned_round() -> None:
    labels, snapshots = snapshot_rows({"2011-03-01": 1000})
    raw = -3.0 * labels + np.random.default_rng(1).normal(size=1000)
    found = calibrate(raw, labels, snapshots)
    assert found.slope == LEAST_SLOPE
    assert "raised" in found.note
    chance = probability(found.slope * raw + found.intercept)
    assert chance.mean() == pytest.approx(labels.mean(), abs=0.01)


def test_shuffled_labels_cannot_be_learned(project: Settings) -> None:
    dataset = make_dataset(customers=6000, shuffled=True)
    params = {"learning_rate": 0.05, "num_leaves": 7}
    rows, config = learning_rows(dataset), small_config(project)
    _, booster = fit_calibrated(rows, make_folds(rows, 7), params, config.tune, config.fit)
    later = booster.predict(matrix(dataset.features("test")))
    assert abs(roc_auc_score(dataset.part("test")["label"], later) - 0.5) < 0.02
