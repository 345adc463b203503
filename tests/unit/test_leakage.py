"""Leaks that are planted raise the alarm that is for them, and a clean dataset raises none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from feature_repo.membership import load
from feature_repo.windows import DAY
from pipelines.artefacts import ID_COLUMNS, LEAKAGE, MODEL, TUNING, Dataset, load_dataset, save_dataset, write_json
from pipelines.console import UserError
from pipelines.dataset import build_dataset
from pipelines.dataset.again import DatasetAgain
from pipelines.feature_store import open_feature_store
from pipelines.leakage import Alarm, CutLog, Leakage, look_for_leakage
from pipelines.leakage.areas import area_within
from pipelines.leakage.columns import single_feature
from pipelines.leakage.learning import Rows, random_split_gap, rows_of, shuffled_labels, time_in_features
from pipelines.leakage.truncated import sample_rows, truncated_log
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.train import train
from tests.contract.feature_lake import write_lake
from tests.unit.model_parts import make_dataset, make_settings, small_config

WINDOW = 60 * DAY
CUSTOMERS = [f"customer-{number:03d}" for number in range(120)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake with late, anonymous and equal events, and a dataset and a model of it."""
    project = make_settings(tmp_path_factory.mktemp("doubt"))
    write_lake(project.workspace.lake, 6_000, CUSTOMERS)
    config = config_of(project)
    build_dataset(project, config, open_feature_store(project))
    write_json(project.workspace.artefacts("churn") / TUNING, {"params": {}})
    train(project, config)
    return project


@pytest.fixture
def dataset(project: Settings) -> Dataset:
    return load_dataset(project.workspace.artefacts("churn"))


def config_of(project: Settings, rows: int = 400) -> ModelConfig:
    config = small_config(project)
    return config.model_copy(
        update={
            "snapshots": config.snapshots.model_copy(update={"at_least_customers": 10, "every": "30d", "most": 5}),
            "leakage": config.leakage.model_copy(update={"truncated_rows": rows}),
        }
    )


def again_of(project: Settings) -> DatasetAgain:
    return DatasetAgain(project, config_of(project), open_feature_store(project))


def truncated(project: Settings, dataset: Dataset, rows: int = 400) -> Alarm:
    return truncated_log(project, dataset, again_of(project), WINDOW, rows)


def found(leakage: Leakage, name: str) -> Alarm:
    return next(alarm for alarm in leakage.alarms if alarm.name == name)


def test_a_clean_dataset_raises_no_alarm(project: Settings, dataset: Dataset) -> None:
    leakage = look_for_leakage(project, config_of(project), again_of(project))
    assert not leakage.raised, leakage.text()
    folder = project.workspace.artefacts("churn")
    written = json.loads((folder / LEAKAGE).read_text())
    assert written == json.loads(json.dumps(asdict(leakage)))
    assert [alarm.name for alarm in leakage.alarms] == [
        "truncated_log", "shuffled_labels", "random_split_gap", "single_feature", "time_in_features",
    ]  # fmt: skip
    cut = found(leakage, "truncated_log")
    assert (cut.figure, cut.figures["rows"]) == (0, 400)
    assert cut.figures["instants"] == dataset.rows["as_of"].nunique()
    assert cut.figures["values"] == 400 * (len(dataset.rows.columns) - len(ID_COLUMNS) + 1)
    assert all(f"  {alarm.name}" in leakage.text() for alarm in leakage.alarms)


def test_nothing_of_the_cut_log_stays_and_no_customer_is_named(project: Settings) -> None:
    look_for_leakage(project, config_of(project, 20), again_of(project))
    folder = project.workspace.artefacts("churn")
    assert not list(folder.glob("cut_log*"))
    assert "customer-0" not in (folder / LEAKAGE).read_text()


def test_a_window_that_reaches_into_the_future_is_found(project: Settings, dataset: Dataset) -> None:
    """The feature as it is three days later, everything else as it was."""
    name = "page_viewed_count_30d"
    points = dataset.rows[["customer_id", "as_of"]].assign(as_of=dataset.rows["as_of"].astype("int64") + 3 * DAY)
    membership = load(project.workspace.membership, dataset.manifest.identity_version)
    assert membership is not None
    later = again_of(project).features(CutLog(project.workspace.lake, membership), points)[name]
    shifted = Dataset(dataset.rows.assign(**{name: later}), dataset.manifest)
    alarm = truncated(project, shifted, len(dataset.rows))
    different = int((later != dataset.rows[name]).sum())
    assert alarm.raised
    assert alarm.figure == different > 20
    assert f"({name} {different:,})" in alarm.detail


def test_labels_of_another_window_are_found(project: Settings, dataset: Dataset) -> None:
    wrong = np.random.default_rng(1).choice(len(dataset.rows), 30, replace=False)
    labels = dataset.rows["label"].copy()
    labels.iloc[wrong] = 1 - labels.iloc[wrong]
    alarm = truncated(project, Dataset(dataset.rows.assign(label=labels), dataset.manifest), len(dataset.rows))
    assert (alarm.raised, alarm.figure) == (True, 30)
    assert "label 30" in alarm.detail


