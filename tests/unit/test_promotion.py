"""Versions are promoted, rolled back and looked up; simple models are registered like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from feature_repo.model_inputs import ModelInputs, inputs_from_json
from pipelines.access.audit import AuditLog
from pipelines.alias_moves import Move, line_of_champions, read_moves
from pipelines.artefacts import (
    EVALUATION,
    LEAKAGE,
    PREDICTIONS,
    TRAINING,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.cli import app
from pipelines.console import UserError
from pipelines.evaluate import evaluate
from pipelines.register import Registration, export_champion, history, promote, register, rollback
from pipelines.register.candidate import candidate, simpler
from pipelines.settings import Settings
from pipelines.tracking import CHAMPION, champion, connect
from tests.reference import churn_artefacts
from tests.reference.churn_artefacts import FEATURES
from tests.unit.model_parts import make_leakage

CONFIG = churn_artefacts.config()


def trained(checkout: Path) -> Settings:
    """As the steps before `evaluate` leave it, with small boosters."""
    settings = churn_artefacts.settings(checkout)
    folder = settings.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, churn_artefacts.dataset(900))
    calibration = {"slope": 1.0, "intercept": 0.0, "rows": 1, "snapshots": [], "note": ""}
    training = {"dataset_hash": "data", "params": {"num_leaves": 4}, "rounds": 40, "calibration": calibration}
    write_json(folder / TRAINING, {**training, "seeds": [1], "monotone": {}, "out_of_fold": {}})
    write_json(folder / LEAKAGE, make_leakage())
    return settings


def judged(settings: Settings) -> None:
    """Evaluated against the present champion, which is said to be no better than any of the candidates."""
    present = champion(settings, CONFIG)
    evaluate(settings, CONFIG, present.file if present else None, present.inputs if present else None)
    file = settings.workspace.artefacts("churn") / EVALUATION
    evaluation = read_json(file)
    nothing = {"estimate": 0.0, "low": -0.001, "high": 0.001}
    even = {"log_loss": nothing, "calibration_error": nothing, "profit": None, "worst_slice": None}
    evaluation["champion_comparison"] = even if present else None
    for item in evaluation["candidates"].values():
        item["champion_comparison"] = evaluation["champion_comparison"]
    write_json(file, evaluation)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return trained(tmp_path_factory.mktemp("promotion"))


@pytest.fixture(scope="module")
def registrations(settings: Settings) -> list[Registration]:
    """Version 1 is the booster, 2 the logistic regression, 3 BG/NBD, which failed its gates; 2 is champion."""
    made = []
    judged(settings)
    made.append(register(settings, CONFIG))
    judged(settings)
    made.append(register(settings, CONFIG, name="logistic"))
    judged(settings)
    strict = CONFIG.model_copy(update={"gates": CONFIG.gates.model_copy(update={"minimum_auc": 0.99})})
    made.append(register(settings, strict, name="bg_nbd_calibrated"))
    return made


def present(settings: Settings) -> str:
    found = champion(settings, CONFIG)
    assert found is not None
    exported = settings.workspace.bentoml_home / "models" / "churn" / "latest"
    assert exported.read_text() == found.version, "the service takes what the store calls latest"
    return found.version


def test_a_simple_model_becomes_champion_through_the_same_gates(
    settings: Settings, registrations: list[Registration]
) -> None:
    booster, logistic, bg_nbd = registrations
    assert booster.is_champion, booster.text()
    assert logistic.is_champion, logistic.text()
    assert (bg_nbd.alias, [gate.name for gate in bg_nbd.gates if not gate.passed]) == ("challenger", ["minimum_auc"])
    found = champion(settings, CONFIG)
    assert found is not None
    assert (found.version, found.kind, found.file.name) == ("2", "linear", "linear.json")
    assert found.manifest["candidate"] == "logistic"
    assert found.manifest["metrics"]["name"] == "logistic"
    assert "params" not in found.manifest


def test_mlflow_predicts_with_it_what_was_compared(settings: Settings, registrations: list[Registration]) -> None:
    """Loaded as anybody would; nothing in its folder is pickled."""
    folder = settings.workspace.artefacts("churn")
    predictions, dataset = pd.read_parquet(folder / PREDICTIONS), load_dataset(folder)
    client = connect(settings.workspace)
    for version, name in (("2", "logistic"), ("3", "bg_nbd_calibrated")):
        uri = f"models:/churn/{version}"
        place = Path(mlflow.artifacts.download_artifacts(uri))
        assert not [file for file in place.rglob("*") if file.suffix in (".pkl", ".pickle", ".joblib")]
        manifest = mlflow.models.Model.load(uri).metadata
        inputs = inputs_from_json(manifest["inputs"])
        values = inputs.matrix(dataset.features("test").to_numpy())
        columns = pd.DataFrame(values, columns=list(inputs.names))
        np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(columns), predictions[name])
        assert client.get_model_version("churn", version).tags["kind"] == "linear"


def test_a_linear_champion_is_compared_like_any_other(settings: Settings, registrations: list[Registration]) -> None:
    predictions = pd.read_parquet(settings.workspace.artefacts("churn") / PREDICTIONS)
    np.testing.assert_array_equal(predictions["champion"], predictions["logistic"])


def test_versions_are_promoted_and_rolled_back(settings: Settings, registrations: list[Registration]) -> None:
    export_champion(settings, CONFIG)
    assert present(settings) == "2"
    with pytest.raises(UserError, match="did not pass its gates") as refused:
        promote(settings, CONFIG, "3")
    assert [problem.field for problem in refused.value.problems] == ["minimum_auc"]
    assert present(settings) == "2"

    despite = promote(settings, CONFIG, "3", "agreed with sales", despite_gates=True)
    assert (despite.before, present(settings)) == ("2", "3")
    assert "candidate: logistic → bg_nbd_calibrated" in despite.text()
    assert "failed gates: minimum_auc" in despite.text()
    aliases = connect(settings.workspace).get_registered_model("churn").aliases
    assert {name: str(version) for name, version in aliases.items()} == {"champion": "3"}, (
        "it is no challenger any more"
    )
    assert not promote(settings, CONFIG, "3", despite_gates=True).moved

    assert rollback(settings, CONFIG, "too many calls").version == present(settings) == "2"
    assert rollback(settings, CONFIG).version == present(settings) == "1"
    with pytest.raises(UserError, match="to go back to"):
        rollback(settings, CONFIG)
    assert promote(settings, CONFIG, "2").moved
    assert rollback(settings, CONFIG).version == "1"

    # Somebody moves the alias in MLflow itself.
    connect(settings.workspace).set_registered_model_alias("churn", CHAMPION, "3")
    assert rollback(settings, CONFIG).version == present(settings) == "1"


def test_the_history_says_who_did_what_and_why(settings: Settings, registrations: list[Registration]) -> None:
    promote(settings, CONFIG, "2", "the yearly review")
    found = history(settings, CONFIG)
    assert [(item.version, item.kind, item.failed_gates) for item in found.versions] == [
        ("1", "booster", ()), ("2", "linear", ()), ("3", "linear", ("minimum_auc",))
    ]  # fmt: skip
    assert found.versions[1].aliases == ("champion",)
    last = found.moves[-1]
    assert (last.how, last.alias, last.version, last.reason) == ("promote", "champion", "2", "the yearly review")
    assert last.actor.startswith("os:")
    assert found.moves[0].how == "register"
    assert list(found.moves) == sorted(found.moves, key=lambda move: move.time)
    assert "the yearly review" in found.text()
    assert json.loads(json.dumps([move.how for move in found.moves]))
    log = AuditLog(settings.workspace.audit)
    log.verify()
    acts = [entry for entry in log.entries() if entry.subject == "model:churn"]
    assert [entry.action for entry in acts] == [f"model.{move.how}" for move in found.moves]
    assert acts[-1].details["reason"] == "the yearly review"


def test_what_is_not_there_is_a_clear_error(
    settings: Settings, registrations: list[Registration], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such version") as caught:
        promote(settings, CONFIG, "77")
    assert "1, 2, 3" in caught.value.problems[0].expected
    empty = churn_artefacts.settings(tmp_path)
    for act in (lambda: promote(empty, CONFIG, "1"), lambda: rollback(empty, CONFIG), lambda: history(empty, CONFIG)):
        with pytest.raises(UserError):
            act()
    assert not empty.workspace.audit.exists()
    with pytest.raises(UserError, match="no 'forest'") as unknown:
        register(settings, CONFIG, name="forest")
    assert "logistic, bg_nbd_calibrated" in unknown.value.problems[0].expected


def test_a_simple_model_that_is_not_worse_is_named_and_one_that_cannot_be_served_says_why(tmp_path: Path) -> None:
    settings = trained(tmp_path)
    folder = settings.workspace.artefacts("churn")
    judged(settings)
    evaluation = read_json(folder / EVALUATION)
    for row in evaluation["differences"]:
        row |= {"low": -0.02, "high": 0.01 if row["against"] in ("logistic", "bg_nbd_calibrated") else -0.01}
    write_json(folder / EVALUATION, evaluation)
    first = register(settings, CONFIG)
    assert "twin register churn --model logistic" in first.text()

    # The number of orders is read by the simple models alone.
    dataset = load_dataset(folder)
    fewer = tuple(name for name in FEATURES if name != FEATURES[2])
    lacking = replace(dataset.manifest, features=fewer, inputs=ModelInputs(fewer, fewer))
    told = simpler(folder, lacking, evaluation) or ""
    assert "cannot be served: the feature service churn lacks order_completed_count_lifetime" in told
    with pytest.raises(UserError, match="cannot be served") as caught:
        candidate(folder, lacking, "logistic")
    assert caught.value.problems[0].got == FEATURES[2]
    assert "features.yaml" in str(caught.value.problems[0].hint)


def test_the_commands_say_what_they_did(
    settings: Settings, registrations: list[Registration], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.cli.promotion.settings_of", lambda context: settings)

    def twin(*words: str) -> Result:
        return CliRunner().invoke(app, [*words])

    promote(settings, CONFIG, "1")
    done = twin("promote", "churn", "2", "--reason", "as agreed")
    assert done.exit_code == 0
    assert done.output.startswith("churn version 2 is champion now (before: version 1)")
    assert isinstance(twin("promote", "churn", "3").exception, UserError)
    assert json.loads(twin("promote", "churn", "3", "--despite-gates", "--json").output)["failed_gates"] == [
        "minimum_auc"
    ]
    assert "version 2 is champion" in twin("rollback", "churn").output
    told = json.loads(twin("history", "churn", "--json").output)
    assert [item["version"] for item in told["versions"]] == ["1", "2", "3"]
    assert [move["how"] for move in told["moves"]][-3:] == ["promote", "promote", "rollback"]
    assert "as agreed" in twin("history", "churn").output
    assert twin("history", "nothing").exit_code != 0


# --- the line of champions ---------------------------------------------------------------------


def move(how: str, version: str, before: str | None) -> Move:
    return Move("2026-01-01T00:00:00.000Z", how, CHAMPION, version, before, "os:me", "", ())  # type: ignore[arg-type]


@given(st.lists(st.one_of(st.just("back"), st.integers(1, 5).map(str)), max_size=30))
def test_the_line_of_champions_is_a_stack(acts: list[str]) -> None:
    """Oracle: a list that promotions append to and rollbacks pop from."""
    stack: list[str] = []
    moves: list[Move] = []
    for act in acts:
        before = stack[-1] if stack else None
        if act == "back":
            if len(stack) > 1:
                stack.pop()
                moves.append(move("rollback", stack[-1], before))
        elif act != before:
            stack.append(act)
            moves.append(move("promote", act, before))
    assert line_of_champions(moves, stack[-1] if stack else None) == stack


def test_a_champion_that_no_move_led_to_is_part_of_the_line() -> None:
    assert line_of_champions([], "4") == ["4"]
    assert line_of_champions([move("promote", "2", "1")], "2") == ["1", "2"]
    assert line_of_champions([move("register", "1", None), move("promote", "3", "2")], "3") == ["1", "2", "3"]
    assert line_of_champions([move("register", "1", None)], None) == ["1"]


def test_tags_of_others_are_no_moves() -> None:
    assert read_moves({"owner": "somebody"}) == []
