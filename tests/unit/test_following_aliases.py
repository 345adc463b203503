"""Aliases that are moved in MLflow itself: what is exported, what is held back, what the history says."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.access.audit import AuditLog
from pipelines.champions import alias_versions, due_exports
from pipelines.cli import app
from pipelines.console import UserError
from pipelines.model_store import challenger_name, stored_models, stored_version
from pipelines.not_exported import read_not_exported
from pipelines.register import challenge, export_champion, history, promote
from pipelines.register.follow import export_or_keep, follow
from pipelines.settings import Settings
from pipelines.tracking import connect
from serving.api.pages import model_info
from serving.connection import Connection
from tests.registered import CHALLENGER, CHAMPION, by_hand, register_booster
from tests.unit.serving_parts import Shop, make_shop, train

CHALLENGING = challenger_name("churn")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Version 1 is champion and exported; 2 and 3 are registered as well."""
    made = make_shop(tmp_path)
    for seed in (1, 2, 3):
        alias = CHAMPION if seed == 1 else None
        register_booster(made.settings, train(made.features, seed), made.features, alias=alias)
    export_champion(made.settings, made.settings.models["churn"])
    return made


def stored(settings: Settings) -> tuple[str | None, str | None]:
    home = settings.workspace.bentoml_home
    return stored_version(home, "churn"), stored_version(home, CHALLENGING)


def test_what_is_due_is_where_the_store_lags_behind_the_aliases(shop: Shop) -> None:
    settings = shop.settings
    assert due_exports(settings) == {}
    by_hand(settings, CHAMPION, "2")
    by_hand(settings, CHALLENGER, "3")
    assert alias_versions(settings) == {("churn", CHAMPION): "2", ("churn", CHALLENGER): "3"}
    assert due_exports(settings) == {"churn": "2", CHALLENGING: "3"}
    assert follow(settings) == {}
    assert (due_exports(settings), stored(settings)) == ({}, ("2", "3"))
    assert [model.model for model in stored_models(settings.workspace.bentoml_home)] == ["churn"], (
        "a challenger is no champion: no states are kept for it"
    )
    by_hand(settings, CHALLENGER, None)
    by_hand(settings, CHAMPION, None)
    assert due_exports(settings) == {CHALLENGING: None}, "a champion is served on without its alias"
    assert follow(settings) == {}
    assert stored(settings) == ("2", None)


def test_the_history_and_the_audit_log_know_of_moves_by_hand(shop: Shop) -> None:
    settings, config = shop.settings, shop.settings.models["churn"]
    by_hand(settings, CHAMPION, "2")
    follow(settings)
    by_hand(settings, CHAMPION, "3")
    promote(settings, config, "1", "back to what we know")
    told = history(settings, config)
    moves = [(move.how, move.alias, move.before, move.version) for move in told.moves]
    assert moves == [
        ("register", CHAMPION, None, "1"), ("by_hand", CHAMPION, "1", "2"), ("by_hand", CHAMPION, "2", "3"),
        ("promote", CHAMPION, "3", "1"),
    ]  # fmt: skip
    assert "champion → 2 (before: 1)  by hand in MLflow" in told.text()
    log = AuditLog(settings.workspace.audit)
    log.verify()
    acts = [(entry.action, entry.actor) for entry in log.entries()]
    assert acts[1:3] == [("model.by_hand", "unknown")] * 2


