from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipelines.artefacts import DEFAULT_MODEL, MODEL, TRAINING, TUNING, Dataset, load_dataset, read_json, write_json
from pipelines.boosting import learning_rows, log_loss, make_folds, matrix, parameters, probability
from pipelines.console import UserError
from pipelines.fitting import FitSummary, fit_calibrated
from pipelines.fitting.average import average
from pipelines.fitting.calibrate import LEAST_SLOPE, Calibration, bake, calibrate, platt
from pipelines.settings import Settings
from pipelines.settings.models import FitConfig
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
    assert written["seeds"] == [small_config(project).tune.seed]
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


def fitted(how: FitConfig, params: dict[str, object] | None = None) -> tuple[FitSummary, lgb.Booster]:
    rows, config = learning_rows(make_dataset()), small_config(load_project())
    return fit_calibrated(rows, make_folds(rows, 7), PARAMS if params is None else params, config.tune, how)


def load_project() -> Settings:
    return make_settings(Path("nowhere"))


@pytest.mark.parametrize("count", [2, 5])
def test_an_averaged_booster_is_the_mean_of_the_single_ones(tmp_path: Path, count: int) -> None:
    made = [small_booster(20 + seed, extra_trees=True, extra_seed=seed, max_bin=31) for seed in range(count)]
    boosters, values = [booster for booster, _ in made], made[0][1]
    mean = np.mean([booster.predict(values, raw_score=True) for booster in boosters], axis=0)
    average(boosters).save_model(tmp_path / "model.txt")
    averaged = lgb.Booster(model_file=tmp_path / "model.txt")
    assert averaged.num_trees() == sum(booster.num_trees() for booster in boosters)
    np.testing.assert_allclose(averaged.predict(values, raw_score=True), mean, atol=1e-12, rtol=0)
    parts = averaged.predict(values, pred_contrib=True)
    np.testing.assert_allclose(parts.sum(axis=1), mean, atol=1e-9, rtol=0)
    each = np.mean([booster.predict(values, pred_contrib=True) for booster in boosters], axis=0)
    np.testing.assert_allclose(parts, each, atol=1e-9, rtol=0)


def test_only_boosters_of_the_same_columns_are_averaged() -> None:
    booster, values = small_booster(3)
    other = lgb.train({"verbosity": -1}, lgb.Dataset(values[:, :2], values[:, 0] > 0), 2)
    with pytest.raises(ValueError, match="different columns"):
        average([booster, other])
    with pytest.raises(ValueError, match="no boosters"):
        average([])


def test_seeds_are_averaged_into_one_calibrated_booster() -> None:
    values = matrix(make_dataset().features("test"))
    summary, booster = fitted(FitConfig(seeds=3))
    assert summary.seeds == (7, 8, 9)
    assert booster.num_trees() == 3 * summary.rounds
    one, first = fitted(FitConfig())
    # The first of the seeds is the model of one seed; the others are others.
    assert one.seeds == (7,)
    assert np.abs(booster.predict(values, raw_score=True) - first.predict(values, raw_score=True)).max() > 0.01
    raw = booster.predict(values, raw_score=True)
    np.testing.assert_allclose(booster.predict(values, pred_contrib=True).sum(axis=1), raw, atol=1e-9, rtol=0)


def test_out_of_fold_scores_are_those_of_the_averaged_model() -> None:
    """By hand: fold by fold, seed by seed, and the mean of what they say."""
    rows, config = learning_rows(make_dataset()), small_config(load_project())
    folds, tune = make_folds(rows, 7), config.tune
    summary, _ = fit_calibrated(rows, folds, PARAMS, tune, FitConfig(seeds=2))
    raw = np.zeros(len(rows.values))
    for fold in folds:
        for draws in ({}, dict.fromkeys(("bagging_seed", "feature_fraction_seed", "extra_seed", "objective_seed"), 8)):
            stop = lgb.early_stopping(tune.early_stopping_rounds, verbose=False)
            chosen = {**parameters(PARAMS, 7, len(rows.values)), **draws}
            booster = lgb.train(chosen, fold.fit, tune.rounds, valid_sets=[fold.held_out], callbacks=[stop])
            raw[fold.rows] += booster.predict(fold.values, raw_score=True, num_iteration=summary.rounds) / 2
    assert summary.out_of_fold.log_loss == pytest.approx(log_loss(rows.labels, raw), abs=1e-12)
    assert summary.calibration == calibrate(raw, rows.labels, rows.snapshots)


def test_predictions_follow_the_directions_that_are_asked_for() -> None:
    """Down where the data says up, too: the second feature lowers the label, the third is noise."""
    directions = {"feature_0": "raises", "feature_1": "lowers", "feature_2": "raises"}
    summary, free = fitted(FitConfig(), {"num_leaves": 15, "min_data_in_leaf": 5})
    bound = fitted(FitConfig.model_validate({"monotone": directions, "seeds": 2}), summary.params)
    assert bound[0].monotone == directions
    values = matrix(make_dataset().features("test"))[:50]
    steps = np.linspace(-3, 3, 40)
    changes = {}
    for name, booster in (("free", free), ("bound", bound[1])):
        for column, sign in enumerate((1, -1, 1)):
            grid = np.repeat(values, len(steps), axis=0)
            grid[:, column] = np.tile(steps, len(values))
            changes[name, column] = sign * np.diff(booster.predict(grid).reshape(len(values), -1), axis=1)
    assert min(changes["bound", column].min() for column in range(3)) >= -1e-12
    assert min(changes["free", column].min() for column in range(3)) < -0.01, "it is not monotone by itself"
    assert changes["bound", 0].max() > 0.01


def test_a_direction_of_what_is_no_column_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="did you mean feature_") as caught:
        fitted(FitConfig(monotone={"feature_9": "raises"}))
    assert [problem.field for problem in caught.value.problems] == ["fit.monotone"]


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
