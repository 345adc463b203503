"""Models in MLflow's registry of a workspace, registered without training: for tests of aliases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm as lgb
from mlflow import MlflowClient

from feature_repo.model_inputs import ModelInputs
from pipelines.alias_moves import move_alias
from pipelines.registry import add_version, log_booster, write_content
from pipelines.settings import Settings
from pipelines.tracking import CHALLENGER, CHAMPION, alias_version, connect, tracked_run


def register_booster(
    settings: Settings, booster: lgb.Booster, features: Sequence[str], model: str = "churn",
    alias: str | None = CHAMPION, **manifest: Any,
) -> str:  # fmt: skip
    """A new version of `model`, with what its features are compiled from; its number. `alias` is moved as by a run."""
    names = tuple(features)
    content = {
        "model": model, "description": "", "features": list(names), "inputs": ModelInputs(names, names).to_json(),
        "spec_hash": settings.features.hash, "feature_service": "churn", "dataset_hash": "d", "lake_version": 1,
        "identity_version": 1, "gates": {"minimum_auc": True}, **manifest,
    }  # fmt: skip
    client = connect(settings.workspace)
    with TemporaryDirectory() as folder, tracked_run(settings, settings.models[model]) as run:
        file = Path(folder) / "model.lgb"
        booster.save_model(file)
        logged = log_booster(file, names, content)
        client.log_model_artifact(str(logged.model_id), str(write_content(Path(folder), settings.spec_file)))
        version = add_version(client, run, logged, content, [], "")
    if alias is not None:
        before = alias_version(settings, model, alias)
        held_by = None if before is None else str(before.version)
        move_alias(settings, client, model, alias, version, held_by, "register")
    return version


def by_hand(settings: Settings, alias: str, version: str | None, model: str = "churn") -> None:
    """Move an alias as a person does in MLflow, past this program."""
    client = MlflowClient(settings.workspace.tracking_uri)
    if version is None:
        client.delete_registered_model_alias(model, alias)
    else:
        client.set_registered_model_alias(model, alias, version)


__all__ = ["CHALLENGER", "CHAMPION", "by_hand", "register_booster"]
