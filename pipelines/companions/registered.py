"""Companions in MLflow: a run with all that was left, a registered version with its manifest, an alias by its gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from feature_repo.configuration import Problem
from feature_repo.spec_content import FILE
from pipelines import artefacts
from pipelines.alias_moves import move_alias
from pipelines.artefacts import (
    EVALUATION,
    REGISTRATION,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
    refuse_foreign_training,
    write_json,
)
from pipelines.companions.gates import check_gates
from pipelines.companions.storage import PARTS, CompanionModel, boosters_of, files_of, load_model, model_hash
from pipelines.console import UserError
from pipelines.gate import Gate
from pipelines.registry import (
    Registration,
    add_version,
    log_booster,
    made_from,
    registered_before,
    spec_content,
    write_content,
)
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.spec_versions import SpecVersions
from pipelines.tracking import (
    CHALLENGER,
    CHAMPION,
    alias_version,
    connect,
    git_commit,
    log_input,
    log_values,
    tracked_run,
)

_FILES = (
    artefacts.DATASET_MANIFEST, artefacts.TRAINING, artefacts.EVALUATION, artefacts.SIMPLE_MODELS,
    artefacts.REPORT, artefacts.REPORT_FIGURES,
)  # fmt: skip
_SECTIONS = {"label", "snapshots", "split", "inputs", "tune", "bg_nbd", "gates"}
KINDS = {"value": "customer_value", "next_event": "next_order"}
_SAME = ("dataset_hash", "config_hash", "spec_hash", "model_hash")


def register(settings: Settings, config: CompanionConfig) -> Registration:
    """Log the companion and what the steps left into MLflow, register it, and judge it by its gates.

    It becomes `champion` only if every gate passes, else `challenger`. The present champion, from the same data and
    configuration, is not registered again.

    Raises:
        FileNotFoundError: a step before has not run.
        UserError: what they left does not belong together, the champion is another than at the evaluation, or it is
            not known what the features are.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset = load_dataset_of(folder, config)
    training, evaluation = read_json(folder / TRAINING), read_json(folder / EVALUATION)
    model = load_model(folder)
    _belong_together(folder, dataset, training, evaluation)
    gates = check_gates(config.gates, evaluation)
    manifest = build_manifest(config, dataset, model, training, evaluation, gates)
    client = connect(settings.workspace)
    before = alias_version(settings, config.name, CHAMPION)
    path, verdict = str(folder / REGISTRATION), evaluation["verdict"]
    present = None if before is None else str(before.version)
    failed = tuple(gate.name for gate in gates if not gate.passed)
    same = registered_before(settings, config, {name: str(manifest[name]) for name in _SAME}, present, failed)
    if same is not None:
        held = CHAMPION if present == str(same.version) else "no champion"
        of = (config.name, str(same.version), held, str(same.run_id), present)
        return Registration(*of, gates, verdict, path, False)
    _still_champion(present, evaluation)
    alias = CHALLENGER if failed else CHAMPION
    content = spec_content(settings, dataset.manifest)
    write_content(folder, content)
    with tracked_run(settings, config) as run:
        _record(client, run, config, folder, dataset, training, evaluation)
        main = next(iter(files_of(model).values()))
        logged = log_booster(folder / main, manifest["columns"], manifest)
        for file in (PARTS, FILE, *list(files_of(model).values())[1:]):
            client.log_model_artifact(str(logged.model_id), str(folder / file))
    SpecVersions(settings.workspace.specs).remember(dataset.manifest.spec_hash, content)
    version = add_version(client, run, logged, manifest, ("config_hash", "model_hash", "kind"), verdict)
    holder = alias_version(settings, config.name, alias)
    held_by = None if holder is None else str(holder.version)
    move_alias(settings, client, config.name, alias, version, held_by, "register", failed=failed)
    registration = Registration(config.name, version, alias, run, present, gates, verdict, path)
    write_json(folder / REGISTRATION, {**asdict(registration), "manifest": manifest})
    figures = {f"gate.{gate.name}": gate.figure for gate in gates}
    tags = {"version": version, "alias": alias, "gates_failed": ", ".join(failed)}
    log_values(client, run, metrics=figures, tags=tags)
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
    own = evaluation["models"][-1]
    return {
        **made_from(config, dataset.manifest, gates),
        "kind": KINDS[config.label.kind],
        "inputs": dataset.manifest.inputs.to_json(),
        "columns": next(iter(boosters_of(model).values())).feature_name(),
        "model_hash": training["model_hash"],
        "files": [PARTS, *files_of(model).values()],
        "params": training["params"],
        "rounds": training["rounds"],
        "metrics": {**own["figures"], "test_rows": evaluation["test_rows"]},
    }


def _belong_together(
    folder: Path, dataset: Dataset, training: Mapping[str, Any], evaluation: Mapping[str, Any]
) -> None:
    """The gates judge `evaluation.json`, so it must be of this very model, fitted to and tested on this dataset."""
    refuse_foreign_training(training, dataset)
    present = (dataset.manifest.dataset_hash, model_hash(folder))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != present:
        problem = Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again")
        raise UserError("The artefacts do not belong together; nothing was registered.", [problem])


def _still_champion(version: str | None, evaluation: Mapping[str, Any]) -> None:
    """A gate compares with the champion, so it has to be the one that was compared."""
    compared = evaluation.get("champion_version")
    if compared != version:
        then, now = (f"version {held}" if held else "no champion" for held in (compared, version))
        problem = Problem(EVALUATION, f"a comparison with {now}", then, "evaluate again")
        raise UserError("The champion changed since the evaluation; nothing was registered.", [problem])


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
