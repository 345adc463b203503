"""A registered companion, by version or alias, as an object that predicts from a table of features."""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from feature_repo.configuration import Problem
from pipelines.companions.storage import CompanionModel, load_model
from pipelines.console import UserError
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig
from pipelines.tracking import CHAMPION, connect

# The name under which MLflow keeps a LightGBM model.
_MAIN = "model.lgb"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def load_companion(settings: Settings, config: CompanionConfig, version: str | None = None) -> CompanionModel:
    """The champion of a companion, or the version with that number.

    A value model's `predict` gives value and interval, a time model's a survival curve, from a table with the
    features of its service; other columns are passed over.

    Raises:
        UserError: there is no such version, its files are gone, or it reads another version of the features.
    """
    client = connect(settings.workspace)
    found = alias_version(client, config.name, CHAMPION) if version is None else _numbered(client, config.name, version)
    if found is None:
        wanted = "a version with the alias champion" if version is None else f"version {version}"
        problem = Problem("version", wanted, "none", f"twin train {config.name}")
        raise UserError(f"{config.name} is not registered.", [problem])
    if found.tags.get("spec_hash") != settings.features.hash:
        problem = Problem(
            "spec_hash", f"{found.tags.get('spec_hash')}, of version {found.version}", settings.features.hash,
            f"twin train {config.name}",
        )  # fmt: skip
        raise UserError(f"{config.name} was trained on another version of the features.", [problem])
    try:
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{config.name}/{found.version}"))
        return load_model(folder, _MAIN)
    except (MlflowException, OSError):
        raise UserError(
            f"The files of {config.name} version {found.version} are not where MLflow's database says. "
            f"If the checkout was moved, train and register again: twin train {config.name}"
        ) from None


def alias_version(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version that holds an alias, or None."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def _numbered(client: MlflowClient, name: str, version: str) -> ModelVersion | None:
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise
