"""Register the tuned model with its manifest, and give it the alias its gates allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import mlflow
import numpy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE, text_of
from feature_repo.spec_file import SpecFile
from feature_repo.windows import DAY
from pipelines.artefacts import (
    DATASET_MANIFEST,
    EVALUATION,
    MODEL,
    REGISTRATION,
    TRAINING,
    DatasetManifest,
    file_hash,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError
from pipelines.register.gates import Gate, check_gates
from pipelines.register.record import record, record_registration
from pipelines.settings import Settings
from pipelines.settings.labels import ChurnLabel, microseconds
from pipelines.settings.models import ModelConfig
from pipelines.spec_versions import SpecVersions, content_behind
from pipelines.tracking import CHALLENGER, CHAMPION, Champion, champion, connect, git_commit, inside_run


@dataclass(frozen=True, slots=True)
class Registration:
    """The registered version, the alias it was given, and every gate with its figure."""

    model: str
    version: str
    alias: str
    run_id: str
    previous_champion: str | None
    gates: tuple[Gate, ...]
    verdict: str
    path: str
    is_new: bool = True

    @property
    def is_champion(self) -> bool:
        return self.alias == CHAMPION

    def text(self) -> str:
        """The summary for a person."""
        if not self.is_new:
            return f"Nothing new to register: this is {self.model} version {self.version}, the champion\n  {self.path}"
        failed = sum(not gate.passed for gate in self.gates)
        fate = "all gates passed" if not failed else f"{failed} of {len(self.gates)} gates failed"
        before = f" (before: version {self.previous_champion})" if self.is_champion and self.previous_champion else ""
        return "\n".join(
            [
                f"Registered {self.model} version {self.version} as {self.alias}: {fate}{before}",
                *(f"  {gate.text()}" for gate in self.gates),
                f"  MLflow run {self.run_id}; {self.path}",
            ]
        )


def register(settings: Settings, config: ModelConfig, run_id: str | None = None) -> Registration:
    """Log the model and all artefacts into MLflow, register it, and judge it by its gates.

    It becomes `champion` only if every gate passes, else `challenger`. Without `run_id` a run is made. A
    model that is the present champion already, from the same data and configuration, is not registered again.

    Raises:
        FileNotFoundError: a step before has not run: dataset, train or evaluate.
        UserError: what they left does not belong together, such as a model trained after the evaluation, or what
            its features are compiled from is not known.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, training, evaluation = load_dataset(folder), read_json(folder / TRAINING), read_json(folder / EVALUATION)
    _belong_together(folder, dataset.manifest, training, evaluation)
    content = _content(settings, dataset.manifest)
    client = connect(settings.workspace)
    before = champion(settings, config)
    if before is not None and evaluation["champion_hash"] not in (None, file_hash(before.booster)):
        raise UserError(
            "The champion changed since the evaluation.",
            [Problem(EVALUATION, f"a comparison with version {before.version}", "another", "evaluate again")],
        )
    if before is not None and _is_the_champion(before, folder, dataset.manifest):
        return _unchanged(
            before, config, gates=check_gates(config.gates, evaluation), evaluation=evaluation, folder=folder
        )
    same_features = before is not None and _can_read(before, dataset.manifest)
    gates = check_gates(config.gates, evaluation, must_compare=same_features, has_champion=before is not None)
    alias = CHAMPION if all(gate.passed for gate in gates) else CHALLENGER
    manifest = build_manifest(config, dataset.manifest, training, evaluation, gates)
    with inside_run(settings, config, run_id) as run:
        record(client, run, config, folder, dataset)
        logged = _log_model(folder / MODEL, manifest)
        client.log_model_artifact(str(logged.model_id), str(_written(folder, content)))
    SpecVersions(settings.workspace.specs).remember(dataset.manifest.spec_hash, content)
    version = _add_version(client, config, run, logged, manifest, evaluation["verdict"])
    client.set_registered_model_alias(config.name, alias, version)
    registration = Registration(
        config.name,
        version,
        alias,
        run,
        before.version if before else None,
        gates,
        evaluation["verdict"],
        str(folder / REGISTRATION),
    )
    write_json(folder / REGISTRATION, {**asdict(registration), "manifest": manifest})
    record_registration(client, run, folder, registration.version, alias, gates)
    return registration


def _is_the_champion(before: Champion, folder: Path, dataset: DatasetManifest) -> bool:
    """The same trees from the same data under the same configuration: what the same run gives when repeated."""
    same = all(
        before.manifest.get(key) == getattr(dataset, key) for key in ("dataset_hash", "config_hash", "spec_hash")
    )
    return same and file_hash(before.booster) == file_hash(folder / MODEL)