def test_customers_who_were_not_in_the_population_are_found(project: Settings, dataset: Dataset) -> None:
    """Rows of somebody without any event."""
    rows = dataset.rows.assign(customer_id=dataset.rows["customer_id"].where(dataset.rows.index > 4, "nobody"))
    rows = rows.drop_duplicates(["customer_id", "as_of"], ignore_index=True)
    alarm = truncated(project, Dataset(rows, dataset.manifest), len(rows))
    assert alarm.raised
    assert "population" in alarm.detail


def test_rows_right_after_openings_are_made_again_at_an_instant_each(tmp_path: Path) -> None:
    project = make_settings(tmp_path)
    write_lake(project.workspace.lake, 2_500, CUSTOMERS)
    raw = config_of(project).model_dump()
    raw["label"] = {
        "kind": "conversion", "opened_by": ["Email Opened"], "open_for": "30d", "goal_events": ["Order Completed"],
        "horizon": "20d",
    }  # fmt: skip
    raw["snapshots"] |= {"at": "opening", "every": "90d", "at_least_customers": 5}
    config = ModelConfig.model_validate(raw)
    build_dataset(project, config, open_feature_store(project))
    made = load_dataset(project.workspace.artefacts("churn"))
    again = DatasetAgain(project, config, open_feature_store(project))
    alarm = truncated_log(project, made, again, 20 * DAY, 300)
    assert not alarm.raised, alarm.detail
    assert alarm.figures["rows"] == 300
    assert alarm.figures["instants"] > 50
    wrong = Dataset(made.rows.assign(label=1 - made.rows["label"]), made.manifest)
    assert truncated_log(project, wrong, again, 20 * DAY, 60).figure == 60


def test_a_dataset_of_other_features_or_labels_is_refused(project: Settings) -> None:
    folder, config = project.workspace.artefacts("churn"), config_of(project)
    kept = load_dataset(folder)
    longer = config.model_copy(update={"label": config.label.model_copy(update={"horizon": "61d"})})
    with pytest.raises(UserError, match="label rule was changed"):
        look_for_leakage(project, longer, again_of(project))
    try:
        save_dataset(folder, Dataset(kept.rows, replace(kept.manifest, lake_version=99)))
        with pytest.raises(UserError, match="version 99 of the lake"):
            look_for_leakage(project, config, again_of(project))
        save_dataset(folder, Dataset(kept.rows, replace(kept.manifest, spec_hash="other")))
        with pytest.raises(UserError, match="features"):
            look_for_leakage(project, config, again_of(project))
    finally:
        save_dataset(folder, kept)


def test_a_column_that_holds_the_label_is_named() -> None:
    dataset = make_dataset(300)
    noise = np.random.default_rng(2).normal(0, 0.2, len(dataset.rows))
    planted = Dataset(dataset.rows.assign(feature_4=dataset.rows["label"] + noise), dataset.manifest)
    assert not single_feature(dataset, 0.95).raised
    alarm = single_feature(planted, 0.95)
    assert alarm.raised
    assert "feature_4 (value" in alarm.detail


def test_a_column_that_is_filled_because_of_the_outcome_is_named() -> None:
    dataset = make_dataset(300)
    filled = np.where(dataset.rows["label"] == 1, 5.0, np.nan)
    alarm = single_feature(Dataset(dataset.rows.assign(feature_5=filled), dataset.manifest), 0.95)
    assert alarm.raised
    assert "feature_5 (is empty" in alarm.detail


def test_rows_of_a_customer_on_both_sides_make_a_gap() -> None:
    """Labels that belong to the customer, and columns that say only who it is; the test is other customers'."""
    dataset = make_dataset(300)
    generator = np.random.default_rng(3)
    who = pd.factorize(dataset.rows["customer_id"])[0] + 300 * (dataset.rows["part"] == "test").to_numpy()
    own = generator.normal(size=(600, 6))
    columns = {f"feature_{at}": own[who, at] for at in range(6)}
    memorable = Dataset(dataset.rows.assign(label=generator.integers(0, 2, 600)[who], **columns), dataset.manifest)
    memorable.rows["customer_id"] = [f"{number}" for number in who]
    alarm = random_split_gap(rows_of(memorable), 0.05)
    assert alarm.raised
    assert not alarm.blocks
    assert alarm.figures["same_customers"] > 0.2
    assert abs(alarm.figures["same_time"]) < 0.1
    assert not random_split_gap(rows_of(dataset), 0.05).raised


def test_rows_are_judged_by_other_rows_of_the_split_alone() -> None:
    """Against LightGBM fitted on the very rows, one split at a time."""
    from pipelines.leakage import learning

    rows = rows_of(make_dataset(80))
    splits, earlier = rows.customers % 2, ~rows.is_test
    found = learning._held_out(rows, rows.labels, splits, 10, earlier, rows.is_test)
    assert np.isnan(found[earlier]).all()
    for split in (0, 1):
        judged, fit = (splits == split) & rows.is_test, (splits != split) & earlier
        data = learning.bin_values(rows.values, rows.labels, rows.names, learning.SEED)
        part = data.subset(np.flatnonzero(fit))
        expected = lgb.train(learning.parameters({}, learning.SEED, 10), part, 10).predict(rows.values[judged])
        np.testing.assert_array_equal(found[judged], expected)


