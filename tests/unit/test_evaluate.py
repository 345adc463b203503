"""The evaluation step on a small dataset: its files, its words, and its errors."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.artefacts import (
    DEFAULT_MODEL,
    EVALUATION,
    MODEL,
    PREDICTIONS,
    TRAINING,
    Dataset,
    file_hash,
    read_json,
    save_dataset,
    write_json,
)
from pipelines.console import UserError
from pipelines.evaluate import Evaluation, evaluate, table_lines
from pipelines.evaluate.results import Difference
from pipelines.evaluate.verdict import verdict_sentences
from pipelines.settings import Settings
from tests.reference import churn_artefacts

MODELS = ["base_rate", "logistic", "bg_nbd", "bg_nbd_calibrated", "lightgbm_default", "lightgbm_tuned", "champion"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = churn_artefacts.settings(tmp_path_factory.mktemp("checkout"))
    churn_artefacts.save_all(made.workspace.artefacts("churn"), churn_artefacts.dataset())
    return made


@pytest.fixture(scope="module")
def folder(settings: Settings) -> Path:
    return settings.workspace.artefacts("churn")


@pytest.fixture(scope="module")
def evaluation(settings: Settings, folder: Path) -> Evaluation:
    return evaluate(settings, churn_artefacts.config(), folder / DEFAULT_MODEL)


def _difference(against: str, low: float, high: float) -> Difference:
    return Difference("lightgbm_tuned", against, "log_loss", (low + high) / 2, low, high)


def test_file_has_the_agreed_shape_and_no_nan(evaluation: Evaluation, folder: Path) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    raw = json.loads((folder / EVALUATION).read_text(), parse_constant=refuse)
    assert [item["name"] for item in raw["models"]] == MODELS
    for item in raw["models"]:
        for metric in ("log_loss", "auc", "brier"):
            assert item[metric]["low"] <= item[metric]["estimate"] <= item[metric]["high"]
        assert item["calibration_error"] >= 0
        assert item["calibration_noise_floor"] > 0
    assert raw["models"][0]["calibration_slope"] is None
    compared = {(item["against"], item["metric"]) for item in raw["differences"]}
    assert compared == {(name, metric) for name in MODELS if name != "lightgbm_tuned" for metric in ("log_loss", "auc")}
    assert raw["test_rows"] == evaluation.test_rows
    assert raw["verdict"] == evaluation.verdict
    assert raw["dataset_hash"] == "data"


def test_predictions_hold_a_probability_a_model(evaluation: Evaluation, folder: Path) -> None:
    rows = pd.read_parquet(folder / PREDICTIONS)
    assert list(rows.columns) == ["customer_id", "as_of", "label", *MODELS]
    assert len(rows) == evaluation.test_rows
    assert rows[MODELS].to_numpy().min() > 0
    assert rows[MODELS].to_numpy().max() < 1


def test_learned_models_beat_the_base_rate_and_the_well_specified_one_is_calibrated(evaluation: Evaluation) -> None:
    losses = {item.name: item.log_loss.estimate for item in evaluation.models}
    assert max(losses["logistic"], losses["bg_nbd"], losses["lightgbm_tuned"]) < losses["base_rate"] - 0.02
    bg_nbd = next(item for item in evaluation.models if item.name == "bg_nbd")
    assert bg_nbd.calibration_error < 3 * bg_nbd.calibration_noise_floor
    assert abs(losses["bg_nbd_calibrated"] - losses["bg_nbd"]) < 0.02


def test_same_inputs_same_evaluation(evaluation: Evaluation, settings: Settings, folder: Path) -> None:
    again = evaluate(settings, churn_artefacts.config(), folder / DEFAULT_MODEL)
    assert dataclasses.replace(again, seconds=0.0) == dataclasses.replace(evaluation, seconds=0.0)


def test_table_is_aligned_and_names_every_model(evaluation: Evaluation) -> None:
    lines = table_lines(evaluation)
    assert len(lines) == 2 + len(MODELS)
    column = lines[0].index("log-loss")
    assert all(line[column - 1] == " " and line[column] != " " for line in (lines[0], *lines[2:]))
    assert "Tuned LightGBM" in lines[7]
    assert "[" in lines[7]


def test_a_simple_model_that_is_as_good_is_said_to_be_and_the_simplest_is_named() -> None:
    text = " ".join(verdict_sentences([
        _difference("base_rate", -0.2, -0.1), _difference("logistic", -0.003, 0.005),
        _difference("bg_nbd", -0.01, 0.01),
    ], "churn"))  # fmt: skip
    assert "logistic regression is not worse than the tuned LightGBM: difference in log-loss +0.0010 nats" in text
    assert "[-0.0030, +0.0050]" in text
    assert "no reason to prefer the tuned LightGBM to the simplest of these, the logistic regression." in text
    assert text.endswith("The logistic regression can be served: twin register churn --model logistic")


def test_a_simple_model_that_cannot_be_served_is_not_offered() -> None:
    """A feature that the service does not have, or a gap before the horizon."""
    found = [_difference("logistic", -0.003, 0.005), _difference("bg_nbd_calibrated", -0.003, 0.005)]
    assert verdict_sentences(found, "churn", servable=("bg_nbd_calibrated",))[-1] == (
        "Calibrated BG/NBD can be served: twin register churn --model bg_nbd_calibrated"
    )
    assert "can be served" not in " ".join(verdict_sentences(found, "churn", servable=()))


def test_a_simple_model_that_is_better_is_said_to_be() -> None:
    text = " ".join(verdict_sentences([_difference("bg_nbd", 0.01, 0.03)], "churn"))
    assert "BG/NBD is better than the tuned LightGBM: difference in log-loss +0.0200 nats" in text


def test_tuning_that_is_not_shown_to_buy_anything_is_said_to() -> None:
    """An interval that holds 0 shows neither that it helped nor that it did not."""
    undecided = verdict_sentences([_difference("lightgbm_default", -0.01, 0.01)], "churn")[0]
    assert "is not shown to be better than the default" in undecided
    assert "this test cannot show that tuning bought anything" in undecided
    worse = verdict_sentences([_difference("lightgbm_default", 0.01, 0.02)], "churn")[0]
    assert "is worse than the default LightGBM, so tuning made it worse" in worse
    assert (
        "is better than the default" in verdict_sentences([_difference("lightgbm_default", -0.02, -0.01)], "churn")[0]
    )


def test_a_champion_with_other_features_is_left_out_and_noted(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    folder = elsewhere.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, churn_artefacts.dataset(300))
    other = tmp_path / "champion.txt"
    other.write_text((folder / MODEL).read_text().replace("page_viewed_count_30d", "gone_count_30d"))
    result = evaluate(elsewhere, churn_artefacts.config(), other)
    assert "champion" not in [item.name for item in result.models]
    assert any("1 features which this dataset lacks" in note for note in result.notes)


def test_baselines_see_no_test_label(evaluation: Evaluation, folder: Path, tmp_path: Path) -> None:
    """Labels of the test turned around change no prediction."""
    elsewhere = churn_artefacts.settings(tmp_path)
    data = churn_artefacts.dataset()
    rows = data.rows.copy()
    rows.loc[rows["part"] == "test", "label"] = 1 - rows["label"]
    churn_artefacts.save_all(elsewhere.workspace.artefacts("churn"), data)
    save_dataset(elsewhere.workspace.artefacts("churn"), Dataset(rows, data.manifest))
    evaluate(elsewhere, churn_artefacts.config())
    before = pd.read_parquet(folder / PREDICTIONS)[MODELS[:6]]
    after = pd.read_parquet(elsewhere.workspace.artefacts("churn") / PREDICTIONS)[MODELS[:6]]
    pd.testing.assert_frame_equal(before, after, check_exact=True)


def test_empty_values_in_the_baselines_features_are_handled(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    data = churn_artefacts.dataset(800)
    rows = data.rows.copy()
    for number, name in enumerate(churn_artefacts.FEATURES[:4]):
        rows.loc[rows.index % 11 == number, name] = np.nan
    churn_artefacts.save_all(elsewhere.workspace.artefacts("churn"), Dataset(rows, data.manifest))
    result = evaluate(elsewhere, churn_artefacts.config())
    assert all(item.log_loss.estimate is not None and item.log_loss.estimate < 1 for item in result.models)


@pytest.mark.parametrize("part", ["train", "test"])
def test_one_class_is_a_clear_error(part: str, tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    data = churn_artefacts.dataset(300)
    rows = data.rows.copy()
    rows.loc[rows["part"] == part, "label"] = 1
    save_dataset(elsewhere.workspace.artefacts("churn"), Dataset(rows, data.manifest))
    with pytest.raises(UserError, match=f"labels of the {part} part: expected both classes, got only 1"):
        evaluate(elsewhere, churn_artefacts.config())


def test_missing_files_and_features_are_clear_errors(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    with pytest.raises(UserError, match="no dataset of the model 'churn'"):
        evaluate(elsewhere, churn_artefacts.config())
    save_dataset(elsewhere.workspace.artefacts("churn"), churn_artefacts.dataset(300))
    with pytest.raises(UserError, match="no trained model"):
        evaluate(elsewhere, churn_artefacts.config())
    config = churn_artefacts.config()
    missing = config.baselines.logistic.model_copy(update={"features": ("no_such_feature",)})
    wrong = config.model_copy(update={"baselines": config.baselines.model_copy(update={"logistic": missing})})
    with pytest.raises(UserError, match=r"baselines: expected columns of the dataset, got 'no_such_feature'"):
        evaluate(elsewhere, wrong)


def test_a_model_of_other_features_is_refused(tmp_path: Path) -> None:
    elsewhere = churn_artefacts.settings(tmp_path)
    folder = elsewhere.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, churn_artefacts.dataset(300))
    (folder / MODEL).write_text((folder / MODEL).read_text().replace("noise", "noize"))
    with pytest.raises(UserError, match="another dataset"):
        evaluate(elsewhere, churn_artefacts.config())
    assert not (folder / EVALUATION).exists()


def test_a_model_of_another_split_is_refused(tmp_path: Path) -> None:
    """It has the same features, but may have learned from what is the test now."""
    elsewhere = churn_artefacts.settings(tmp_path)
    folder = elsewhere.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, churn_artefacts.dataset(300))
    write_json(folder / TRAINING, {"dataset_hash": "another"})
    with pytest.raises(UserError, match="another dataset"):
        evaluate(elsewhere, churn_artefacts.config())
    assert not (folder / EVALUATION).exists()


def test_the_evaluation_names_the_files_it_judged(evaluation: Evaluation, folder: Path) -> None:
    assert (evaluation.model_hash, evaluation.champion_hash) == (
        file_hash(folder / MODEL), file_hash(folder / DEFAULT_MODEL)
    )  # fmt: skip


def test_evaluation_can_be_read_back(evaluation: Evaluation, folder: Path) -> None:
    raw = read_json(folder / EVALUATION)
    assert raw["verdict_sentences"] == list(evaluation.verdict_sentences)
    assert sum(item["rows"] for item in raw["models"][4]["curve"]) == evaluation.test_rows