def _can_read(before: Champion, dataset: DatasetManifest) -> bool:
    """Whether the dataset has every feature the champion reads."""
    same_spec = before.manifest.get("spec_hash") == dataset.spec_hash
    return same_spec and set(before.manifest.get("features", ())) <= set(dataset.features)


def _unchanged(
    before: Champion, config: ModelConfig, gates: tuple[Gate, ...], evaluation: Mapping[str, Any], folder: Path
) -> Registration:
    path = str(folder / REGISTRATION)
    return Registration(
        config.name, before.version, CHAMPION, before.run_id, before.version, gates, evaluation["verdict"], path, False
    )


def _belong_together(
    folder: Path, dataset: DatasetManifest, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """The gates judge `evaluation.json`, so it must be of this very model, trained and tested on this dataset."""
    problems = []
    if training["dataset_hash"] != dataset.dataset_hash:
        problems.append(Problem(TRAINING, "a model of this dataset", "of another", "tune and train again"))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != (dataset.dataset_hash, file_hash(folder / MODEL)):
        problems.append(Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again"))
    if problems:
        raise UserError("The artefacts do not belong together; nothing was registered.", problems)


def _content(settings: Settings, dataset: DatasetManifest) -> SpecFile:
    """What the features of the dataset were compiled from: it goes with the model, which is served with them."""
    content = content_behind(settings, dataset.spec_hash)
    if content is None:
        known = f"spec {settings.features.hash} in configs/features.yaml"
        problem = Problem(DATASET_MANIFEST, known, f"spec {dataset.spec_hash}", "make the dataset again")
        raise UserError("It is not known any more what the dataset's features are; nothing was registered.", [problem])
    return content


def _written(folder: Path, content: SpecFile) -> Path:
    file = folder / FILE
    file.write_text(text_of(content), encoding="utf-8")
    return file


def build_manifest(
    config: ModelConfig,
    dataset: DatasetManifest,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    gates: tuple[Gate, ...],
) -> dict[str, Any]:
    """What a model was made from and is to be served with, as JSON. Instants: int64 microseconds UTC."""
    return {
        "model": config.name,
        "description": config.description,
        "owner": config.owner,
        "lake_version": dataset.lake_version,
        "identity_version": dataset.identity_version,
        "spec_hash": dataset.spec_hash,
        "feature_service": dataset.feature_service,
        "features": list(dataset.features),
        # How the columns of the booster are made of the features.
        "inputs": dataset.inputs.to_json(),
        "columns": list(dataset.inputs.names),
        # Who the model is about, as the service can tell it from the features it reads.
        "population": {
            "feature": config.baselines.bg_nbd.recency,
            "at_most": microseconds(config.label.activity_window) / DAY,
        }
        if isinstance(config.label, ChurnLabel) and config.baselines.bg_nbd
        else None,
        "config_hash": dataset.config_hash,
        "dataset_hash": dataset.dataset_hash,
        "git_commit": git_commit(),
        "data": {
            "start": dataset.data_start,
            "end": dataset.data_end,
            "snapshots": [asdict(snapshot) for snapshot in dataset.snapshots],
        },
        "label": config.label.model_dump(mode="json"),
        "params": training["params"],
        "rounds": training["rounds"],
        "calibration": training["calibration"],
        "metrics": _candidate_metrics(evaluation),
        "gates": {gate.name: gate.passed for gate in gates},
        "lightgbm": lgb.__version__,
    }


def _candidate_metrics(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    tuned = next(model for model in evaluation["models"] if model["name"] == "lightgbm_tuned")
    return {**tuned, "test_rows": evaluation["test_rows"], "positive_rate": evaluation["positive_rate"]}


def _log_model(booster: Path, manifest: dict[str, Any]) -> ModelInfo:
    """Log the native text booster into the active run. All inputs are doubles, in order."""
    signature = ModelSignature(
        Schema([ColSpec(DataType.double, name) for name in manifest["columns"]]), Schema([ColSpec(DataType.double)])
    )
    # Named, because MLflow would else start a process to find them out.
    requirements = [f"lightgbm=={lgb.__version__}", f"numpy=={numpy.__version__}"]
    return mlflow.lightgbm.log_model(
        lgb.Booster(model_file=booster),
        name="model",
        signature=signature,
        pip_requirements=requirements,
        metadata=manifest,
    )


def _add_version(
    client: MlflowClient, config: ModelConfig, run_id: str, logged: ModelInfo, manifest: dict[str, Any], verdict: str
) -> str:
    """Register the logged model; its version."""
    try:
        client.create_registered_model(config.name, description=config.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {name: str(manifest[name]) for name in ("spec_hash", "dataset_hash", "lake_version", "identity_version")}
    version = client.create_model_version(
        config.name, logged.model_uri, run_id, tags=tags, description=verdict, model_id=logged.model_id
    )
    return str(version.version)
