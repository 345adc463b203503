"""What every registered version has, whatever it predicts: where it comes from, and its entry in MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightgbm as lgb
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE, text_of
from feature_repo.spec_file import SpecFile
from pipelines.artefacts import DATASET_MANIFEST, DatasetManifest
from pipelines.console import UserError
from pipelines.gate import Gate
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.spec_versions import content_behind
from pipelines.tracking import git_commit


def made_from(config: LearningConfig, dataset: DatasetManifest, gates: Sequence[Gate]) -> dict[str, Any]:
    """The part of a manifest that says what a version was made from, as JSON. Instants: int64 microseconds UTC."""
    return {
        "model": config.name,
        "description": config.description,
        "owner": config.owner,
        "lake_version": dataset.lake_version,
        "identity_version": dataset.identity_version,
        "spec_hash": dataset.spec_hash,
        "feature_service": dataset.feature_service,
        "features": list(dataset.features),
        "config_hash": dataset.config_hash,
        "dataset_hash": dataset.dataset_hash,
        "git_commit": git_commit(),
        "data": {
            "start": dataset.data_start,
            "end": dataset.data_end,
            "snapshots": [asdict(snapshot) for snapshot in dataset.snapshots],
        },
        "label": config.label.model_dump(mode="json"),
        "gates": {gate.name: gate.passed for gate in gates},
        "lightgbm": lgb.__version__,
    }


def spec_content(settings: Settings, dataset: DatasetManifest) -> SpecFile:
    """What the features of the dataset were compiled from: it goes with the model, which is served with them.

    Raises:
        UserError: it is not known any more.
    """
    content = content_behind(settings, dataset.spec_hash)
    if content is None:
        known = f"spec {settings.features.hash} in configs/features.yaml"
        problem = Problem(DATASET_MANIFEST, known, f"spec {dataset.spec_hash}", "make the dataset again")
        raise UserError("It is not known any more what the dataset's features are; nothing was registered.", [problem])
    return content


def write_content(folder: Path, content: SpecFile) -> Path:
    """The file that goes with the model."""
    file = folder / FILE
    file.write_text(text_of(content), encoding="utf-8")
    return file


def add_version(
    client: MlflowClient, run_id: str, logged: ModelInfo, manifest: Mapping[str, Any], told: Sequence[str], verdict: str
) -> str:
    """Register the logged model under its name, with the keys `told` of its manifest as tags; its version."""
    name = manifest["model"]
    try:
        client.create_registered_model(name, description=manifest["description"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {key: str(manifest[key]) for key in ("spec_hash", "dataset_hash", "lake_version", "identity_version", *told)}
    tags["failed_gates"] = ", ".join(gate for gate, passed in manifest["gates"].items() if not passed)
    version = client.create_model_version(
        name, logged.model_uri, run_id, tags=tags, description=verdict, model_id=logged.model_id
    )
    return str(version.version)
