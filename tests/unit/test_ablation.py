"""What each ingredient buys: the rows there are, what they say, and that the differences are those of the models."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.model_inputs import ModelInputs
from pipelines.ablation import Ablation, Row, sentence, take_apart
from pipelines.ablation.made import trial_of
from pipelines.ablation.variants import Variant, variants, without
from pipelines.artefacts import ABLATION, TRAINING, TUNING, Dataset, load_dataset, read_json, save_dataset, write_json
from pipelines.buying_rhythm import fit_rhythm
from pipelines.console import UserError
from pipelines.scoring.bootstrap import Interval
from pipelines.scoring.metrics import log_losses
from pipelines.settings import Settings
from pipelines.settings.models import FitConfig, InputsConfig, ModelConfig
from pipelines.train import train
from tests.reference import churn_artefacts
from tests.reference.churn_artefacts import FEATURES

HELPS, HARMS, UNKNOWN = Interval(0.02, 0.01, 0.03), Interval(-0.02, -0.03, -0.01), Interval(0.001, -0.01, 0.012)


def quick(**changes: Any) -> ModelConfig:
    config = churn_artefacts.config()
    tune = config.tune.model_copy(update={"rounds": 40, "early_stopping_rounds": 5})
    return config.model_copy(update={"tune": tune, **changes})


def trained(settings: Settings, config: ModelConfig, dataset: Dataset) -> Ablation:
    folder = settings.workspace.artefacts("churn")
    save_dataset(folder, dataset)
    write_json(folder / TUNING, {"params": {"num_leaves": 8, "learning_rate": 0.2}})
    train(settings, config)
    return take_apart(settings, config)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return churn_artefacts.settings(tmp_path_factory.mktemp("apart"))


@pytest.fixture(scope="module")
def found(settings: Settings) -> Ablation:
    return trained(settings, quick(), churn_artefacts.dataset(900))


def row(ablation: Ablation, name: str) -> Row:
    return next(row for row in ablation.rows if row.name == name)


def test_every_ingredient_has_a_row_and_a_sentence(settings: Settings, found: Ablation) -> None:
    names = [row.name for row in found.rows]
    assert names[:5] == ["with_bg_nbd", "without_rfm", "several_seeds", "without_calibration", "newest_snapshot_only"]
    assert set(names[5:]) == {"without_orders", "without_browsing"}
    written = read_json(settings.workspace.artefacts("churn") / ABLATION)
    assert written == json.loads(json.dumps(asdict(found)))
    assert {"dataset_hash", "model_hash", "reference", "rows", "train_rows", "sampled", "seconds"} <= set(written)
    assert all(row.verdict in found.text() for row in found.rows)
    assert "not chosen by them" in found.text()


def test_the_whole_is_the_model_that_was_fitted(settings: Settings, found: Ablation) -> None:
    training = read_json(settings.workspace.artefacts("churn") / TRAINING)
    assert found.reference.out_of_fold_log_loss == training["out_of_fold"]["calibrated_log_loss"]
    assert found.reference.rounds == training["rounds"]
    assert (found.sampled, found.folds) == (False, quick().split.folds)


def test_what_carries_the_signal_helps_and_says_so(found: Ablation) -> None:
    """Page views follow the label, and nothing else says what they say."""
    views = row(found, "without_browsing")
    assert views.difference.low is not None
    assert views.difference.low > 0
    assert "helps" in views.verdict
    assert views.columns == len(FEATURES) - 1
    assert row(found, "with_bg_nbd").columns == len(FEATURES) + 2


def test_differences_are_those_of_the_log_losses(found: Ablation) -> None:
    for each in found.rows:
        assert each.log_loss.estimate is not None
        assert found.reference.log_loss.estimate is not None
        gap = each.log_loss.estimate - found.reference.log_loss.estimate
        assert each.difference.estimate == pytest.approx(gap)
    raw, whole = row(found, "without_calibration"), found.reference
    assert raw.auc == whole.auc
    assert raw.log_loss != whole.log_loss


def test_posteriors_that_are_on_are_taken_away(tmp_path: Path) -> None:
    settings, data = churn_artefacts.settings(tmp_path), churn_artefacts.dataset(500)
    config = quick(inputs=InputsConfig(bg_nbd=churn_artefacts.config().baselines.bg_nbd))
    assert config.inputs.bg_nbd is not None
    rhythm = fit_rhythm(config.label, config.inputs.bg_nbd, data.rows)
    inputs = ModelInputs(FEATURES, FEATURES, rhythm)
    apart = trained(settings, config, Dataset(data.rows, replace(data.manifest, inputs=inputs)))
    taken = row(apart, "without_bg_nbd")
    assert (taken.columns, taken.adds) == (len(FEATURES), False)
    assert apart.reference.columns == len(FEATURES) + 2
    # The posteriors stay where the features that they are made of are taken away.
    assert row(apart, "without_rfm").columns == 2 + 2
    assert row(apart, "without_orders").columns == 2 + 2


def test_few_customers_and_one_snapshot_are_no_obstacle(tmp_path: Path) -> None:
    data = churn_artefacts.dataset(60)
    rows = data.rows[data.rows["snapshot"] != data.rows["snapshot"].min()].reset_index(drop=True)
    apart = trained(churn_artefacts.settings(tmp_path), quick(), Dataset(rows, data.manifest))
    assert "newest_snapshot_only" not in [row.name for row in apart.rows]


def test_many_rows_are_sampled_by_whole_customers(settings: Settings, found: Ablation) -> None:
    part = take_apart(settings, quick(), most_rows=600)
    assert part.sampled
    assert 500 < part.train_rows <= 600 < found.train_rows
    assert f"of {found.train_rows:,} rows" in part.text()
    dataset = load_dataset(settings.workspace.artefacts("churn"))
    variant = Variant("whole", "", "", ModelInputs(FEATURES, FEATURES), FitConfig())
    slow = {"rounds": 2_000_000, "params": {}}
    trial = trial_of(quick(), dataset, slow, [variant], None)
    assert trial.folds == 2
    assert "cross-validated on 2 folds" in trial.notes[0]
    take_apart(settings, quick())


def test_a_model_of_another_dataset_is_refused(settings: Settings, found: Ablation) -> None:
    folder = settings.workspace.artefacts("churn")
    kept = load_dataset(folder)
    try:
        save_dataset(folder, Dataset(kept.rows, replace(kept.manifest, dataset_hash="other")))
        with pytest.raises(UserError, match="another dataset"):
            take_apart(settings, quick())
    finally:
        save_dataset(folder, kept)


def names_of(config: ModelConfig, settings: Settings, **gains: float) -> list[str]:
    names = ("order_completed_count_30d", "page_viewed_count_30d", "application_opened_count_30d")
    made, _ = variants(config, settings.features, ModelInputs(names, names), gains, None)
    return [variant.name for variant in made]


def test_an_ingredient_that_is_on_is_taken_away_and_one_that_is_off_is_added(settings: Settings) -> None:
    on = quick(fit=FitConfig(seeds=3, monotone={"order_completed_count_30d": "lowers"}))
    assert {"one_seed", "without_monotone"} <= set(names_of(on, settings))
    off = names_of(quick(), settings)
    assert "several_seeds" in off
    assert not {"one_seed", "without_monotone", "with_bg_nbd", "without_rfm"} & set(off)


def test_views_are_ranked_by_gain_and_those_without_any_are_left_out(settings: Settings) -> None:
    made = names_of(quick(), settings, page_viewed_count_30d=5.0, order_completed_count_30d=9.0)
    assert [name for name in made if name in {"without_orders", "without_browsing", "without_app_use"}] == [
        "without_orders", "without_browsing",
    ]  # fmt: skip


def test_a_model_of_one_view_is_not_left_without_columns(settings: Settings) -> None:
    names = ("order_completed_count_30d",)
    made, _ = variants(quick(), settings.features, ModelInputs(names, names), {names[0]: 1.0}, None)
    assert all(variant.inputs.names for variant in made)
    assert without(ModelInputs(FEATURES, FEATURES), {"noise"}).names == FEATURES[:-1]


@pytest.mark.parametrize(
    ("adds", "difference", "words"),
    [
        (False, HELPS, "this helps; without it the model is worse"),
        (False, HARMS, "this harms; without it the model is better"),
        (False, UNKNOWN, "cannot tell whether this helps"),
        (True, HELPS, "with this the model would be worse"),
        (True, HARMS, "with this the model would be better"),
        (True, UNKNOWN, "cannot tell whether this would help"),
        (False, Interval(0.0, 0.0, 0.0), "no difference at all"),
        (False, Interval(None, None, None), "cannot be compared"),
    ],
)
def test_sentences_are_honest_about_intervals(adds: bool, difference: Interval, words: str) -> None:
    said = sentence("calibration", adds, difference)
    assert said.startswith("Calibration: ")
    assert words in said
    assert ("holds 0" in said) == (difference is UNKNOWN)


def test_raw_scores_are_the_calibrated_ones_with_the_line_taken_back(found: Ablation, settings: Settings) -> None:
    """By the definition: raw log-odds are (calibrated - intercept) / slope."""
    import lightgbm

    folder = settings.workspace.artefacts("churn")
    training, dataset = read_json(folder / TRAINING), load_dataset(folder)
    scores = lightgbm.Booster(model_file=folder / "model.txt").predict(dataset.inputs("test"), raw_score=True)
    line = training["calibration"]
    raw = (np.asarray(scores) - line["intercept"]) / line["slope"]
    labels = dataset.part("test")["label"].to_numpy(dtype=np.float64)
    assert row(found, "without_calibration").log_loss.estimate == pytest.approx(
        log_losses(labels, 1 / (1 + np.exp(-raw))).mean()
    )
