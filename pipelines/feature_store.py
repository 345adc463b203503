"""The Feast store of a workspace: applied to the current spec, and opened."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import yaml

from feature_repo.configuration import Problem
from feature_repo.event_table import ensure_table
from feature_repo.state.backends import URL_VARIABLES
from pipelines.console import UserError
from pipelines.identity.current import current_membership
from pipelines.settings import CHECKOUT, Settings
from pipelines.settings.profile import Profile
from pipelines.uninstrumented import uninstrumented

with uninstrumented():
    from feast import FeatureStore

    from feature_repo.feast_objects import feast_objects

FEAST_REPO = CHECKOUT / "feature_repo"


def apply_features(settings: Settings) -> FeatureStore:
    """Register the spec's views and services with Feast, and open the store.

    Writes `feature_store.yaml` into the workspace, for Feast's own commands, and publishes whose events are whose.

    Raises:
        UserError: the profile wants Spark, and PySpark is not installed.
    """
    ensure_table(settings.workspace.lake)
    current_membership(settings)
    store = FeatureStore(repo_path=str(FEAST_REPO), fs_yaml_file=_write_yaml(settings))
    wanted = feast_objects(settings.features, settings.workspace.lake)
    names = {(type(item), item.name) for item in wanted}
    views = [*store.list_batch_feature_views(), *store.list_on_demand_feature_views()]
    present = [*store.list_feature_services(), *views]
    gone = [item for item in present if (type(item), item.name) not in names]
    store.apply(wanted, objects_to_delete=gone, partial=False)
    return store


def open_feature_store(settings: Settings, lake_version: int | None = None) -> FeatureStore:
    """The workspace's Feast store with the current spec applied; `lake_version` pins the lake for training."""
    # Feast says so at each read, which a person at a terminal can do nothing about.
    warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
    store = apply_features(settings)
    store.config.offline_store.lake_version = lake_version
    return store


def _write_yaml(settings: Settings) -> Path:
    workspace = settings.workspace
    content = {
        "project": "customer_twin",
        "provider": "local",
        "registry": _relative(workspace.feast_registry),
        "online_store": {
            "type": "feature_repo.stores.online.TwinOnlineStore",
            **_place_of_states(settings),
            "features": _relative(settings.config_dir / "features.yaml"),
            "clock": settings.profile.clock,
        },
        "offline_store": {
            **_engine(settings.profile),
            "lake": _relative(workspace.lake),
            "membership": _relative(workspace.membership),
            "features": _relative(settings.config_dir / "features.yaml"),
        },
        "entity_key_serialization_version": 3,
    }
    path = workspace.root / "feature_store.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# Written by `twin features apply`.\n" + yaml.safe_dump(content, sort_keys=False))
    return path


def _place_of_states(settings: Settings) -> dict[str, str]:
    backend = settings.profile.online_store
    if backend == "sqlite":
        return {"backend": backend, "path": _relative(settings.workspace.state)}
    # Feast reads the address from the environment; a file is no place for a password.
    return {
        "backend": backend,
        "connection": f"${{{URL_VARIABLES[backend]}}}",
        "workspace": settings.workspace.name,
    }


def _engine(profile: Profile) -> dict[str, Any]:
    """What computes historical features.

    Raises:
        UserError: the profile wants Spark, and PySpark is not installed.
    """
    if profile.offline_store == "duckdb":
        return {"type": "feature_repo.stores.offline.TwinDuckDBOfflineStore"}
    if importlib.util.find_spec("pyspark") is None:
        hint = "pip install 'customer-twin[spark]', or choose a profile with `offline_store: duckdb`"
        wanted = Problem("offline_store", "PySpark", "none that can be imported", hint)
        raise UserError("this profile computes the features of a training set with Spark", [wanted])
    return {
        "type": "feature_repo.stores.offline_spark.TwinSparkOfflineStore",
        "lake_format": profile.spark.lake_format,
        "spark_conf": dict(profile.spark.conf),
    }


def _relative(path: Path) -> str:
    """As Feast reads it: from the Feast repo."""
    return os.path.relpath(path, FEAST_REPO)
