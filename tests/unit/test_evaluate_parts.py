"""What an evaluation says beside its table: snapshots, slices, the champion, profit, truth, conversion."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest

from feature_repo.model_inputs import ModelInputs
from pipelines.artefacts import (
    DEFAULT_MODEL,
    EVALUATION,
    MODEL,
    PREDICTIONS,
    RANDOM_MODEL,
    TUNING,
    Dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError
from pipelines.evaluate import Evaluation, evaluate
from pipelines.evaluate.champion import compare_with_champion
from pipelines.evaluate.profit import profit_of
from pipelines.evaluate.results import NAMES, Difference
from pipelines.evaluate.slices import Cut, Rows, WorstBand, judge_bands, worst_band
from pipelines.evaluate.snapshots import base_rate_drift
from pipelines.evaluate.truth import against_truth
from pipelines.evaluate.verdict import further_sentences, verdict_sentences
from pipelines.fitted_model import read_fitted
from pipelines.scoring.bootstrap import Interval, resample
from pipelines.scoring.metrics import log_losses
from pipelines.settings import Settings
from pipelines.settings.models import CostsConfig, ModelConfig
from pipelines.slicing import Slice
from tests.reference import churn_artefacts

SLICES = (
    {"name": "orders", "feature": churn_artefacts.FEATURES[2], "below": [2, 5], "labels": ["one", "few", "many"]},
    {"name": "views", "feature": "page_viewed_count_30d", "quantiles": 3},
    {"name": "consent", "consent": "training"},
)


def _config(**changes: Any) -> ModelConfig:
    raw = churn_artefacts.config().model_dump(mode="json")
    given = {"profit": {"kind": "empc"}, "slices": SLICES}
    return ModelConfig.model_validate({**raw, **given, **changes})


def _two_test_snapshots(data: Dataset) -> Dataset:
    """The later training snapshot becomes a test too."""
    rows = data.rows.copy()
    instants = sorted(rows["snapshot"].unique())
    late = rows["snapshot"] >= instants[1]
    rows.loc[late, "part"], rows.loc[late, "fold"] = "test", -1
    snapshots = tuple(dataclasses.replace(item, part="train" if at == 0 else "test")
                      for at, item in enumerate(data.manifest.snapshots))  # fmt: skip
    return Dataset(rows, dataclasses.replace(data.manifest, snapshots=snapshots))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = churn_artefacts.settings(tmp_path_factory.mktemp("checkout"))
    folder = made.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, _two_test_snapshots(churn_artefacts.dataset(800)))
    (folder / RANDOM_MODEL).write_text((folder / DEFAULT_MODEL).read_text())
    tuning = read_json(folder / TUNING)
    write_json(folder / TUNING, {**tuning, "random": {"seconds": 1.6, "trials": 7}})
    return made


@pytest.fixture(scope="module")
def folder(settings: Settings) -> Path:
    return settings.workspace.artefacts("churn")


@pytest.fixture(scope="module")
def evaluation(settings: Settings, folder: Path) -> Evaluation:
    inputs = churn_artefacts.dataset(50).manifest.inputs
    groups = {f"c{number:05d}": "granted it themselves" for number in range(0, 800, 2)}
    return evaluate(settings, _config(), folder / DEFAULT_MODEL, inputs, {"training": groups})


def test_every_model_is_scored_on_every_test_snapshot(evaluation: Evaluation, folder: Path) -> None:
    rows = pd.read_parquet(folder / PREDICTIONS)
    assert [item.rows for item in evaluation.per_snapshot] == rows.groupby("as_of").size().tolist()
    for item, (as_of, own) in zip(evaluation.per_snapshot, rows.groupby("as_of"), strict=True):
        assert item.snapshot == as_of.value // 1000
        assert item.day == as_of.date().isoformat()
        assert [model.name for model in item.models] == [model.name for model in evaluation.models]
        for model in item.models:
            losses = log_losses(own["label"].to_numpy(dtype=float), own[model.name].to_numpy())
            assert model.log_loss == pytest.approx(losses.mean())
            assert model.noise_floor > 0
    assert evaluation.per_snapshot[0].models[0].calibration_slope is None


def test_names_are_those_of_the_models_there_are(evaluation: Evaluation) -> None:
    assert list(evaluation.names) == [item.name for item in evaluation.models]
    assert evaluation.names["logistic"] == "RFM logistic regression"
    assert "the RFM logistic regression" in evaluation.verdict
    assert "Random-search LightGBM" in evaluation.text()


def test_what_tuning_bought_is_told_against_the_default_and_against_random_search(evaluation: Evaluation) -> None:
    gain = evaluation.tuning_gain
    losses = {item.name: item.log_loss.estimate for item in evaluation.models}
    assert gain.default.estimate == pytest.approx(losses["lightgbm_tuned"] - losses["lightgbm_default"])
    assert gain.random == gain.default  # the same trees here
    assert (gain.random_search.seconds, gain.random_search.trials) == (1.6, 7)
    assert "The search took 2 s for 5 trials, the one at random 2 s for 7." in evaluation.verdict


def test_a_model_not_shown_to_be_better_than_random_search_is_said_to_be(evaluation: Evaluation) -> None:
    found = [Difference("lightgbm_tuned", "lightgbm_random", "log_loss", 0.0, -0.01, 0.01)]
    assert "cannot show that it searched better than at random" in verdict_sentences(found, "churn")[0]
    worse = [Difference("lightgbm_tuned", "lightgbm_random", "log_loss", 0.02, 0.01, 0.03)]
    assert "is worse than the random-search" in verdict_sentences(worse, "churn")[0]


def test_acting_that_does_not_pay_and_customers_nothing_is_known_of_are_in_the_verdict() -> None:
    generator = np.random.default_rng(5)
    labels = (generator.random(600) < 0.8).astype(float)
    money = CostsConfig(kind="costs", action_cost=1, value=10)
    probabilities = {"lightgbm_tuned": generator.uniform(0.5, 0.9, 600)}
    profit = profit_of(money, labels, probabilities, np.arange(600), "lightgbm_tuned", 100, 1)
    worst = WorstBand("orders", "one", 200, Interval(0.03, 0.01, 0.05))
    said = further_sentences(profit, worst, NAMES)
    assert said[0].startswith("Acting by the tuned LightGBM is not shown to bring more than acting on everybody: ")
    assert said[1].startswith("The tuned LightGBM is worse than the base rate of orders, one: difference in log-loss")
    assert len(said) == 2
    assert further_sentences(None, None, NAMES) == ()


def _copy(settings: Settings, checkout: Path) -> Settings:
    """A workspace with the same artefacts, to evaluate in otherwise."""
    made = churn_artefacts.settings(checkout)
    shutil.copytree(settings.workspace.artefacts("churn"), made.workspace.artefacts("churn"))
    return made


def test_without_money_and_slices_there_are_none(settings: Settings, tmp_path: Path) -> None:
    found = evaluate(_copy(settings, tmp_path), churn_artefacts.config())
    assert (found.profit, found.slices, found.worst_slice, found.champion_comparison, found.truth) == (
        None, (), None, None, None)  # fmt: skip


def test_bands_hold_all_test_rows_and_are_judged_against_their_own_training_rate(
    evaluation: Evaluation, folder: Path
) -> None:
    for name in ("orders", "views", "consent"):
        bands = [band for band in evaluation.slices if band.slice == name]
        assert sum(band.rows for band in bands) == evaluation.test_rows
        mean = sum(band.rows * band.log_loss for band in bands) / evaluation.test_rows
        own = next(item for item in evaluation.models if item.name == "lightgbm_tuned")
        assert mean == pytest.approx(own.log_loss.estimate)
    assert {band.band for band in evaluation.slices if band.slice == "consent"} == {
        "granted it themselves", "not known"}  # fmt: skip
    assert {band.band for band in evaluation.slices if band.slice == "orders"} == {"one", "few", "many"}
    judged = [band for band in evaluation.slices if band.judged]
    assert evaluation.worst_slice.log_loss_over_base_rate.low == max(
        band.log_loss_over_base_rate.low for band in judged
    )
    assert any("Of 20 such intervals one lies beside the truth by chance" in note for note in evaluation.notes)


def test_a_band_is_judged_with_enough_rows_of_both_classes_only() -> None:
    numbers = np.repeat([0, 1, 2], [200, 99, 200])
    labels = np.concatenate([np.tile([0.0, 1.0], 100), np.tile([0.0, 1.0], 50)[:99], np.zeros(200)])
    cut = Slice("kind", ("both", "few", "one class"), numbers)
    rows = Rows(labels, np.full(499, 0.4), None, np.arange(499))
    bands = judge_bands([Cut(cut, cut)], labels, rows, 50, 1)
    assert [band.judged for band in bands] == [True, False, False]
    assert [band.auc for band in bands] == [0.5, 0.5, None]
    assert worst_band(bands).band == "both"
    base = bands[0].train_rate
    expected = log_losses(labels[:200], np.full(200, 0.4)) - log_losses(labels[:200], np.full(200, base))
    assert bands[0].log_loss_over_base_rate.estimate == pytest.approx(expected.mean())


def test_kinds_of_too_few_customers_are_said_to_be(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    churn_artefacts.save_all(elsewhere.workspace.artefacts("churn"), churn_artefacts.dataset(120))
    found = evaluate(elsewhere, _config(profit=None))
    assert found.worst_slice is None
    assert f"Kinds of customers: {len(found.slices)}, none with enough rows to be judged" in found.text()


def test_a_kind_of_customers_that_is_served_badly_is_found() -> None:
    """In one band the probabilities are turned around; every other is exact."""
    generator = np.random.default_rng(1)
    numbers = generator.integers(0, 4, 4000)
    chances = generator.uniform(0.1, 0.9, 4000)
    labels = (generator.random(4000) < chances).astype(float)
    said = np.where(numbers == 2, 1 - chances, chances)
    cut = Slice("kind", ("a", "b", "c", "d"), numbers)
    bands = judge_bands([Cut(cut, cut)], labels, Rows(labels, said, None, np.arange(4000)), 200, 1)
    assert worst_band(bands).band == "c"
    assert worst_band(bands).log_loss_over_base_rate.low > 0.02
    assert all(band.log_loss_over_base_rate.high < 0 for band in bands if band.band != "c")


def test_the_champion_is_compared_on_the_newest_snapshot(evaluation: Evaluation, folder: Path) -> None:
    found = evaluation.champion_comparison
    rows = pd.read_parquet(folder / PREDICTIONS)
    late = rows[rows["as_of"] == rows["as_of"].max()]
    assert (found.snapshot, found.rows) == (rows["as_of"].max().value // 1000, len(late))
    labels = late["label"].to_numpy(dtype=float)
    difference = log_losses(labels, late["lightgbm_tuned"]) - log_losses(labels, late["champion"])
    assert found.log_loss.estimate == pytest.approx(difference.mean())
    assert found.log_loss.low < found.log_loss.estimate < found.log_loss.high
    assert found.worst_slice.log_loss.low >= found.log_loss.low - 0.2
    assert set(evaluation.candidates) == {"logistic", "bg_nbd_calibrated"}
    assert evaluation.candidates["logistic"].champion_comparison.rows == len(late)
    assert "Against the champion on the newest" in evaluation.text()


def test_a_champion_of_other_inputs_is_predicted_by_its_own_manifest(tmp_path: Path) -> None:
    """It reads fewer features than the dataset has, in another order."""
    data = churn_artefacts.dataset(300)
    reads = (churn_artefacts.FEATURES[4], churn_artefacts.FEATURES[0])
    train = data.part("train")
    booster = lightgbm.train(
        {"objective": "binary", "verbosity": -1, "num_threads": 1},
        lightgbm.Dataset(train[list(reads)].to_numpy(), train["label"].to_numpy(), feature_name=list(reads)), 5,
    )  # fmt: skip
    booster.save_model(tmp_path / "champion.txt")
    fitted = read_fitted(tmp_path / "champion.txt", ModelInputs(reads, reads))
    found = fitted.predict(data.part("test"))
    expected = booster.predict(data.part("test")[list(reads)].to_numpy())
    assert (found == expected).all()
    lacking = data.part("test").drop(columns="page_viewed_count_30d")
    assert fitted.missing(lacking) == ["page_viewed_count_30d"]


def test_profit_lost_to_a_better_champion_is_above_0() -> None:
    generator = np.random.default_rng(1)
    chances = generator.uniform(0.02, 0.98, 3000)
    labels = (generator.random(3000) < chances).astype(float)
    rows = Rows(labels, np.full(3000, 0.5), chances, np.arange(3000))
    config = _config(profit={"kind": "costs", "action_cost": 4, "value": 10})
    found = compare_with_champion(config, rows, np.repeat([1, 2], 1500), [], labels, 200, 1)
    assert found.rows == 1500
    assert found.profit.low > 0
    assert found.log_loss.low > 0
    assert found.worst_slice is None
    drawn = resample(labels[1500:], {"m": np.full(1500, 0.5), "c": chances[1500:]}, np.arange(1500), 200, 1)
    assert found.log_loss == drawn["m"].difference(drawn["c"], "log_loss")


def test_drift_of_the_base_rate_draws_customers_of_both_parts_together() -> None:
    """Labels of a customer are the same in both parts: what looks like sampling noise cancels."""
    labels = (np.random.default_rng(1).random(500) < 0.3).astype(int)
    part = pd.DataFrame({"customer_id": [f"c{at}" for at in range(500)], "label": labels})
    found = base_rate_drift(part.assign(part="train"), part.assign(part="test"), 100, 1)
    assert (found.difference.estimate, found.difference.low, found.difference.high) == (0, 0, 0)
    moved = part.assign(part="test", label=1 - labels)
    assert base_rate_drift(part.assign(part="train"), moved, 100, 1).difference.low > 0.2


def test_a_conversion_has_the_same_models_without_bg_nbd(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    folder = elsewhere.workspace.artefacts("churn")
    label = {"kind": "conversion", "opened_by": ["Product Added"], "open_for": "7d", "goal_events": ["Order Completed"],
             "horizon": "14d"}  # fmt: skip
    costs = {"kind": "costs", "action_cost": 5, "value": 10}
    config, data = _config(label=label, profit=costs), churn_artefacts.dataset(400)
    made_by = dataclasses.replace(data.manifest, label=config.label.model_dump(mode="json"))
    churn_artefacts.save_all(folder, Dataset(data.rows, made_by))
    found = evaluate(elsewhere, config, folder / MODEL)
    assert [item.name for item in found.models] == [
        "base_rate", "logistic", "lightgbm_default", "lightgbm_tuned", "champion"]  # fmt: skip
    assert found.label_kind == "conversion"
    assert not any("BG/NBD" in note for note in found.notes)
    assert found.profit.models[0].empc is None
    assert found.profit.models[0].threshold == 0.5
    assert "Profit a row" in found.text()
    assert set(found.candidates) == {"logistic"}


def test_a_slice_of_a_feature_the_dataset_lacks_is_a_clear_error(settings: Settings) -> None:
    config = _config(slices=[{"name": "kind", "feature": "no_such_feature", "below": [1]}])
    with pytest.raises(UserError, match="slices: expected columns of the dataset, got 'no_such_feature'"):
        evaluate(settings, config)


def test_against_the_truth_is_what_numpy_says(
    evaluation: Evaluation, settings: Settings, folder: Path, tmp_path: Path
) -> None:
    rows = pd.read_parquet(folder / PREDICTIONS)
    truth = rows[["customer_id", "as_of"]].assign(probability=rows["bg_nbd"]).iloc[10:]
    elsewhere = _copy(settings, tmp_path)
    found = evaluate(elsewhere, _config(profit=None), truth=truth).truth
    assert found.rows == len(rows) - 10
    assert found.matched_share == pytest.approx(1 - 10 / len(rows))
    by_name = {item.name: item for item in found.models}
    assert (by_name["bg_nbd"].calibration_error, by_name["bg_nbd"].root_mean_squared_error) == (0.0, 0.0)
    assert by_name["bg_nbd"].correlation == pytest.approx(1.0)
    assert by_name["base_rate"].correlation is None
    gaps = (rows["lightgbm_tuned"] - rows["bg_nbd"]).iloc[10:]
    assert by_name["lightgbm_tuned"].root_mean_squared_error == pytest.approx(float((gaps**2).mean() ** 0.5))
    assert read_json(elsewhere.workspace.artefacts("churn") / EVALUATION)["truth"]["rows"] == found.rows


def test_calibration_against_the_truth_needs_no_luck() -> None:
    """Exact estimates have no error at all, whatever the labels."""
    generator = np.random.default_rng(2)
    chances = generator.uniform(0.1, 0.9, 300)
    ids = [f"c{at}" for at in range(300)]
    test = pd.DataFrame({"customer_id": ids, "as_of": pd.Timestamp("2026-01-01", tz="UTC"), "label": 1})
    test.loc[::2, "label"] = 0
    truth = test[["customer_id", "as_of"]].assign(probability=chances)
    found = against_truth(test, {"exact": chances, "off": chances + 0.05}, truth)
    assert found.models[0].calibration_error == 0.0
    assert found.models[1].calibration_error == pytest.approx(0.05)


def test_the_noise_floor_against_the_truth_is_the_error_of_estimates_that_are_right_on_average() -> None:
    """Truth scatters around the estimate, as hidden states do around what features tell."""
    generator = np.random.default_rng(3)
    ids = [f"c{at}" for at in range(400)]
    test = pd.DataFrame({"customer_id": ids, "as_of": pd.Timestamp("2026-01-01", tz="UTC"), "label": [0, 1] * 200})
    estimates = generator.uniform(0.3, 0.7, 400)
    found = []
    for _ in range(30):
        truth = test[["customer_id", "as_of"]].assign(probability=estimates + generator.uniform(-0.3, 0.3, 400))
        found.append(against_truth(test, {"m": estimates}, truth).models[0])
    errors, floors = (np.mean([getattr(item, name) for item in found]) for name in ("calibration_error", "noise_floor"))
    assert errors == pytest.approx(floors, rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda truth: truth.drop(columns="probability"), "expected a column probability"),
        (lambda truth: pd.concat([truth, truth]), "expected a row a customer and instant, got some twice"),
        (lambda truth: truth.assign(probability=2.0), "expected probabilities from 0 to 1"),
        (lambda truth: truth.assign(customer_id="nobody" + truth["customer_id"]), "The truth is of other rows"),
    ],
)
def test_a_truth_that_cannot_be_used_is_a_clear_error(change: Any, message: str, folder: Path) -> None:
    rows = pd.read_parquet(folder / PREDICTIONS)
    truth = rows[["customer_id", "as_of"]].assign(probability=0.5)
    with pytest.raises(UserError, match=message):
        against_truth(rows, {"m": np.full(len(rows), 0.4)}, change(truth))
