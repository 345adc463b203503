from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import bentoml
import lightgbm as lgb
import mlflow
import numpy as np
import pytest

from feature_repo.spec_content import FILE, compile_content, content_of, text_of
from pipelines.artefacts import (
    ABLATION,
    EVALUATION,
    LEAKAGE,
    MODEL,
    MODEL_CARD,
    REPORT,
    TUNING,
    file_hash,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.boosting import matrix
from pipelines.champions import registered_champions
from pipelines.console import UserError
from pipelines.register import Evidence, check_gates, export_champion, register, rollback
from pipelines.settings import Settings
from pipelines.settings.models import GateConfig
from pipelines.spec_versions import SpecVersions, content_behind
from pipelines.tracking import champion, connect
from pipelines.train import train
from tests.changed_spec import changed_settings
from tests.unit.model_parts import make_evaluation, make_leakage, make_settings, saved_dataset, small_config


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Trained and evaluated, not yet registered."""
    project = make_settings(tmp_path_factory.mktemp("register"))
    config = small_config(project)
    saved_dataset(project, config)
    folder = project.workspace.artefacts("churn")
    history = [{"trial": 0, "state": "complete", "loss": 0.5}]
    figures = {"rounds": 20, "trials": 1, "pruned": 0, "seconds": 1.0, "default_loss": 0.5, "best_loss": 0.5}
    write_json(folder / TUNING, {"params": {"num_leaves": 7}, "study": "s", "history": history, **figures})
    train(project, config)
    evaluated(project)
    return project


def evaluated(project: Settings, **changes: Any) -> None:
    """What the evaluate step leaves of the model that lies in the workspace."""
    folder = project.workspace.artefacts("churn")
    belongs = {"dataset_hash": load_dataset(folder).manifest.dataset_hash, "model_hash": file_hash(folder / MODEL)}
    write_json(folder / EVALUATION, make_evaluation(**{**belongs, **changes}))
    write_json(folder / LEAKAGE, make_leakage())


def trained_again(project: Settings, nudge: float) -> None:
    """Another model in the workspace: one leaf of the one that lies there moved by `nudge`."""
    file = project.workspace.artefacts("churn") / MODEL
    booster = lgb.Booster(model_file=file)
    booster.set_leaf_output(0, 0, booster.get_leaf_output(0, 0) + nudge)
    booster.save_model(file)


def failed(gates: GateConfig | None = None, **changes: Any) -> set[str]:
    known = {"leakage": make_leakage(), "has_slices": True}
    of = {name: changes.pop(name, known.get(name)) for name in ("leakage", "has_slices")}
    against = changes.pop("champion", "none")
    checked = check_gates(gates or GateConfig(), Evidence(make_evaluation(**changes), champion=against, **of))
    assert all(gate.text() for gate in checked)
    return {gate.name for gate in checked if not gate.passed}


def test_each_gate_holds_back_what_it_is_for() -> None:
    assert failed() == set()
    assert failed(test_rows=199) == {"minimum_test_rows"}
    assert failed(log_loss=0.645) == {"beats_base_rate_by"}, "an interval that reaches zero is no gain"
    assert failed(differences=[]) == {"beats_base_rate_by"}
    models = make_evaluation()["models"]
    models[1] |= {"auc": {"estimate": 0.54, "low": 0.5, "high": 0.6}}
    assert failed(models=models) == {"minimum_auc"}
    per_snapshot = make_evaluation()["per_snapshot"]
    per_snapshot[-1]["models"][1]["calibration_error"] = 0.1
    assert failed(per_snapshot=per_snapshot) == {"calibration_error_over_noise"}
    models[1] |= {"auc": {"estimate": None, "low": None, "high": None}}
    assert "minimum_auc" in failed(models=models), "what is not known is not passed"


def test_a_candidate_must_not_be_worse_than_the_champion() -> None:
    name = "maximum_loss_against_champion"
    assert failed(champion="comparable", against_champion=-0.01) == set()
    assert failed(champion="comparable", against_champion=0.0) == {name}, "0.01 may be lost, 0.005 is allowed"
    assert failed(champion="comparable") == {name}, "it was not compared"
    assert failed(champion="foreign") == set(), "a champion of other features stands in nobody's way"
    foreign = check_gates(GateConfig(), Evidence(make_evaluation(), leakage=make_leakage(), champion="foreign"))
    assert "another version of the features" in foreign[-1].meaning
    comparison = make_evaluation(against_champion=-0.01)["champion_comparison"]
    comparison["worst_slice"] = {
        "slice": "recency", "band": "over 60 days", "rows": 120,
        "log_loss": {"estimate": 0.0, "low": -0.01, "high": 0.11},
    }  # fmt: skip
    assert failed(champion="comparable", champion_comparison=comparison) == {f"{name}_in_slices"}
    comparison["worst_slice"]["log_loss"]["high"] = 0.1
    assert failed(champion="comparable", champion_comparison=comparison) == set()


def test_profit_counts_where_it_is_asked_for() -> None:
    asked = GateConfig(maximum_profit_lost_to_champion=0.5)
    comparison = make_evaluation(against_champion=-0.01)["champion_comparison"] | {"profit": None}
    assert failed(asked) == set(), "without a champion there is nothing to lose"
    assert failed(asked, champion="comparable", champion_comparison=comparison) == {"maximum_profit_lost_to_champion"}
    comparison["profit"] = {"estimate": 0.2, "low": -0.1, "high": 0.5}
    assert failed(asked, champion="comparable", champion_comparison=comparison) == set()
    comparison["profit"]["high"] = 0.51
    assert failed(asked, champion="comparable", champion_comparison=comparison) == {"maximum_profit_lost_to_champion"}
    assert failed(champion="comparable", champion_comparison=comparison) == set(), "nobody asked"


def test_no_slice_may_be_worse_than_its_own_base_rate() -> None:
    name = "worst_slice_loss_over_base_rate"
    worst = {"slice": "value", "band": "high", "rows": 150, "log_loss_over_base_rate": {"estimate": 0.05}}
    worst["log_loss_over_base_rate"] |= {"low": 0.021, "high": 0.08}
    assert failed(worst_slice=worst) == {name}
    worst["log_loss_over_base_rate"]["low"] = 0.02
    assert failed(worst_slice=worst) == set()
    assert failed(worst_slice=None) == set(), "no slice has enough rows"
    evaluation = make_evaluation()
    del evaluation["worst_slice"]
    gates = check_gates(GateConfig(), Evidence(evaluation, leakage=make_leakage(), has_slices=True))
    assert {gate.name for gate in gates if not gate.passed} == {name}
    assert "evaluate again" in next(gate.meaning for gate in gates if gate.name == name)
    gates = check_gates(GateConfig(), Evidence(evaluation, leakage=make_leakage(), has_slices=False))
    assert all(gate.passed for gate in gates), "no slices are configured"


def test_a_leakage_alarm_holds_back_and_so_does_not_having_looked() -> None:
    assert failed(leakage=make_leakage(shuffled_labels="shuffled labels are learned")) == {"leakage"}
    warning = make_leakage(random_split="a gap")
    warning["alarms"][1]["blocks"] = False
    assert failed(leakage=warning) == set(), "it warns the reader, and holds nobody back"
    assert failed(leakage=None) == {"leakage"}
    assert failed(GateConfig(leakage=False), leakage=None) == set()
    assert failed(leakage=make_leakage() | {"dataset_hash": "old"}, dataset_hash="new") == {"leakage"}
    gate = next(
        gate
        for gate in check_gates(GateConfig(), Evidence(make_evaluation(), leakage=make_leakage(random_split="a gap")))
        if gate.name == "leakage"
    )
    assert "random_split: a gap" in gate.text()
    unseen = check_gates(GateConfig(), Evidence(make_evaluation()))
    assert any("run twin leakage" in gate.text() for gate in unseen)


def test_a_simple_candidate_is_judged_by_its_own_figures() -> None:
    """What the evaluation says of the tuned one says nothing of it."""
    evaluation = make_evaluation(against_champion=-0.02)
    evaluation["models"].append({**evaluation["models"][1], "name": "logistic"})
    for snapshot in evaluation["per_snapshot"]:
        snapshot["models"].append({**snapshot["models"][1], "name": "logistic"})
    simple = Evidence(evaluation, "logistic", make_leakage(), True, "comparable")
    expected = {"beats_base_rate_by", "worst_slice_loss_over_base_rate", "maximum_loss_against_champion"}
    assert {gate.name for gate in check_gates(GateConfig(), simple) if not gate.passed} == expected
    gain = {
        "model": "logistic",
        "against": "base_rate",
        "metric": "log_loss",
        "estimate": -0.1,
        "low": -0.2,
        "high": -0.05,
    }
    evaluation["candidates"] = {
        "logistic": {
            "differences": [gain],
            "worst_slice": None,
            "champion_comparison": evaluation["champion_comparison"],
        }
    }
    assert all(gate.passed for gate in check_gates(GateConfig(), simple))


def test_without_a_champion_there_is_nothing_to_serve(tmp_path: Path) -> None:
    empty = make_settings(tmp_path)
    assert champion(empty, small_config(empty)) is None
    with pytest.raises(UserError, match="twin run"):
        export_champion(empty, small_config(empty))
    assert not empty.workspace.mlruns.exists()


def test_from_registration_to_the_model_store(project: Settings) -> None:
    """One life of two versions: the first becomes champion, the second fails a gate and does not replace it."""
    config, folder = small_config(project), project.workspace.artefacts("churn")
    dataset = load_dataset(folder)
    registration = register(project, config)
    assert registration.is_champion
    assert registration.version == "1"
    assert all(gate.passed for gate in registration.gates)

    found = champion(project, config)
    assert found is not None
    assert (found.version, found.run_id) == ("1", registration.run_id)
    manifest = found.manifest
    assert manifest["features"] == list(dataset.manifest.features)
    for name in ("lake_version", "identity_version", "spec_hash", "config_hash", "dataset_hash", "feature_service"):
        assert manifest[name] == getattr(dataset.manifest, name)
    assert manifest["params"] == {"num_leaves": 7}
    assert manifest["label"]["horizon"] == config.label.horizon

    features = matrix(dataset.features("test"))
    expected = lgb.Booster(model_file=folder / MODEL).predict(features)
    np.testing.assert_array_equal(lgb.Booster(model_file=found.file).predict(features), expected)
    served = mlflow.pyfunc.load_model("models:/churn@champion").predict(dataset.features("test"))
    np.testing.assert_array_equal(served, expected)

    exported = export_champion(project, config)
    assert exported == project.workspace.bentoml_home / "models" / "churn" / "1"
    assert {"model.lgb", "manifest.json", "model.yaml", FILE} <= {path.name for path in exported.iterdir()}
    for folder_with_content in (found.folder, exported):
        content = content_of((folder_with_content / FILE).read_text())
        assert compile_content(content, manifest["spec_hash"]).hash == project.features.hash
    assert [version.content for version in SpecVersions(project.workspace.specs).all()] == [project.spec_file]
    known = registered_champions(project)
    assert [(c.model, c.version, c.spec_hash) for c in known] == [("churn", "1", manifest["spec_hash"])]
    assert known[0].features == dataset.manifest.features
    np.testing.assert_array_equal(lgb.Booster(model_file=exported / "model.lgb").predict(features), expected)
    assert read_json(exported / "manifest.json") | {"version": "1"} == {
        **manifest, "model": "churn", "version": "1", "run_id": found.run_id,
    }  # fmt: skip
    before = (exported / "model.lgb").stat().st_mtime_ns
    # As one that was exported before its content went with it.
    (exported / FILE).unlink()
    assert export_champion(project, config) == exported
    assert (exported / "model.lgb").stat().st_mtime_ns == before
    assert (exported / FILE).read_text() == text_of(project.spec_file)

    evaluated(project, against_champion=0.0)
    again = register(project, config)
    assert (again.version, again.alias, again.is_new) == ("1", "champion", False)
    assert "Nothing new to register" in again.text()
    assert len(connect(project.workspace).search_model_versions("name='churn'")) == 1

    trained_again(project, 1e-6)
    evaluated(project, test_rows=10, against_champion=-0.02)
    second = register(project, config)
    assert (second.alias, second.version, second.previous_champion) == ("challenger", "2", "1")
    assert "FAILED  minimum_test_rows" in second.text()
    assert "10, threshold 200" in second.text()
    still = champion(project, config)
    assert still is not None
    assert still.version == "1"
    assert export_champion(project, config) == exported

    evaluated(project, against_champion=-0.02)
    third = register(project, config)
    assert third.is_champion
    # As an export leaves it that was cut off.
    (exported.parent / third.version).mkdir()
    assert export_champion(project, config).name == "3"
    client = connect(project.workspace)
    client.set_registered_model_alias("churn", "champion", "1")
    assert export_champion(project, config).name == "1", "going back to an old version"
    assert (exported.parent / "latest").read_text() == "1"
    evaluated(project, against_champion=-0.02)
    again = register(project, config)
    assert again.is_champion, "who moved the alias in MLflow said nothing of why"
    rollback(project, config, "too many wrong alarms")
    evaluated(project, against_champion=-0.02)
    again = register(project, config)
    assert (again.is_new, again.is_champion) == (False, False), "what was rolled back stays so"
    assert f"twin promote churn {again.version}" in again.text()


def test_the_run_holds_what_the_steps_left(project: Settings) -> None:
    config = small_config(project)
    folder = project.workspace.artefacts("churn")
    trained_again(project, 2e-6)
    evaluated(project, against_champion=-0.02)
    for name in (MODEL_CARD, REPORT, ABLATION):
        (folder / name).write_text("{}")
    registration = register(project, config)
    client = connect(project.workspace)
    run = client.get_run(registration.run_id)
    files = {file.path for file in client.list_artifacts(registration.run_id)}
    assert {"dataset.json", "tuning.json", "training.json", "evaluation.json", "trials.json", "baselines.json"} <= files
    assert run.data.metrics["test.lightgbm_tuned.log_loss.estimate"] == 0.5
    assert run.data.params["lightgbm.num_leaves"] == "7"
    assert run.data.params["label.horizon"] == config.label.horizon
    assert run.data.tags["dataset_hash"] == load_dataset(project.workspace.artefacts("churn")).manifest.dataset_hash
    assert {data.dataset.name for data in run.inputs.dataset_inputs} == {"churn train", "churn test"}

    assert run.data.metrics["difference.log_loss.lightgbm_tuned.minus.base_rate.high"] == pytest.approx(-0.14)
    assert run.data.metrics["gate.minimum_auc"] == 0.75
    assert {run.data.params[name] for name in ("tune.trials", "tune.seed")} == {"4", "7"}
    assert run.data.params["gates.minimum_test_rows"] == "200"
    assert (run.data.tags["version"], run.data.tags["alias"]) == (registration.version, registration.alias)
    assert {"registration.json", LEAKAGE, MODEL_CARD, REPORT, ABLATION} <= files
    assert "predictions.parquet" not in files, "rows of customers stay where an erasure finds them"
    assert run.data.metrics["champion_comparison.log_loss.high"] == pytest.approx(-0.01)
    assert run.data.metrics["leakage.shuffled_labels"] == 0.5
    assert run.data.tags["leakage_alarms"] == "none"
    assert run.data.metrics["training.seeds"] == 1
    version = client.get_model_version("churn", registration.version)
    assert (version.tags["kind"], version.tags["candidate"]) == ("booster", "lightgbm_tuned")


def test_an_evaluation_of_another_model_opens_no_gate(project: Settings) -> None:
    """The gates read `evaluation.json`: a model trained after it must not pass on its merits."""
    config, folder = small_config(project), project.workspace.artefacts("churn")
    before = len(connect(project.workspace).search_model_versions("name='churn'"))
    good = (folder / MODEL).read_text()
    try:
        (folder / MODEL).write_text(good.replace("shrinkage=0.1", "shrinkage=0.2"))
        with pytest.raises(UserError, match="belong together") as caught:
            register(project, config)
        assert [problem.field for problem in caught.value.problems] == [EVALUATION]
    finally:
        (folder / MODEL).write_text(good)
    evaluated(project, against_champion=-0.02, champion_hash="another")
    with pytest.raises(UserError, match="champion changed"):
        register(project, config)
    evaluated(project, dataset_hash="another")
    with pytest.raises(UserError, match="belong together"):
        register(project, config)
    assert len(connect(project.workspace).search_model_versions("name='churn'")) == before
    evaluated(project)


def test_without_what_the_features_are_nothing_is_registered(project: Settings, tmp_path: Path) -> None:
    """The configuration was changed since the dataset was made, and nobody kept what it was."""
    config = small_config(project)
    changed = changed_settings(project, tmp_path / "changed")
    kept = project.workspace.specs.rename(tmp_path / "kept")
    before = len(connect(project.workspace).search_model_versions("name='churn'"))
    try:
        with pytest.raises(UserError, match="make the dataset again"):
            register(changed, config)
    finally:
        kept.rename(project.workspace.specs)
    assert len(connect(project.workspace).search_model_versions("name='churn'")) == before
    assert content_behind(changed, project.features.hash) == project.spec_file


def test_the_store_is_readable_by_bentoml(project: Settings, tmp_path: Path) -> None:
    from bentoml._internal.models import ModelStore

    store = ModelStore(project.workspace.bentoml_home / "models")
    model = bentoml.models.get("churn:latest", _model_store=store)
    assert model.info.labels["spec_hash"] == read_json(Path(model.path_of("manifest.json")))["spec_hash"]


def test_a_champion_whose_files_are_gone_is_said(project: Settings) -> None:
    config = small_config(project)
    moved = replace(
        project, workspace=replace(project.workspace, checkout=project.workspace.checkout.with_name("moved"))
    )
    project.workspace.checkout.rename(moved.workspace.checkout)
    with pytest.raises(UserError, match="twin run"):
        champion(moved, config)
    moved.workspace.checkout.rename(project.workspace.checkout)
