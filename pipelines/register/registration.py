"""Register a model with its manifest, and give it the alias its gates allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightgbm as lgb

from feature_repo.configuration import Problem
from pipelines.alias_moves import move_alias
from pipelines.artefacts import (
    EVALUATION,
    LEAKAGE,
    MODEL,
    REGISTRATION,
    TRAINING,
    DatasetManifest,
    file_hash,
    load_dataset_of,
    read_json,
    write_json,
)
from pipelines.console import UserError
from pipelines.register.candidate import TUNED, Candidate, candidate, simpler
from pipelines.register.gates import Against, Evidence, check_gates, failed
from pipelines.register.logged import log_model
from pipelines.register.manifest import build_manifest
from pipelines.register.record import record, record_registration
from pipelines.registry import Registration, add_version, registered_before, spec_content, write_content
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from pipelines.spec_versions import SpecVersions
from pipelines.tracking import (
    CHALLENGER,
    CHAMPION,
    RegisteredVersion,
    alias_version,
    champion_if_there,
    connect,
    inside_run,
)


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
    client = connect(settings.workspace)
    before = champion_if_there(settings, config)
    if before is not None and evaluation["champion_hash"] not in (None, file_hash(before.file)):
        raise UserError(
            "The champion changed since the evaluation.",
            [Problem(EVALUATION, f"a comparison with version {before.version}", "another", "evaluate again")],
        )
    evidence = _evidence(config, folder, dataset.manifest, evaluation, chosen, before)
    gates = check_gates(config.gates, evidence)
    rival = simpler(folder, dataset.manifest, evaluation) if name == TUNED else None
    path, verdict = str(folder / REGISTRATION), evaluation["verdict"]
    own = {
        "kind": chosen.kind, "file_hash": file_hash(chosen.file),
        **{key: getattr(dataset.manifest, key) for key in ("dataset_hash", "config_hash", "spec_hash")},
    }  # fmt: skip
    same = registered_before(settings, config, own, None if before is None else before.version, failed(gates))
    if same is not None:
        held = CHAMPION if before is not None and before.version == str(same.version) else "no champion"
        previous = None if before is None else before.version
        of = (config.name, str(same.version), held, str(same.run_id), previous)
        return Registration(*of, gates, verdict, path, False, name, rival)
    alias = CHALLENGER if failed(gates) else CHAMPION
    manifest = build_manifest(config, dataset.manifest, chosen, training, evaluation, gates)
    with inside_run(settings, config, run_id) as run:
        record(client, run, config, folder, dataset)
        logged = log_model(chosen, manifest)
        client.log_model_artifact(str(logged.model_id), str(write_content(folder, content)))
    SpecVersions(settings.workspace.specs).remember(dataset.manifest.spec_hash, content)
    version = add_version(client, run, logged, manifest, ("kind", "candidate", "config_hash", "file_hash"), verdict)
    holder = alias_version(settings, config.name, alias)
    held_by = None if holder is None else str(holder.version)
    move_alias(settings, client, config.name, alias, version, held_by, "register", failed=failed(gates))
    previous = before.version if before else None
    registration = Registration(config.name, version, alias, run, previous, gates, verdict, path, True, name, rival)
    write_json(folder / REGISTRATION, {**asdict(registration), "manifest": manifest})
    record_registration(client, run, folder, registration.version, alias, gates)
    return registration


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
