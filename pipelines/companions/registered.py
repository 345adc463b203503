"""Companions in MLflow: a run with all that was left, a registered version with its manifest, an alias by its gates."""

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
from pipelines import artefacts
from pipelines.artefacts import EVALUATION, REGISTRATION, TRAINING, Dataset, load_dataset, read_json, write_json
from pipelines.companions.gates import check_gates
from pipelines.companions.predict import alias_version
from pipelines.companions.steps import refuse_foreign
from pipelines.companions.storage import PARTS, CompanionModel, boosters_of, files_of, load_model, model_hash
from pipelines.companions.time_model import PERIOD, TimeModel
from pipelines.console import UserError
from pipelines.gate import Gate
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.spec_versions import SpecVersions, content_behind
from pipelines.tracking import CHALLENGER, CHAMPION, connect, git_commit, log_input, log_values, tracked_run

_FILES = (
    artefacts.DATASET_MANIFEST, artefacts.TRAINING, artefacts.EVALUATION, artefacts.SIMPLE_MODELS,
    artefacts.REPORT, artefacts.REPORT_FIGURES,
)  # fmt: skip
_SECTIONS = {"label", "snapshots", "split", "inputs", "tune", "bg_nbd", "gates"}
KINDS = {"value": "customer_value", "next_event": "next_order"}
_SAME = ("dataset_hash", "config_hash", "spec_hash", "model_hash")


@dataclass(frozen=True, slots=True)
class CompanionRegistration:
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

    def text(self) -> str:
        """The summary for a person."""
        if not self.is_new:
            return f"Nothing new to register: this is {self.model} version {self.version}, the champion\n  {self.path}"
        failed = sum(not gate.passed for gate in self.gates)
        fate = "all gates passed" if not failed else f"{failed} of {len(self.gates)} gates failed"
        lines = [f"Registered {self.model} version {self.version} as {self.alias}: {fate}"]
        return "\n".join(
            [*lines, *(f"  {gate.text()}" for gate in self.gates), f"  MLflow run {self.run_id}; {self.path}"]
        )


