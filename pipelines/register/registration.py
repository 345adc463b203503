"""Register a model with its manifest, and give it the alias its gates allow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm as lgb
from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from feature_repo.configuration import Problem
from pipelines.artefacts import (
    EVALUATION,
    LEAKAGE,
    MODEL,
    TRAINING,
    DatasetManifest,
    file_hash,
    load_dataset_of,
    read_json,
)
from pipelines.console import UserError
from pipelines.register.candidate import TUNED, Candidate, candidate, simpler
from pipelines.register.gates import Against, Evidence, check_gates
from pipelines.register.logged import log_model
from pipelines.register.manifest import build_manifest
from pipelines.register.record import record
from pipelines.registering import Judged, already_registered, register_new
from pipelines.registry import Registration, spec_content
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.tracking import (
    RegisteredVersion,
    champion_if_there,
    inside_run,
)

_TOLD = ("kind", "candidate", "config_hash", "file_hash")


def register(settings: Settings, config: ModelConfig, run_id: str | None = None, name: str = TUNED) -> Registration:
    """Log a model and all artefacts into MLflow, register it, and judge it by its gates.

    `name` is that of the evaluation: the tuned booster, or a simple model that can be served. It becomes `champion`
    only if every gate passes, else `challenger`. Without `run_id` a run is made. A model that is the present champion
    already, from the same data and configuration, is not registered again.

    Raises:
        FileNotFoundError: a step before has not run: dataset, train or evaluate.
        UserError: what they left does not belong together, such as a model trained after the evaluation; what its
            features are compiled from is not known; or a simple model cannot be served.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset = load_dataset_of(folder, config)
    training, evaluation = read_json(folder / TRAINING), read_json(folder / EVALUATION)
    _belong_together(folder, dataset.manifest, training, evaluation)
    chosen = candidate(folder, dataset.manifest, name)
    content = spec_content(settings, dataset.manifest)
    before = champion_if_there(settings, config)
    if before is not None and evaluation["champion_hash"] not in (None, file_hash(before.file)):
        raise UserError(
            "The champion changed since the evaluation.",
            [Problem(EVALUATION, f"a comparison with version {before.version}", "another", "evaluate again")],
        )
    evidence = _evidence(config, folder, dataset.manifest, evaluation, chosen, before)
    gates = check_gates(config.gates, evidence)
    rival = simpler(folder, dataset.manifest, evaluation) if name == TUNED else None
    judged = Judged(gates, evaluation["verdict"], None if before is None else before.version, name, rival)
    own = {
        "kind": chosen.kind, "file_hash": file_hash(chosen.file),
        **{key: getattr(dataset.manifest, key) for key in ("dataset_hash", "config_hash", "spec_hash")},
    }  # fmt: skip
    known = already_registered(settings, config, judged, own)
    if known is not None:
        return known
    manifest = build_manifest(config, dataset.manifest, chosen, training, evaluation, gates)

    def log(client: MlflowClient, run: str) -> ModelInfo:
        record(client, run, config, folder, dataset)
        return log_model(chosen, manifest)

    return register_new(settings, config, judged, manifest, _TOLD, content, inside_run(settings, config, run_id), log)


def _evidence(
    config: ModelConfig,
    folder: Path,
    dataset: DatasetManifest,
    evaluation: Mapping[str, Any],
    chosen: Candidate,
    before: RegisteredVersion | None,
) -> Evidence:
    leakage = read_json(folder / LEAKAGE) if (folder / LEAKAGE).exists() else None
    against: Against = "none"
    if before is not None:
        compared = evaluation["champion_hash"] is not None
        against = "comparable" if compared or _can_read(before, dataset) else "foreign"
    return Evidence(evaluation, chosen.name, leakage, bool(config.slices), against)


def _can_read(before: RegisteredVersion, dataset: DatasetManifest) -> bool:
    """Whether the dataset has every feature the champion reads."""
    same_spec = before.manifest.get("spec_hash") == dataset.spec_hash
    return same_spec and set(before.manifest.get("features", ())) <= set(dataset.features)


def _belong_together(
    folder: Path, dataset: DatasetManifest, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """The gates judge `evaluation.json`, so it must be of this very model, trained and tested on this dataset."""
    problems = []
    if training["dataset_hash"] != dataset.dataset_hash:
        problems.append(Problem(TRAINING, "a model of this dataset", "of another", "tune and train again"))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != (dataset.dataset_hash, file_hash(folder / MODEL)):
        problems.append(Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again"))
    if lgb.Booster(model_file=folder / MODEL).feature_name() != list(dataset.inputs.names):
        problems.append(Problem(MODEL, "the inputs of the dataset", "others", "tune and fit again"))
    if problems:
        raise UserError("The artefacts do not belong together; nothing was registered.", problems)
