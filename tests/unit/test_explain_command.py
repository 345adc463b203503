"""`twin report`: where everything is, and the key figures for a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.artefacts import MODEL_CARD, REPORT, REPORT_FIGURES
from pipelines.cli import app
from pipelines.cli.output import Choice
from pipelines.console import UserError
from pipelines.evaluate import evaluate
from pipelines.explain import explain
from pipelines.settings import Settings
from tests.reference import churn_artefacts


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    made = churn_artefacts.settings(tmp_path)
    monkeypatch.setattr(Choice, "settings", lambda _: made)
    return made


def test_without_a_report_it_says_what_to_run(settings: Settings) -> None:
    with pytest.raises(UserError, match="no report of churn yet"):
        CliRunner().invoke(app, ["report", "churn"], catch_exceptions=False)


def test_it_names_the_page_and_the_card_and_gives_key_figures_as_json(settings: Settings) -> None:
    folder = settings.workspace.artefacts("churn")
    churn_artefacts.save_all(folder, churn_artefacts.dataset(400))
    evaluate(settings, churn_artefacts.config())
    summary = explain(settings, churn_artefacts.config())
    told = CliRunner().invoke(app, ["report", "churn"], catch_exceptions=False)
    assert told.stdout.split() == [str(folder / REPORT), str(folder / MODEL_CARD)]
    figures = json.loads(CliRunner().invoke(app, ["report", "churn", "--json"], catch_exceptions=False).stdout)
    assert figures["figures"] == str(folder / REPORT_FIGURES)
    assert len(figures["answers"]) == 7
    assert figures["top_features"] == list(summary.top_features)
    assert figures["worst_additivity_gap"] == summary.gap
    assert figures["stability"]["folds"] == summary.stability["folds"]