def register(settings: Settings, config: CompanionConfig) -> CompanionRegistration:
    """Log the companion and what the steps left into MLflow, register it, and judge it by its gates.

    It becomes `champion` only if every gate passes, else `challenger`. The present champion, from the same data and
    configuration, is not registered again.

    Raises:
        FileNotFoundError: a step before has not run.
        UserError: what they left does not belong together, or it is not known what the features are.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, training, evaluation = load_dataset(folder), read_json(folder / TRAINING), read_json(folder / EVALUATION)
    model = load_model(folder)
    _belong_together(folder, dataset, training, evaluation)
    gates = check_gates(config.gates, evaluation)
    manifest = build_manifest(config, dataset, model, training, evaluation, gates)
    client = connect(settings.workspace)
    before = alias_version(client, config.name, CHAMPION)
    path, verdict = str(folder / REGISTRATION), evaluation["verdict"]
    if before is not None and all(before.tags.get(name) == str(manifest[name]) for name in _SAME):
        version, run = str(before.version), str(before.run_id)
        return CompanionRegistration(config.name, version, CHAMPION, run, version, gates, verdict, path, False)
    alias = CHAMPION if all(gate.passed for gate in gates) else CHALLENGER
    content = content_behind(settings, dataset.manifest.spec_hash)
    if content is None:
        problem = Problem(artefacts.DATASET_MANIFEST, "a known spec", dataset.manifest.spec_hash, "make it again")
        raise UserError("It is not known any more what the dataset's features are; nothing was registered.", [problem])
    (folder / FILE).write_text(text_of(content), encoding="utf-8")
    with tracked_run(settings, config) as run:
        _record(client, run, config, folder, dataset, training, evaluation)
        logged = _log_model(folder, model, manifest)
        for file in (PARTS, FILE, *list(files_of(model).values())[1:]):
            client.log_model_artifact(str(logged.model_id), str(folder / file))
    SpecVersions(settings.workspace.specs).remember(dataset.manifest.spec_hash, content)
    version = _add_version(client, config, run, logged, manifest, verdict)
    client.set_registered_model_alias(config.name, alias, version)
    previous = None if before is None else str(before.version)
    registration = CompanionRegistration(config.name, version, alias, run, previous, gates, verdict, path)
    write_json(folder / REGISTRATION, {**asdict(registration), "manifest": manifest})
    figures = {f"gate.{gate.name}": gate.figure for gate in gates}
    failed = ", ".join(gate.name for gate in gates if not gate.passed)
    log_values(client, run, metrics=figures, tags={"version": version, "alias": alias, "gates_failed": failed})
    client.log_artifact(run, path)
    return registration


def build_manifest(
    config: CompanionConfig,
    dataset: Dataset,
    model: CompanionModel,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    gates: tuple[Gate, ...],
) -> dict[str, Any]:
    """What a companion was made from and is to be used with, as JSON. Instants: int64 microseconds UTC."""
    made = dataset.manifest
    own = evaluation["models"][-1]
    return {
        "model": config.name,
        "kind": KINDS[config.label.kind],
        "description": config.description,
        "owner": config.owner,
        "lake_version": made.lake_version,
        "identity_version": made.identity_version,
        "spec_hash": made.spec_hash,
        "feature_service": made.feature_service,
        "features": list(made.features),
        "inputs": made.inputs.to_json(),
        "columns": next(iter(boosters_of(model).values())).feature_name(),
        "config_hash": made.config_hash,
        "dataset_hash": made.dataset_hash,
        "model_hash": training["model_hash"],
        "git_commit": git_commit(),
        "data": {
            "start": made.data_start,
            "end": made.data_end,
            "snapshots": [asdict(snapshot) for snapshot in made.snapshots],
        },
        "label": config.label.model_dump(mode="json"),
        "files": [PARTS, *files_of(model).values()],
        "params": training["params"],
        "rounds": training["rounds"],
        "metrics": {**own["figures"], "test_rows": evaluation["test_rows"]},
        "gates": {gate.name: gate.passed for gate in gates},
        "lightgbm": lgb.__version__,
    }


def _belong_together(
    folder: Path, dataset: Dataset, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """The gates judge `evaluation.json`, so it must be of this very model, fitted to and tested on this dataset."""
    refuse_foreign(dict(training), dataset)
    present = (dataset.manifest.dataset_hash, model_hash(folder))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != present:
        problem = Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again")
        raise UserError("The artefacts do not belong together; nothing was registered.", [problem])


def _record(
    client: MlflowClient,
    run: str,
    config: CompanionConfig,
    folder: Path,
    dataset: Dataset,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> None:
    made = dataset.manifest
    hashes = ("spec_hash", "config_hash", "dataset_hash", "lake_version", "identity_version")
    tags = {**{name: getattr(made, name) for name in hashes}, "git_commit": git_commit() or "unknown"}
    settings = config.model_dump(mode="json", include=_SECTIONS)
    params = {f"{section}.{name}": value for section, values in settings.items() for name, value in values.items()}
    params |= {f"lightgbm.{name}": value for name, value in training["params"].items()}
    params |= {"feature_service": config.feature_service, "interval": config.interval, "monetary": config.monetary}
    metrics: dict[str, float | None] = {"test.rows": evaluation["test_rows"]}
    for model in evaluation["models"]:
        for name, figure in model["figures"].items():
            metrics |= {f"test.{model['name']}.{name}.{bound}": value for bound, value in figure.items()}
    for gain in evaluation["gains"]:
        name = f"gain.{gain['metric']}.over.{gain['against']}"
        metrics |= {f"{name}.{bound}": gain[bound] for bound in ("estimate", "low", "high")}
    metrics |= {f"training.rounds.{name}": count for name, count in training["rounds"].items()}
    log_values(client, run, params, metrics, {**tags, "verdict": evaluation["verdict"]})
    for part in ("train", "test"):
        log_input(dataset.part(part), folder / artefacts.DATASET, f"{config.name} {part}", made.dataset_hash, part)
    for file in _FILES:
        if (folder / file).exists():
            client.log_artifact(run, str(folder / file))


def _log_model(folder: Path, model: CompanionModel, manifest: dict[str, Any]) -> ModelInfo:
    """Log the main booster into the active run, in LightGBM's own text. All inputs are doubles, in order."""
    names = [*model.inputs.names, *([PERIOD] if isinstance(model, TimeModel) else [])]
    signature = ModelSignature(
        Schema([ColSpec(DataType.double, name) for name in names]), Schema([ColSpec(DataType.double)])
    )
    # Named, because MLflow would else start a process to find them out.
    requirements = [f"lightgbm=={lgb.__version__}", f"numpy=={numpy.__version__}"]
    main = next(iter(files_of(model).values()))
    return mlflow.lightgbm.log_model(
        lgb.Booster(model_file=folder / main),
        name="model",
        signature=signature,
        pip_requirements=requirements,
        metadata=manifest,
    )


def _add_version(
    client: MlflowClient, config: CompanionConfig, run: str, logged: ModelInfo, manifest: dict[str, Any], verdict: str
) -> str:
    try:
        client.create_registered_model(config.name, description=config.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {name: str(manifest[name]) for name in (*_SAME, "kind", "lake_version", "identity_version")}
    version = client.create_model_version(
        config.name, logged.model_uri, run, tags=tags, description=verdict, model_id=logged.model_id
    )
    return str(version.version)
