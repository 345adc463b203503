"""Put what the steps left behind into an MLflow run: values to compare, tables to read, files to keep."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient

from pipelines import artefacts
from pipelines.artefacts import Dataset, read_json
from pipelines.settings.models import ModelConfig
from pipelines.tracking import git_commit, log_input, log_values

FILES = (
    artefacts.DATASET_MANIFEST, artefacts.TUNING, artefacts.TRAINING, artefacts.DEFAULT_MODEL, artefacts.SIMPLE_MODELS,
    artefacts.EVALUATION, artefacts.LEAKAGE, artefacts.ABLATION, artefacts.REPORT,
    artefacts.REPORT_FIGURES, artefacts.MODEL_CARD,
)  # fmt: skip


SECTIONS = ("label", "snapshots", "split", "inputs", "tune", "fit", "baselines", "profit", "leakage", "gates")
LISTS = ("slices", "actionable")
# Parts of an evaluation with figures of their own, beside its table of models.
_PARTS = ("champion_comparison", "worst_slice", "profit")
_UNFIT = re.compile(r"[^A-Za-z0-9_\-./ ]")


def record(client: MlflowClient, run_id: str, config: ModelConfig, folder: Path, dataset: Dataset) -> None:
    """Log the artefacts of `folder` into the active run `run_id`; those that are missing are passed over."""
    manifest = dataset.manifest
    log_values(
        client,
        run_id,
        tags={
            "spec_hash": manifest.spec_hash,
            "config_hash": manifest.config_hash,
            "dataset_hash": manifest.dataset_hash,
            "lake_version": manifest.lake_version,
            "identity_version": manifest.identity_version,
            "git_commit": git_commit() or "unknown",
        },
    )
    for part in ("train", "test"):
        log_input(dataset.part(part), folder / artefacts.DATASET, f"{config.name} {part}", manifest.dataset_hash, part)
    _record_settings(client, run_id, config)
    for name, log in (
        (artefacts.TUNING, _tuning),
        (artefacts.TRAINING, _training),
        (artefacts.EVALUATION, _evaluation),
        (artefacts.LEAKAGE, _leakage),
    ):
        if (folder / name).exists():
            log(client, run_id, read_json(folder / name))
    for name in FILES:
        if (folder / name).exists():
            client.log_artifact(run_id, str(folder / name))


def _record_settings(client: MlflowClient, run_id: str, config: ModelConfig) -> None:
    sections = config.model_dump(mode="json", include=set(SECTIONS))
    params = {
        f"{section}.{name}": value for section, values in sections.items() for name, value in (values or {}).items()
    }
    params |= {name: value for name, value in config.model_dump(mode="json", include=set(LISTS)).items() if value}
    log_values(client, run_id, params={"feature_service": config.feature_service, **params})


def _tuning(client: MlflowClient, run_id: str, tuning: Mapping[str, Any]) -> None:
    figures = ("trials", "pruned", "seconds", "default_loss", "best_loss")
    params = {f"lightgbm.{name}": value for name, value in tuning["params"].items()}
    log_values(client, run_id, params, {f"tuning.{name}": tuning.get(name) for name in figures})
    if tuning.get("history"):
        client.log_table(run_id, pd.DataFrame(tuning["history"]), "trials.json")


def _training(client: MlflowClient, run_id: str, training: Mapping[str, Any]) -> None:
    log_values(
        client,
        run_id,
        metrics={
            "calibration.slope": training["calibration"]["slope"],
            "calibration.intercept": training["calibration"]["intercept"],
            "training.rounds": training["rounds"],
            "training.seeds": len(training.get("seeds", ())),
            **{f"out_of_fold.{name}": value for name, value in training["out_of_fold"].items()},
        },
    )


def _evaluation(client: MlflowClient, run_id: str, evaluation: Mapping[str, Any]) -> None:
    metrics: dict[str, float | None] = {
        "test.rows": evaluation["test_rows"],
        "test.positive_rate": evaluation["positive_rate"],
    }
    for model in evaluation["models"]:
        for name, value in model.items():
            if isinstance(value, Mapping):
                metrics |= {
                    f"test.{model['name']}.{name}.{bound}": value[bound] for bound in ("estimate", "low", "high")
                }
            elif isinstance(value, (int, float)):
                metrics[f"test.{model['name']}.{name}"] = value
    for item in evaluation["differences"]:
        name = f"difference.{item['metric']}.{item['model']}.minus.{item['against']}"
        metrics |= {f"{name}.{bound}": item[bound] for bound in ("estimate", "low", "high")}
    for part in _PARTS:
        metrics |= _figures(part, evaluation.get(part))
    log_values(client, run_id, metrics=metrics, tags={"verdict": evaluation["verdict"]})
    client.log_table(run_id, pd.json_normalize(evaluation["models"]), "baselines.json")


def _leakage(client: MlflowClient, run_id: str, leakage: Mapping[str, Any]) -> None:
    alarms = leakage["alarms"]
    metrics = {f"leakage.{alarm['name']}": alarm["figure"] for alarm in alarms}
    raised = ", ".join(alarm["name"] for alarm in alarms if alarm["raised"]) or "none"
    log_values(client, run_id, metrics=metrics, tags={"leakage_alarms": raised})


def _figures(name: str, value: Any) -> dict[str, float | None]:
    """Every number below `value`, by the path to it; MLflow allows few characters in a name."""
    if isinstance(value, Mapping):
        return {path: number for key, part in value.items() for path, number in _figures(f"{name}.{key}", part).items()}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {_UNFIT.sub("_", name): value} if is_number else {}
