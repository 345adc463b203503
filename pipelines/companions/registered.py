"""Companions in MLflow: a run with all that was left, a registered version with its manifest, an alias by its gates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from pipelines import artefacts
from pipelines.artefacts import (
    EVALUATION,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
)
from pipelines.companions.gates import check_gates
from pipelines.companions.storage import PARTS, CompanionModel, boosters_of, files_of, load_model, model_hash
from pipelines.gate import Gate
from pipelines.registering import (
    Judged,
    already_registered,
    check_belong_together,
    check_still_champion,
    register_new,
)
from pipelines.registry import (
    Registration,
    log_booster,
    made_from,
    spec_content,
)
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import (
    CHAMPION,
    alias_version,
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
_TOLD = ("config_hash", "model_hash", "kind")


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
    check_belong_together(dataset, training, evaluation, model_hash(folder))
    gates = check_gates(config.gates, evaluation)
    manifest = build_manifest(config, dataset, model, training, evaluation, gates)
    before = alias_version(settings, config.name, CHAMPION)
    judged = Judged(gates, evaluation["verdict"], None if before is None else str(before.version))
    known = already_registered(settings, config, judged, {name: str(manifest[name]) for name in _SAME})
    if known is not None:
        return known
    check_still_champion(judged.champion, evaluation)

    def log(client: MlflowClient, run: str) -> ModelInfo:
        _record(client, run, config, folder, dataset, training, evaluation)
        main, *others = files_of(model).values()
        logged = log_booster(folder / main, manifest["columns"], manifest)
        for file in (PARTS, *others):
            client.log_model_artifact(str(logged.model_id), str(folder / file))
        return logged

    content = spec_content(settings, dataset.manifest)
    return register_new(settings, config, judged, manifest, _TOLD, content, tracked_run(settings, config), log)


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
