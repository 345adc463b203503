from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from pipelines.settings import CHECKOUT, Settings
from pipelines.tracking import connect, git_commit, inside_run, log_input, log_values, tracked_run
from tests.unit.model_parts import make_settings, small_config


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("tracking"))


def test_everything_of_a_run_lies_under_the_workspace(project: Settings) -> None:
    config = small_config(project)
    with tracked_run(project, config) as run_id:
        client = connect(project.workspace)
        log_values(
            client, run_id, {f"p{n}": n for n in range(150)}, {f"m{n}": n for n in range(1500)}, {"spec_hash": "abc"}
        )
        log_values(client, run_id, metrics={"nothing": None, "not_finite": math.nan})
        rows = pd.DataFrame({"customer_id": ["a"], "label": [1], "feature": [0.5]})
        log_input(rows, project.workspace.artefacts("churn") / "dataset.parquet", "churn train", "0" * 16, "train")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith(project.workspace.mlruns.as_uri())
    assert len(run.data.params) == 150
    assert len(run.data.metrics) == 1500
    assert run.data.tags["spec_hash"] == "abc"
    assert run.inputs.dataset_inputs[0].dataset.digest == "0" * 16
    assert client.get_experiment(run.info.experiment_id).name == "churn"


def test_a_run_that_breaks_is_marked_as_failed(project: Settings) -> None:
    made = []

    def training_that_breaks() -> None:
        with tracked_run(project, small_config(project)) as run_id:
            made.append(run_id)
            raise RuntimeError("the training broke")

    with pytest.raises(RuntimeError):
        training_that_breaks()
    assert connect(project.workspace).get_run(made[0]).info.status == "FAILED"


def test_a_finished_run_can_be_added_to(project: Settings) -> None:
    config = small_config(project)
    with tracked_run(project, config) as run_id, inside_run(project, config, run_id) as same:
        assert same == run_id == mlflow.active_run().info.run_id
    with inside_run(project, config, run_id):
        assert mlflow.active_run().info.run_id == run_id
    assert mlflow.active_run() is None


def test_a_moved_checkout_does_not_write_to_its_old_place(tmp_path: Path) -> None:
    config = small_config(make_settings(tmp_path / "old"))
    with tracked_run(make_settings(tmp_path / "old"), config):
        pass
    (tmp_path / "old").rename(tmp_path / "new")
    moved = make_settings(tmp_path / "new")
    with tracked_run(moved, config) as run_id:
        mlflow.log_text("here", "note.txt")
    run = connect(moved.workspace).get_run(run_id)
    assert run.info.artifact_uri.startswith((tmp_path / "new").as_uri())
    assert not (tmp_path / "old").exists()


def test_the_first_use_is_quiet(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.unit.model_parts import make_settings, small_config\n"
        "from pipelines.tracking import tracked_run\n"
        "project = make_settings(Path(sys.argv[1]))\n"
        "with tracked_run(project, small_config(project)): pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr == ""


def test_the_commit_is_known_or_absent() -> None:
    commit = git_commit()
    assert commit is None or len(commit) == 40
