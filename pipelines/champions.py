"""What the registry says of aliases, read from its file, for those who should not wait until MLflow is imported."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipelines.model_store import challenger_name, stored_version
from pipelines.not_exported import read_not_exported
from pipelines.settings import Settings

_CHAMPIONS = """
SELECT a.name, a.version, t.value FROM registered_model_aliases a
LEFT JOIN model_version_tags t ON t.name = a.name AND t.version = a.version AND t.key = 'spec_hash'
WHERE a.alias = 'champion' ORDER BY a.name
"""


_ALIASES = "SELECT name, alias, version FROM registered_model_aliases WHERE alias IN ('champion', 'challenger')"


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
    database = _database(settings)
    if not database.exists():
        return []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_CHAMPIONS).fetchall()
    return [
        RegisteredChampion(name, str(version), spec_hash, tuple(_features(settings, name, str(version), spec_hash)))
        for name, version, spec_hash in rows
    ]


def _database(settings: Settings) -> Path:
    return settings.workspace.mlruns / "mlflow.db"


def alias_versions(settings: Settings) -> dict[tuple[str, str], str]:
    """The version that holds an alias, by model and alias. Raises sqlite3.Error where that cannot be read now."""
    database = _database(settings)
    if not database.exists():
        return {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(_ALIASES).fetchall()
    return {(name, alias): str(version) for name, alias, version in rows}


def due_exports(settings: Settings) -> dict[str, str | None]:
    """Where the model store lags behind the aliases: the version that is to be there, by its name in the store.

    None where a challenger is to be none any more. A champion stays when its alias is taken away: without one there
    would be nothing to serve. What could not be exported is due until it could, or is not wanted any more: then what is
    told of it ends. Raises as `alias_versions`.
    """
    held = alias_versions(settings)
    wanted: dict[str, str | None] = {}
    for name in (*settings.models, *settings.action_models):
        if (name, "champion") in held:
            wanted[name] = held[name, "champion"]
    if _database(settings).exists():
        wanted |= {challenger_name(name): held.get((name, "challenger")) for name in settings.models}
    home = settings.workspace.bentoml_home
    told = read_not_exported(home)
    return {name: version for name, version in wanted.items() if stored_version(home, name) != version or name in told}


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
