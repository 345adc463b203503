"""The main job on the real Online Retail file, through the command line: `twin run` to a registered model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.cli import quick_configs, throwaway_workspace, twin
from tests.real_data import ONLINE_RETAIL, needs_online_retail

BASELINES = ("Base rate", "RFM logistic regression", "BG/NBD", "Default LightGBM", "Tuned LightGBM")


@pytest.mark.slow
@needs_online_retail
def test_from_the_file_to_a_registered_model(tmp_path: Path) -> None:
    configs = quick_configs(tmp_path)
    with throwaway_workspace("online-retail") as workspace:
        ran = twin(workspace, "run", "--source", "online_retail", str(ONLINE_RETAIL), config_dir=configs)
        assert ran.returncode == 0, ran.stderr
        assert "320,705 rows read = 320,705 accepted + 0 duplicate + 0 quarantined" in ran.stdout
        for name in BASELINES:
            row = next(line for line in ran.stdout.splitlines() if line.strip().startswith(name))
            assert row.count("[") >= 3, "each figure stands with its interval"
        assert "Registered churn version 1 as" in ran.stdout
        registration = json.loads((workspace.artefacts("churn") / "registration.json").read_text())
        assert registration["manifest"]["features"]
        assert (workspace.artefacts("churn") / "report.html").stat().st_size > 100_000
        assert (workspace.mlruns / "mlflow.db").exists()

        again = twin(workspace, "ingest", "--source", "online_retail", str(ONLINE_RETAIL), "--json")
        report = json.loads(again.stdout)["ingest"]
        assert (report["accepted"], report["duplicate"], report["differing"]) == (0, 320_705, 0)
        assert report["lake_version"] == 1