def test_a_model_of_other_customers_does_not_know_what_it_may_not() -> None:
    """Labels and columns of the customer alone, the same at every snapshot: other customers teach nothing."""
    dataset = make_dataset(200)
    who = pd.factorize(dataset.rows["customer_id"])[0]
    generator = np.random.default_rng(5)
    columns = {f"feature_{at}": generator.normal(size=200)[who] for at in range(6)}
    own = Dataset(dataset.rows.assign(label=generator.integers(0, 2, 200)[who], **columns), dataset.manifest)
    figures = random_split_gap(rows_of(own), 0.05).figures
    assert figures["random_auc"] > 0.95
    assert figures["out_of_time_auc"] > 0.95
    assert abs(figures["by_customers_auc"] - 0.5) < 0.12
    assert abs(figures["out_of_time_and_customers_auc"] - 0.5) < 0.12


def test_shuffled_labels_cannot_be_learned_and_few_rows_raise_no_false_alarm() -> None:
    for customers in (60, 400):
        alarm = shuffled_labels(rows_of(make_dataset(customers)), 0.02)
        assert not alarm.raised, alarm.detail
    assert alarm.threshold == pytest.approx(0.02, abs=0.02)


def test_shuffled_labels_that_are_learned_raise_the_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A permutation that leaves most labels where they were."""
    from pipelines.leakage import learning

    def lazy(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
        return np.where(np.random.default_rng(seed).random(len(labels)) < 0.3, 1 - labels, labels)

    monkeypatch.setattr(learning, "_permuted", lazy)
    assert shuffled_labels(rows_of(make_dataset(300)), 0.02).raised


def test_time_in_a_column_is_told_and_is_no_alarm() -> None:
    dataset = make_dataset(200)
    days = dataset.rows["as_of"].astype("int64") / DAY
    alarm = time_in_features(rows_of(Dataset(dataset.rows.assign(feature_3=days), dataset.manifest)))
    assert not alarm.raised
    assert alarm.figure == pytest.approx(1.0)
    assert "feature_3 100% (alone AUC 1.000)" in alarm.detail
    apart = time_in_features(rows_of(dataset)).figure
    assert apart is not None
    assert abs(apart - 0.5) < 0.1


def test_areas_within_groups_see_no_difference_between_groups() -> None:
    groups = np.repeat([0, 1], 500)
    labels = (np.random.default_rng(0).random(1000) < np.where(groups == 1, 0.9, 0.1)).astype(float)
    assert area_within(labels, groups.astype(float), groups).auc == 0.5
    # Against the definition: pairs within each group, ties half.
    scores = np.random.default_rng(1).integers(0, 9, 1000).astype(float)
    wins = pairs = 0.0
    for group in (0, 1):
        positive = scores[(groups == group) & (labels == 1)][:, None]
        negative = scores[(groups == group) & (labels == 0)][None, :]
        wins += float((positive > negative).sum() + 0.5 * (positive == negative).sum())
        pairs += positive.size * negative.size
    assert area_within(labels, scores, groups).auc == pytest.approx(wins / pairs)


def test_the_chance_error_is_that_of_random_scores() -> None:
    generator = np.random.default_rng(0)
    labels, groups = (generator.random(300) < 0.3).astype(float), np.repeat([0, 1, 2], 100)
    drawn = [area_within(labels, generator.random(300), groups) for _ in range(2000)]
    assert np.std([area.auc for area in drawn]) == pytest.approx(drawn[0].chance_error, rel=0.06)


@pytest.mark.parametrize("wanted", [10, 301, 5_000])
def test_samples_are_spread_over_snapshots_and_hold_a_customer_once_a_copy(wanted: int) -> None:
    rows = make_dataset(100).rows
    sample = sample_rows(rows, wanted)
    assert len(sample) == min(wanted, len(rows))
    assert sample["snapshot"].nunique() == 4
    assert sample["copy"].nunique() == -(-min(wanted, len(rows)) // 100)
    assert not sample.duplicated(["copy", "customer_id"]).any()
    assert not sample.duplicated(["as_of", "customer_id"]).any()


def test_rows_hold_both_parts() -> None:
    dataset = make_dataset(50)
    rows = rows_of(dataset)
    assert isinstance(rows, Rows)
    assert rows.is_test.sum() == len(dataset.part("test"))
    assert rows.values.shape == (200, 6)


def test_the_model_is_needed(tmp_path: Path, project: Settings) -> None:
    folder = project.workspace.artefacts("churn")
    kept = (folder / MODEL).read_bytes()
    (folder / MODEL).unlink()
    try:
        with pytest.raises(FileNotFoundError):
            look_for_leakage(project, config_of(project), again_of(project))
    finally:
        (folder / MODEL).write_bytes(kept)
