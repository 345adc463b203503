"""A model of actions by the `twin` command, from a made-up retailer to the model store that the service reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.artefacts import EVALUATION, REGISTRATION, read_json
from tests.e2e.cli import quick_configs, throwaway_workspace, twin

MODEL = "next_best_action"


@pytest.mark.slow
def test_from_assignments_to_a_champion_that_a_person_answers_for(tmp_path: Path) -> None:
    """600 customers are too few to show anything: it stays a challenger until somebody says why not."""
    configs = quick_configs(tmp_path, trials=1, customers=600)
    with throwaway_workspace("actions") as workspace:
        made = twin(workspace, "demo", "--ingest-only", config_dir=configs)
        assert made.returncode == 0, made.stderr
        trained = twin(workspace, "train", MODEL, "--json", config_dir=configs)
        assert trained.returncode == 0, trained.stderr
        assert list(json.loads(trained.stdout)) == ["dataset", "fit", "evaluate", "explain", "register"]
        folder = workspace.artefacts(MODEL)
        evaluation, registration = read_json(folder / EVALUATION), read_json(folder / REGISTRATION)
        assert evaluation["actions"] == ["email_coupon", "line_coupon"]
        assert evaluation["currency"] == "THB"
        assert evaluation["randomised"]
        assert {row["name"] for row in evaluation["policies"]} >= {"no_action", "random", "propensity", "chosen"}
        assert registration["alias"] == "challenger"
        assert not (workspace.bentoml_home / "models" / MODEL).exists()
        refused = twin(workspace, "promote", MODEL, "1", config_dir=configs)
        assert refused.returncode != 0
        assert "did not pass its gates" in refused.stderr
        promoted = twin(
            workspace, "promote", MODEL, "1", "--despite-gates", "--reason", "a test of the way", config_dir=configs
        )
        assert promoted.returncode == 0, promoted.stderr
        store = workspace.bentoml_home / "models" / MODEL / "1"
        assert json.loads((store / "manifest.json").read_text())["kind"] == "effects"
        assert (store / "effects.json").exists()
        missing = twin(workspace, "tune", MODEL, config_dir=configs)
        assert "has no step 'tune' of its own" in missing.stderr