def test_a_version_without_its_files_is_held_back_and_the_old_one_serves_on(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    settings = shop.settings
    connected = Connection(settings, shop.open_reader)
    shutil.rmtree(_files(settings, "2"))
    by_hand(settings, CHAMPION, "2")
    assert list(follow(settings)) == ["churn"]
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            connected.look()
    predictor = connected.wiring().predictor("churn")
    info = model_info(connected.wiring(), "churn")
    assert (predictor.champion.version, info.served, info.model_version) == ("1", True, "1")
    assert info.held_back is not None
    assert (info.held_back.code, "version 2" in info.held_back.message) == ("not_exported", True)
    assert caplog.text.count("what was served before is served still") == 1, "told once"
    # `twin serve` starts all the same, with the one before.
    assert export_or_keep(settings, settings.models["churn"]) is not None
    by_hand(settings, CHAMPION, "3")
    assert follow(settings) == {}
    connected.look()
    info = model_info(connected.wiring(), "churn")
    assert (info.model_version, info.held_back) == ("3", None)
    assert read_not_exported(settings.workspace.bentoml_home) == {}


def test_moving_an_alias_back_ends_what_was_told_of_it(shop: Shop) -> None:
    settings = shop.settings
    for alias in (CHAMPION, CHALLENGER):
        shutil.rmtree(_files(settings, "2"), ignore_errors=True)
        by_hand(settings, alias, "2")
    assert set(follow(settings)) == {"churn", CHALLENGING}
    connected = Connection(settings, shop.open_reader)
    assert model_info(connected.wiring(), "churn").held_back is not None
    by_hand(settings, CHAMPION, "1")
    by_hand(settings, CHALLENGER, None)
    assert due_exports(settings) == {"churn": "1", CHALLENGING: None}
    assert follow(settings) == {}
    connected.look()
    info = model_info(connected.wiring(), "churn")
    assert (info.model_version, info.held_back, info.challenger) == ("1", None, None)
    assert due_exports(settings) == {}


def _files(settings: Settings, version: str) -> Path:
    """Where MLflow has the files of a version."""
    uri = connect(settings.workspace).get_model_version_download_uri("churn", version)
    return Path(uri.removeprefix("file://"))


@pytest.mark.parametrize("broken", ["model", "manifest"])
def test_what_is_no_model_of_ours_is_held_back(shop: Shop, broken: str) -> None:
    settings = shop.settings
    folder = _files(settings, "2")
    if broken == "model":
        (folder / "model.lgb").unlink()
    else:
        text = (folder / "MLmodel").read_text()
        (folder / "MLmodel").write_text(text.replace("spec_hash", "other_hash"))
    by_hand(settings, CHAMPION, "2")
    assert list(follow(settings)) == ["churn"]
    assert stored(settings) == ("1", None)
    assert read_not_exported(settings.workspace.bentoml_home)["churn"].version == "2"


def test_a_version_of_other_features_is_refused_by_the_service(shop: Shop) -> None:
    settings, fewer = shop.settings, shop.features[:-1]
    version = register_booster(settings, train(fewer), fewer, alias=None)
    connected = Connection(settings, shop.open_reader)
    by_hand(settings, CHAMPION, version)
    assert follow(settings) == {}
    connected.look()
    info = model_info(connected.wiring(), "churn")
    assert (info.model_version, info.held_back and info.held_back.code) == ("1", "model_mismatch")


def test_a_challenger_is_set_and_taken_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, config = shop.settings, shop.settings.models["churn"]
    monkeypatch.setattr("pipelines.cli.promotion.settings_of", lambda context: settings)
    done = CliRunner().invoke(app, ["challenge", "churn", "--version", "2", "--reason", "to be compared"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("churn version 2 is challenger now")
    assert stored(settings) == ("1", "2")
    assert not challenge(settings, config, "2").moved
    assert "no challenger now (before: version 2)" in challenge(settings, config, None).text()
    assert stored(settings) == ("1", None)
    with pytest.raises(UserError, match="is the champion"):
        challenge(settings, config, "1")
    with pytest.raises(UserError, match="no such version"):
        challenge(settings, config, "77")
    for words in (["challenge", "churn"], ["challenge", "churn", "--version", "2", "--none"]):
        assert CliRunner().invoke(app, words).exit_code == 2
    moves = [(move.how, move.alias, move.version) for move in history(settings, config).moves]
    assert moves[1:] == [("challenge", CHALLENGER, "2"), ("challenge", CHALLENGER, None)]


def test_who_becomes_champion_is_challenger_no_more(shop: Shop) -> None:
    settings, config = shop.settings, shop.settings.models["churn"]
    challenge(settings, config, "2")
    promote(settings, config, "2")
    assert stored(settings) == ("2", None)
    assert alias_versions(settings) == {("churn", CHAMPION): "2"}
    challenge(settings, config, "3")
    promote(settings, config, "1")
    assert stored(settings) == ("1", "3"), "another one stays"


def test_a_damaged_copy_of_the_champion_is_exported_again(shop: Shop) -> None:
    settings, config = shop.settings, shop.settings.models["churn"]
    file = settings.workspace.bentoml_home / "models" / "churn" / "1" / "model.lgb"
    whole = file.read_bytes()
    file.unlink()
    export_champion(settings, config)
    assert file.read_bytes() == whole


def test_a_workspace_without_a_registry_has_nothing_due(tmp_path: Path) -> None:
    made = make_shop(tmp_path)
    made.publish("1")
    assert due_exports(made.settings) == {}
    nothing = replace(made.settings, models={})
    assert due_exports(nothing) == {}
