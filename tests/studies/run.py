"""Run a study by the `twin` command, as a user would, and read what it left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.artefacts import read_json
from pipelines.settings import CHECKOUT, Workspace
from tests.e2e.cli import TWIN
from tests.real_data import DATA
from tests.sources_table import FILES
from tests.studies.catalogue import Study


@dataclass(frozen=True, slots=True)
class Finding:
    """What one model of a study came to: its artefacts by name, or `refused`, what the command said instead."""

    study: str
    model: str
    seconds: float
    artefacts: dict[str, Any]
    refused: str | None


READ = ("dataset", "tuning", "training", "evaluation", "leakage", "ablation", "report", "registration")


def findings(study: Study, config_dir: Path) -> Iterator[Finding]:
    """Each model of the study, made from nothing; the workspace stays, for looking at its reports."""
    workspace = Workspace(study.workspace)
    for folder in (workspace.root, workspace.mlruns):
        shutil.rmtree(folder, ignore_errors=True)
    _fill(study, workspace, config_dir)
    for model in (*study.models, *study.companions):
        began = time.monotonic()
        done = twin(workspace, config_dir, "train", model)
        seconds = time.monotonic() - began
        if done.returncode == 0 and model in study.models:
            _look_closer(study, workspace, config_dir, model)
        folder = workspace.artefacts(model)
        left = {name: read_json(folder / f"{name}.json") for name in READ if (folder / f"{name}.json").exists()}
        yield Finding(study.name, model, seconds, left, None if done.returncode == 0 else done.stderr.strip())


def _look_closer(study: Study, workspace: Workspace, config_dir: Path, model: str) -> None:
    """What takes longer than a training should: more rows made again, and what is true where it is known."""
    _must(workspace, config_dir, "leakage", model, "--rows", "10000")
    if study.name == "demo":
        _must(workspace, config_dir, "evaluate", model, "--truth", "demo")


def _fill(study: Study, workspace: Workspace, config_dir: Path) -> None:
    if not study.sources:
        _must(workspace, config_dir, "demo", "--ingest-only")
    for source in study.sources:
        _must(workspace, config_dir, "ingest", "--source", source, str(DATA / FILES[source]))


def _must(workspace: Workspace, config_dir: Path, *arguments: str) -> None:
    done = twin(workspace, config_dir, *arguments)
    if done.returncode:
        raise SystemExit(f"twin {' '.join(arguments)}: {done.stderr}")


def twin(workspace: Workspace, config_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `twin ARGUMENTS`; what it says on stderr is progress, and passed on."""
    environment = {**os.environ, "TWIN_WORKSPACE": workspace.name, "TWIN_CONFIG_DIR": str(config_dir)}
    print(f"  $ twin --workspace {workspace.name} {' '.join(arguments)}", file=sys.stderr, flush=True)
    command: Sequence[str] = [*TWIN, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
