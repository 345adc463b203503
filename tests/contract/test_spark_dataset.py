"""A training set made through Spark is the one made through DuckDB, to the last byte, by the profile alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from pipelines.artefacts import DATASET
from pipelines.console import UserError
from pipelines.dataset import build_dataset
from pipelines.feature_store import open_feature_store
from pipelines.settings import Settings, Workspace, load_settings
from tests.spark import spark_session
from tests.unit.test_dataset import churn_config, write_orders

pytestmark = pytest.mark.xdist_group("spark")


def project(folder: Path, engine: str) -> Settings:
    loaded = load_settings("spark")
    profile = loaded.profile.model_copy(update={"offline_store": engine})
    return replace(loaded, profile=profile, workspace=Workspace("spark", folder))


def test_the_dataset_is_the_same_to_the_last_byte(tmp_path: Path) -> None:
    spark_session()
    made: dict[str, tuple[str, str]] = {}
    write_orders(project(tmp_path, "duckdb"))
    for engine in ("duckdb", "spark"):
        settings = project(tmp_path, engine)
        store = open_feature_store(settings)
        assert engine in type(store.config.offline_store).__name__.lower()
        summary = build_dataset(settings, churn_config(settings, snapshots={"at_least_customers": 5}), store)
        content = (settings.workspace.artefacts("churn") / DATASET).read_bytes()
        made[engine] = (summary.dataset_hash, hashlib.sha256(content).hexdigest())
    assert made["spark"] == made["duckdb"]


def test_what_the_profile_says_of_spark_reaches_feast(tmp_path: Path) -> None:
    settings = project(tmp_path, "spark")
    spark = settings.profile.spark.model_copy(update={"lake_format": "delta", "conf": {"spark.master": "local[1]"}})
    settings = replace(settings, profile=settings.profile.model_copy(update={"spark": spark}))
    options = open_feature_store(settings).config.offline_store
    assert (options.lake_format, options.spark_conf) == ("delta", {"spark.master": "local[1]"})
    written = yaml.safe_load((settings.workspace.root / "feature_store.yaml").read_text())
    assert written["offline_store"]["type"].endswith("TwinSparkOfflineStore")


def test_spark_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="Spark") as caught:
        open_feature_store(project(tmp_path, "spark"))
    assert "customer-twin[spark]" in caught.value.problems[0].hint
