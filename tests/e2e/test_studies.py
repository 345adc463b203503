"""A study from the files to its tables, at the size of seconds; `make studies` runs all of them at full size."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.settings import Workspace
from tests.e2e.cli import quick_configs
from tests.studies.catalogue import STUDIES
from tests.studies.run import findings
from tests.studies.tables import headline, section

LEADS = next(study for study in STUDIES if study.name == "leads")


@pytest.mark.slow
@pytest.mark.skipif(bool(LEADS.missing), reason=f"no data: {', '.join(LEADS.missing)}")
def test_leads_become_a_model_and_its_tables(tmp_path: Path) -> None:
    study = replace(LEADS, name=f"leads-{os.getpid()}", prefix="test")
    workspace = Workspace(study.workspace)
    try:
        (found,) = findings(study, quick_configs(tmp_path, trials=2))
        assert found.refused is None
        text = section(found)
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.rmtree(workspace.mlruns, ignore_errors=True)
    for table in ("| model | log-loss | AUC |", "| slice | rows |", "| leakage check |", "| variant |", "Additivity: "):
        assert table in text, table
    alarms = {alarm["name"]: alarm for alarm in found.artefacts["leakage"]["alarms"]}
    assert alarms["truncated_log"]["figures"]["rows"] == 4779, "all rows were made again"
    assert alarms["truncated_log"]["figure"] == 0
    rates = {model["name"]: model["log_loss"]["estimate"] for model in found.artefacts["evaluation"]["models"]}
    assert rates["lightgbm_tuned"] < rates["base_rate"]
    assert headline([found]).splitlines()[-1].startswith("| lead_score |")
