"""A companion that is trained again stands beside the present champion: it may be better or as good, not worse."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import companions
from pipelines.artefacts import PREDICTIONS, REPORT, Dataset, load_dataset, save_dataset
from pipelines.companions import CompanionEvaluation
from pipelines.console import UserError
from pipelines.register import promote
from pipelines.registry import Registration
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import champion
from tests.reference.companion_artefacts import KINDS, Kind, config, dataset, saved

GATE = "maximum_loss_against_champion"
Trained = tuple[CompanionEvaluation, Registration]


def trained(place: Settings, asked: CompanionConfig) -> Trained:
    companions.fit(place, asked)
    evaluation = companions.evaluate(place, asked)
    companions.report(place, asked)
    return evaluation, companions.register(place, asked)


def of_few_trees(kind: Kind) -> CompanionConfig:
    """Better than the simplest baseline, and worse than a model that may grow as many trees as it needs."""
    asked = config(kind)
    return asked.model_copy(update={"tune": asked.tune.model_copy(update={"rounds": 3})})


def refused_by(registration: Registration) -> set[str]:
    return {gate.name for gate in registration.gates if not gate.passed}


@pytest.mark.parametrize("kind", KINDS)
def test_a_worse_one_is_refused_and_the_champion_stays(tmp_path: Path, kind: Kind) -> None:
    place = saved(tmp_path, kind)
    evaluation, first = trained(place, config(kind))
    assert (first.alias, evaluation.champion_version) == ("champion", None)
    assert GATE not in {gate.name for gate in first.gates}, "the first has nobody to be compared with"
    evaluation, second = trained(place, of_few_trees(kind))
    assert second.alias == "challenger", second.text()
    assert GATE in refused_by(second)
    assert "beats_simplest" not in refused_by(second)
    present = champion(place, config(kind))
    assert present is not None
    assert present.version == evaluation.champion_version == first.version
    assert [model.name for model in evaluation.models][-2:] == ["champion", "lightgbm"]
    assert "the present champion" in evaluation.verdict
    assert "simpler the present champion" not in evaluation.verdict
    page = (place.workspace.artefacts(kind) / REPORT).read_text(encoding="utf-8")
    assert "over Present champion" in page


@pytest.mark.parametrize("kind", KINDS)
def test_the_champion_is_scored_as_it_predicts(tmp_path: Path, kind: Kind) -> None:
    """The same model again: its predictions are the champion's, and nothing is gained or lost."""
    place = saved(tmp_path, kind, dataset(kind, 700))
    trained(place, config(kind))
    evaluation, again = trained(place, config(kind))
    assert not again.is_new
    gain = next(g for g in evaluation.gains if (g.against, g.metric) == ("champion", evaluation.judged_by))
    assert (gain.estimate, gain.low, gain.high) == (0.0, 0.0, 0.0)
    predicted = pd.read_parquet(place.workspace.artefacts(kind) / PREDICTIONS)
    own = [name for name in predicted if name.startswith("lightgbm")]
    assert own
    for name in own:
        np.testing.assert_array_equal(predicted[name], predicted[name.replace("lightgbm", "champion")])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_as_good_takes_its_place_where_there_are_many_customers(tmp_path: Path, kind: Kind) -> None:
    """It learns from as many other rows of the same law, so that no prediction is the same."""
    made = dataset(kind, 12_000)
    half = made.rows["customer_id"].str[-1].astype(int) % 2
    place = saved(tmp_path, kind, _learning_from(made, half == 0))
    first = trained(place, config(kind))[1]
    save_dataset(place.workspace.artefacts(kind), _learning_from(made, half == 1))
    evaluation, second = trained(place, config(kind))
    assert evaluation.test_rows > 3000
    assert (first.alias, second.alias, second.is_new) == ("champion", "champion", True), second.text()
    assert second.previous_champion == first.version


def _learning_from(made: Dataset, chosen: pd.Series) -> Dataset:
    rows = made.rows[chosen | (made.rows["part"] == "test")].reset_index(drop=True)
    return Dataset(rows, made.manifest)


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """Where a champion of the time to the next order is registered."""
    made = saved(tmp_path, "next_order", dataset("next_order", 900))
    assert trained(made, config("next_order"))[1].alias == "champion"
    return made


def _without_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _without_parts(folder: Path) -> None:
    (folder / "companion.json").unlink()


def _with_a_cut_booster(folder: Path) -> None:
    (folder / "model.lgb").write_text("tree\nversion=v4\n", encoding="utf-8")


def _with_cut_parts(folder: Path) -> None:
    (folder / "companion.json").write_text("{", encoding="utf-8")


@pytest.mark.parametrize("damage", [_without_folder, _without_parts, _with_a_cut_booster, _with_cut_parts])
def test_a_champion_whose_files_are_gone_is_told_and_replaced(place: Settings, damage: Callable[[Path], None]) -> None:
    present = champion(place, config("next_order"))
    assert present is not None
    damage(present.folder)
    evaluation, second = trained(place, of_few_trees("next_order"))
    assert f"champion, version {present.version}, is not compared: its files cannot be read" in evaluation.verdict
    assert "champion" not in {model.name for model in evaluation.models}
    assert second.alias == "champion", second.text()


def test_a_champion_of_other_features_is_told_and_stands_in_nobodys_way(place: Settings) -> None:
    other = dataclasses.replace(place, features=dataclasses.replace(place.features, utc_offset="+00:00"))
    made = dataset("next_order", 900)
    manifest = dataclasses.replace(made.manifest, spec_hash=other.features.hash)
    save_dataset(place.workspace.artefacts("next_order"), Dataset(made.rows, manifest))
    evaluation, second = trained(other, of_few_trees("next_order"))
    assert "is not compared: it reads another version of the features" in evaluation.verdict
    assert second.alias == "champion", second.text()


def test_a_champion_of_another_label_is_told_and_stands_in_nobodys_way(place: Settings) -> None:
    asked = of_few_trees("next_order")
    shorter = asked.model_copy(update={"label": asked.label.model_copy(update={"horizon": "59d"})})
    folder = place.workspace.artefacts("next_order")
    kept = load_dataset(folder)
    made_by = dataclasses.replace(kept.manifest, label=shorter.label.model_dump(mode="json"))
    save_dataset(folder, Dataset(kept.rows, made_by))
    try:
        evaluation, second = trained(place, shorter)
    finally:
        save_dataset(folder, kept)
    assert "is not compared: it was trained for another label (horizon)" in evaluation.verdict
    assert GATE not in {gate.name for gate in second.gates}


def test_a_champion_that_came_after_the_evaluation_asks_for_another_one(place: Settings) -> None:
    asked = of_few_trees("next_order")
    companions.fit(place, asked)
    file = place.workspace.artefacts("next_order") / "evaluation.json"
    companions.evaluate(place, asked)
    file.write_text(file.read_text("utf-8").replace('"champion_version": "1"', '"champion_version": null'), "utf-8")
    with pytest.raises(UserError, match="The champion changed since the evaluation"):
        companions.register(place, asked)


def test_what_a_person_took_the_alias_from_does_not_get_it_back_by_the_same_run(tmp_path: Path) -> None:
    asked = config("next_order")
    place = saved(tmp_path, "next_order")
    trained(place, asked)
    _, worse = trained(place, of_few_trees("next_order"))
    promote(place, asked, worse.version, "the first promised too much", despite_gates=True)
    _, again = trained(place, asked)
    assert (again.version, again.is_new, again.is_champion) == ("1", False, False), again.text()
    assert "twin promote next_order 1" in again.text()
    present = champion(place, asked)
    assert present is not None
    assert present.version == worse.version
