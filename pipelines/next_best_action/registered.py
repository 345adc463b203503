"""Models of actions in MLflow: a run with all that was left, a version with its manifest, an alias by its gates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import mlflow
import numpy
import pandas
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types import ColSpec, DataType, Schema

from pipelines import artefacts
from pipelines.artefacts import (
    EVALUATION,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
)
from pipelines.gate import Gate
from pipelines.model_store import EFFECTS
from pipelines.next_best_action.gates import check_gates
from pipelines.next_best_action.results import gain_over, row_of
from pipelines.next_best_action.storage import files_of, load_effects, model_hash
from pipelines.registering import (
    Judged,
    already_registered,
    check_belong_together,
    check_still_champion,
    register_new,
)
from pipelines.registry import (
    Registration,
    doubles,
    made_from,
    spec_content,
)
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig
from pipelines.tracking import (
    CHAMPION,
    alias_version,
    git_commit,
    log_input,
    log_values,
    tracked_run,
)
from pipelines.uplift.rows import FittedEffects

_FILES = (
    artefacts.DATASET_MANIFEST, artefacts.TRAINING, artefacts.EVALUATION, artefacts.PREDICTIONS,
    artefacts.REPORT, artefacts.REPORT_FIGURES,
)  # fmt: skip
_SECTIONS = {"label", "snapshots", "split", "inputs", "tune", "gates"}
_SAME = ("dataset_hash", "config_hash", "spec_hash", "model_hash", "catalogue_hash")
_TOLD = ("config_hash", "model_hash", "catalogue_hash", "kind", "learner", "randomised")
_CODE = Path(__file__).with_name("effects_pyfunc.py")


def register(settings: Settings, config: ActionModelConfig) -> Registration:
    """Log the model and what the steps left into MLflow, register it, and judge it by its gates.

    It becomes `champion` only if every gate passes, else `challenger`; from actions that nobody drew never, unless a
    person promotes it. The present champion, from the same data and configuration, is not registered again.

    Raises:
        FileNotFoundError: a step before has not run.
        UserError: what they left does not belong together, the champion is another than at the evaluation, or it is
            not known what the features are.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset = load_dataset_of(folder, config)
    training, evaluation = read_json(folder / TRAINING), read_json(folder / EVALUATION)
    fitted = load_effects(folder)
    check_belong_together(dataset, training, evaluation, model_hash(folder))
    gates = check_gates(config.gates, evaluation)
    offered = settings.checked_catalogue()
    catalogue = "none" if offered is None else offered.hash
    manifest = build_manifest(config, dataset, fitted, training, evaluation, gates, catalogue)
    before = alias_version(settings, config.name, CHAMPION)
    judged = Judged(gates, evaluation["verdict"], None if before is None else str(before.version))
    known = already_registered(settings, config, judged, {name: str(manifest[name]) for name in _SAME})
    if known is not None:
        return known
    check_still_champion(judged.champion, evaluation)

    def log(client: MlflowClient, run: str) -> ModelInfo:
        _record(client, run, config, folder, dataset, training, evaluation)
        return _log_model(folder, fitted, manifest)

    content = spec_content(settings, dataset.manifest)
    return register_new(settings, config, judged, manifest, _TOLD, content, tracked_run(settings, config), log)


def build_manifest(
    config: ActionModelConfig, dataset: Dataset, fitted: FittedEffects, training: Mapping[str, Any],
    evaluation: Mapping[str, Any], gates: tuple[Gate, ...], catalogue_hash: str,
) -> dict[str, Any]:  # fmt: skip
    """What a model was made from and is to be served with, as JSON. Instants: int64 microseconds UTC."""
    model = fitted.model
    own, over = row_of(evaluation["policies"], "chosen"), gain_over(evaluation["gains"], evaluation["reference"])
    return {
        **made_from(config, dataset.manifest, gates),
        "kind": EFFECTS,
        "learner": model.learner,
        "control": model.control,
        "actions": list(model.actions),
        "randomised": training["randomised"],
        "inputs": model.inputs.to_json(),
        "columns": list(model.inputs.names),
        "model_hash": training["model_hash"],
        "catalogue_hash": catalogue_hash,
        "files": list(files_of(model)),
        "params": training["params"],
        "rounds": training["rounds"],
        "recommendation": training["recommendation"],
        "metrics": {
            "policy_value": None if own is None else own["value"],
            "gain_over_best_constant": None if over is None else over["value"],
            "test_rows": evaluation["test_rows"],
        },
    }


