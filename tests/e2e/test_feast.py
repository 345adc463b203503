"""Feast stays Feast: its commands and page work on a workspace, and a Feast user's code gets the service's values."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from click.testing import CliRunner
from feast import FeatureStore
from feast.cli.cli import cli

from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.feature_audit.vectors import same_bits
from pipelines.feature_store import FEAST_REPO, apply_features
from pipelines.settings import Settings, load_settings
from tests.contract.feature_lake import CUSTOMERS, write_lake
from tests.e2e.cli import throwaway_workspace
from tests.states import open_reader

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class FeastRepo:
    """A workspace as Feast sees it."""

    settings: Settings

    @property
    def yaml(self) -> Path:
        return self.settings.workspace.root / "feature_store.yaml"

    def environment(self) -> dict[str, str]:
        return {**os.environ, "TWIN_WORKSPACE": self.settings.workspace.name}

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("feast")), "-f", str(self.yaml), *arguments]

    def listed(self, kind: str) -> str:
        """What `feast KIND list` prints; the same command in this process, since its imports take seconds."""
        done = CliRunner().invoke(cli, ["-c", str(FEAST_REPO), "-f", str(self.yaml), kind, "list"])
        assert done.exit_code == 0, done.output
        return done.output


@pytest.fixture(scope="module")
def repo() -> Iterator[FeastRepo]:
    """A lake, states, and `feast apply` by Feast's own program, as the README has it."""
    with throwaway_workspace("feast") as workspace:
        settings = replace(load_settings(workspace.name), workspace=workspace)
        write_lake(workspace.lake)
        build_states(settings.features, workspace.lake, SQLiteStateStorage(workspace.state))
        apply_features(settings)
        made = FeastRepo(settings)
        workspace.feast_registry.unlink()
        done = subprocess.run(
            made.command("apply"), cwd=FEAST_REPO, env=made.environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert workspace.feast_registry.exists()
        yield made


@contextmanager
def feast_ui(repo: FeastRepo) -> Iterator[httpx.Client]:
    """`feast ui` on a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = repo.command("ui", "--host", "127.0.0.1", "--port", str(port))
    log = repo.settings.workspace.root / "ui.log"
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=FEAST_REPO, env=repo.environment(), stdout=file, stderr=file)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until and not answers(client):
                time.sleep(0.1)
            assert answers(client), log.read_text()
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def test_commands_and_page_show_views_services_and_the_entity(repo: FeastRepo) -> None:
    spec = repo.settings.features
    with feast_ui(repo) as client:
        views, services = repo.listed("feature-views"), repo.listed("feature-services")
        assert all(f"{view.name} " in views for view in spec.views)
        assert all(name in services for name in spec.services)
        assert all(f":{name}" in services for name in spec.service_features("churn"))
        assert "customer" in repo.listed("entities")

        def told(what: str) -> list[dict[str, Any]]:
            answer = client.get(f"/api/v1/{what}", params={"project": "customer_twin", "limit": 100})
            assert answer.status_code == 200, answer.text
            found: list[dict[str, Any]] = answer.json()[to_camel(what)]
            return found

        shown = {view["spec"]["name"]: view["spec"] for view in told("feature_views")}
        assert shown.keys() == {view.name for view in (*spec.views, *spec.request_views)}
        for view in spec.views:
            assert shown[view.name]["owner"] == view.owner
            assert {field["name"] for field in shown[view.name]["features"]} == {f.name for f in view.features}
        assert {service["spec"]["name"] for service in told("feature_services")} == spec.services.keys()


def to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def test_a_notebook_gets_what_the_service_reads(repo: FeastRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_WORKSPACE", repo.settings.workspace.name)
    names = repo.settings.features.service_features("churn")
    reader = open_reader(repo.settings.features, repo.settings.workspace.state, names)
    as_of = reader.data_end()
    assert as_of is not None
    read = reader.read(CUSTOMERS, as_of)

    store = FeatureStore(repo_path=str(FEAST_REPO), fs_yaml_file=repo.yaml)
    churn = store.get_feature_service("churn")
    now = pd.to_datetime(as_of, unit="us", utc=True)
    training = store.get_historical_features(
        entity_df=pd.DataFrame({"customer_id": CUSTOMERS, "event_timestamp": now}), features=churn
    ).to_arrow()
    online = store.get_online_features(
        features=churn, entity_rows=[{"customer_id": customer} for customer in CUSTOMERS]
    ).to_dict()
    assert online["customer_id"] == CUSTOMERS
    for column, name in enumerate(names):
        served = [row[column] for row in read.values]
        for got in (training.column(name).to_pylist(), online[name]):
            assert all(same_bits(a, b) for a, b in zip(served, got, strict=True)), name
