"""The champions of a Bento come into the workspace's model store, and nothing there is taken back."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.model_store import stored_models
from pipelines.settings import Settings, Workspace, load_settings
from serving.carried import take_carried


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(load_settings(), workspace=Workspace("test", checkout=tmp_path / "home"))


@pytest.fixture
def bento(tmp_path: Path) -> Path:
    made = tmp_path / "bento"
    made.mkdir()
    (made / "bento.yaml").write_text("service: serving.service:CustomerTwin\n")
    return made


def put(store: Path, version: str, said: str = "") -> None:
    folder = store / "models" / "churn" / version
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"spec_hash": "0" * 16, "version": version, "said": said}))
    (folder.parent / "latest").write_text(version)


def latest(settings: Settings) -> list[tuple[str, str]]:
    return [(model.model, model.version) for model in stored_models(settings.workspace.bentoml_home)]


def test_an_empty_store_gets_what_the_bento_has(settings: Settings, bento: Path) -> None:
    put(bento, "3")
    take_carried(settings, bento)
    assert latest(settings) == [("churn", "3")]
    assert {path.name for path in settings.workspace.bentoml_home.iterdir()} == {"models"}


def test_a_newer_bento_brings_its_champion_and_an_older_one_takes_nothing_back(settings: Settings, bento: Path) -> None:
    home = settings.workspace.bentoml_home
    put(home, "3")
    put(home, "4")
    put(bento, "3")
    take_carried(settings, bento)
    assert latest(settings) == [("churn", "4")]
    put(bento, "5")
    take_carried(settings, bento)
    take_carried(settings, bento)
    assert latest(settings) == [("churn", "5")]


def test_another_model_of_the_same_version_is_told(
    settings: Settings, bento: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(settings.workspace.bentoml_home, "3", "trained here")
    put(bento, "3", "trained elsewhere")
    with caplog.at_level(logging.WARNING, logger="bentoml.twin"):
        take_carried(settings, bento)
    assert "churn:3 is another" in caplog.text
    manifest = settings.workspace.bentoml_home / "models" / "churn" / "3" / "manifest.json"
    assert json.loads(manifest.read_text())["said"] == "trained here"


def test_outside_of_a_bento_nothing_is_taken(settings: Settings, bento: Path) -> None:
    put(bento, "3")
    (bento / "bento.yaml").unlink()
    take_carried(settings, bento)
    assert not settings.workspace.bentoml_home.exists()
