"""The registered champions and what they read, for lists that should not wait until MLflow is imported."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from pipelines.settings import Settings

_CHAMPIONS = """
SELECT a.name, a.version, t.value FROM registered_model_aliases a
LEFT JOIN model_version_tags t ON t.name = a.name AND t.version = a.version AND t.key = 'spec_hash'
WHERE a.alias = 'champion' ORDER BY a.name
"""


@dataclass(frozen=True, slots=True)
class RegisteredChampion:
    """A version with the alias `champion`, the spec it was trained with, and the features it reads, if they are known.

    `spec_hash` is None where the registry does not have it.
    """

    model: str
    version: str
    spec_hash: str | None
    features: tuple[str, ...]


def registered_champions(settings: Settings) -> list[RegisteredChampion]:
    """The champion of every model that has one."""
    database = settings.workspace.mlruns / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_CHAMPIONS).fetchall()
    return [
        RegisteredChampion(name, str(version), spec_hash, tuple(_features(settings, name, str(version), spec_hash)))
        for name, version, spec_hash in rows
    ]


def _features(settings: Settings, model: str, version: str, spec_hash: str | None) -> Sequence[str]:
    """By the manifest that was exported to the service; before that, those of the model's feature service."""
    manifest = settings.workspace.bentoml_home / "models" / model / version / "manifest.json"
    if manifest.exists():
        names: list[str] = json.loads(manifest.read_text("utf-8"))["features"]
        return names
    config = settings.all_models.get(model)
    if config is None or spec_hash != settings.features.hash:
        return ()
    return settings.features.service_features(config.feature_service)
