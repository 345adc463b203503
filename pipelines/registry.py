"""What every registered version has, whatever it predicts: where it comes from, and its entry in MLflow's registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import mlflow
import numpy
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE, text_of
from feature_repo.spec_file import SpecFile
from pipelines.alias_moves import read_moves, taken_back
from pipelines.artefacts import DATASET_MANIFEST, DatasetManifest
from pipelines.console import UserError
from pipelines.gate import Gate
from pipelines.settings import Settings
from pipelines.settings.models import LearningConfig
from pipelines.spec_versions import content_behind
from pipelines.tracking import CHAMPION, FilesGone, connect, git_commit, registered_version, versions


@dataclass(frozen=True, slots=True)
class Registration:
    """The registered version, the alias it was given, and every gate with its figure.

    `candidate` is its name in the evaluation, of a model that was compared with simple ones; `simpler` is a sentence
    about one that is not worse, if there is one.
    """

    model: str
    version: str
    alias: str
    run_id: str
    previous_champion: str | None
    gates: tuple[Gate, ...]
    verdict: str
    path: str
    is_new: bool = True
    candidate: str | None = None
    simpler: str | None = None

    @property
    def is_champion(self) -> bool:
        return self.alias == CHAMPION

    def text(self) -> str:
        """The summary for a person."""
        simpler = [f"  {self.simpler}"] if self.simpler else []
        if not self.is_new:
            fate = "the champion" if self.is_champion else f"not champion; twin promote {self.model} {self.version}"
            what = f"Nothing new to register: this is {self.model} version {self.version}, {fate}"
            return "\n".join([what, *simpler, f"  {self.path}"])
        failed = sum(not gate.passed for gate in self.gates)
        fate = "all gates passed" if not failed else f"{failed} of {len(self.gates)} gates failed"
        before = f" (before: version {self.previous_champion})" if self.is_champion and self.previous_champion else ""
        return "\n".join(
            [
                f"Registered {self.model} version {self.version} as {self.alias}: {fate}{before}",
                *(f"  {gate.text()}" for gate in self.gates),
                *simpler,
                f"  MLflow run {self.run_id}; {self.path}",
            ]
        )


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


def log_booster(file: Path, columns: Sequence[str], manifest: Mapping[str, Any]) -> ModelInfo:
    """Log LightGBM's own text into the active run, with its manifest. All inputs are doubles, in order."""
    # Requirements are named, because MLflow would else start a process to find them out.
    return mlflow.lightgbm.log_model(
        lgb.Booster(model_file=file),
        name="model",
        signature=doubles(columns),
        pip_requirements=[f"lightgbm=={lgb.__version__}", f"numpy=={numpy.__version__}"],
        metadata=dict(manifest),
    )


def doubles(columns: Sequence[str]) -> ModelSignature:
    """Of a model that makes one double of the doubles `columns`."""
    return ModelSignature(
        Schema([ColSpec(DataType.double, name) for name in columns]), Schema([ColSpec(DataType.double)])
    )


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


def registered_before(
    settings: Settings, config: LearningConfig, own: Mapping[str, str], champion: str | None, failed: Sequence[str]
) -> ModelVersion | None:
    """The newest version with the tags `own`, this very model, where a new one would say no more.

    It is the `champion`, or failed the same gates, or a person took the alias from it: what was rolled back stays so
    when the same run is repeated.
    """
    alike = [item for item in versions(settings, config.name) if all(item.tags.get(k) == v for k, v in own.items())]
    newest = alike[-1] if alike else None
    if newest is None:
        return None
    fails_alike = bool(failed) and newest.tags.get("failed_gates") == ", ".join(failed)
    moves = read_moves(connect(settings.workspace).get_registered_model(config.name).tags)
    if not (champion == str(newest.version) or fails_alike or taken_back(moves, str(newest.version))):
        return None
    try:
        registered_version(settings, config, str(newest.version))
    except FilesGone:
        return None
    return newest