def _log_model(folder: Path, fitted: FittedEffects, manifest: dict[str, Any]) -> ModelInfo:
    """As code that reads JSON and LightGBM's text, which stand side by side among its artifacts."""
    names = files_of(fitted.model)
    artifacts = {"effects": names[0], **{name.removesuffix(".txt"): name for name in names[1:]}}
    outputs = Schema([ColSpec(DataType.double, action) for action in fitted.model.actions])
    with warnings.catch_warnings():
        # MLflow asks for an example of the input, which the signature makes needless.
        warnings.simplefilter("ignore", UserWarning)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_CODE),
            artifacts={key: str(folder / name) for key, name in artifacts.items()},
            signature=ModelSignature(doubles(manifest["columns"]).inputs, outputs),
            # Named, because MLflow would else start a process to find them out.
            pip_requirements=[
                f"{package.__name__}=={package.__version__}" for package in (lightgbm, numpy, pandas)
            ],
            metadata=manifest,
        )  # fmt: skip


def _record(
    client: MlflowClient, run: str, config: ActionModelConfig, folder: Path, dataset: Dataset,
    training: Mapping[str, Any], evaluation: Mapping[str, Any],
) -> None:  # fmt: skip
    made = dataset.manifest
    hashes = ("spec_hash", "config_hash", "dataset_hash", "lake_version", "identity_version")
    tags = {**{name: getattr(made, name) for name in hashes}, "git_commit": git_commit() or "unknown"}
    tags |= {"verdict": evaluation["verdict"], "recommendation": training["recommendation"]}
    settings = config.model_dump(mode="json", include=_SECTIONS)
    params = {f"{section}.{name}": value for section, values in settings.items() for name, value in values.items()}
    params |= {"feature_service": config.feature_service, "learner": training["learner"], "worth": config.worth}
    for learner, found in training["searches"].items():
        params |= {f"{learner}.{name}": value for name, value in {**found["params"], "rounds": found["rounds"]}.items()}
    log_values(client, run, params, {**_searched(training), **_tested(evaluation)}, tags)
    client.log_table(run, pandas.json_normalize(evaluation["policies"]), "policies.json")
    for part in ("train", "test"):
        rows = dataset.part(part).drop(columns="eligible")
        log_input(rows, folder / artefacts.DATASET, f"{config.name} {part}", made.dataset_hash, part)
    for file in _FILES:
        if (folder / file).exists():
            client.log_artifact(run, str(folder / file))


def _searched(training: Mapping[str, Any]) -> dict[str, float | None]:
    figures = ("best_loss", "default_loss", "constant_loss", "trials", "seconds")
    made: dict[str, float | None] = {
        f"tuning.{learner}.{name}": found[name] for learner, found in training["searches"].items() for name in figures
    }
    for row in training["policies"]:
        made |= {f"train.value.{row['name']}.{bound}": row[bound] for bound in ("value", "low", "high")}
    return made


def _tested(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    made: dict[str, float | None] = {"test.rows": evaluation["test_rows"], "train.rows": evaluation["train_rows"]}
    for row in evaluation["policies"]:
        made |= {f"test.value.{row['name']}.{bound}": row[bound] for bound in ("value", "low", "high")}
        made[f"test.effective_sample_size.{row['name']}"] = row["effective_sample_size"]
    for found in evaluation["gains"]:
        made |= {f"test.gain.over.{found['against']}.{bound}": found[bound] for bound in ("value", "low", "high")}
    for row in evaluation["rankings"]:
        name = f"test.{row['action']}.{row['by']}"
        made |= {f"{name}.{metric}": row[metric]["estimate"] for metric in ("qini", "auuc", "uplift", "dr_gain")}
    return made
