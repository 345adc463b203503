"""Keys as operators and clients have them: real commands, a real service, and a host that others can reach."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from feature_repo.state.plan import plan_state
from feature_repo.state.storage import stored_state
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import LoggedEvent, fold
from pipelines.settings import CHECKOUT, Workspace
from tests.e2e.cli import twin
from tests.e2e.test_service import START, Server
from tests.unit.serving_parts import make_shop

EVERYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture(scope="module")
def workspace() -> Iterator[Workspace]:
    """A workspace with a champion and one customer; removed at the end."""
    place = Workspace(f"test-keys-{os.getpid()}")
    shop = make_shop(CHECKOUT)
    shop.settings = replace(shop.settings, workspace=place)
    shop.publish(version="5")
    event = LoggedEvent(1, "Order Completed", START, START, "web", 100, {"units": 1, "lines": 1})
    state = stored_state("c1", fold(plan_state(shop.settings.features), None, [event]))
    storage, spec_hash = SQLiteStateStorage(place.state), shop.settings.features.hash
    storage.put_many(spec_hash, [state])
    storage.note(spec_hash, 0, 0, storage.begin(spec_hash))
    yield place
    shutil.rmtree(place.root)


@pytest.fixture
def keys_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The profile of the service and of commands says `require_keys: true`."""
    configs = Path(shutil.copytree(CHECKOUT / "configs", tmp_path / "configs"))
    profile = configs / "profiles" / "local.yaml"
    text = profile.read_text()
    assert "require_keys: false" in text
    profile.write_text(text.replace("require_keys: false", "require_keys: true"))
    monkeypatch.setenv("TWIN_CONFIG_DIR", str(configs))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def create(workspace: Workspace, *options: str) -> dict[str, str]:
    made = twin(workspace, "keys", "create", *options, "--json")
    assert made.returncode == 0, made.stderr
    return dict(json.loads(made.stdout))


@pytest.mark.usefixtures("keys_required")
def test_a_service_that_requires_keys(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asking = create(workspace, "--name", "backend", "--scopes", "predict")
    sending = create(workspace, "--source", "web", "--currency", "THB")
    server = Server(workspace.name, "--port", "0", "--host", EVERYWHERE)
    try:
        url = server.url()

        def predict(key: str | None) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return httpx.post(f"{url}/v1/predict", json={"customer_id": "c1"}, headers=headers, trust_env=False)

        def commanded() -> subprocess.CompletedProcess[str]:
            return twin(workspace, "predict", "c1", "--url", url)

        assert (predict(None).status_code, predict(sending["key"]).status_code) == (401, 403)
        assert predict(asking["key"]).status_code == 200
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 200
        refused = commanded()
        assert refused.returncode == 1
        assert "TWIN_API_KEY" in refused.stderr
        monkeypatch.setenv("TWIN_API_KEY", asking["key"])
        assert "churn version 5" in commanded().stdout
        assert twin(workspace, "keys", "revoke", asking["key_id"]).returncode == 0
        assert predict(asking["key"]).status_code == 401
        assert commanded().returncode == 1
    finally:
        server.kill()
    assert twin(workspace, "audit", "verify").stdout.startswith("3 entries")


def test_without_keys_it_does_not_start_where_others_reach_it(workspace: Workspace) -> None:
    server = Server(workspace.name, "--port", "0", "--host", EVERYWHERE)
    assert server.process.wait(timeout=60) == 2
    server._reader.join(10)
    assert "require_keys: true" in "".join(server.lines)
    assert "Traceback" not in "".join(server.lines)


def test_bentomls_own_command_does_not_expose_it_either(workspace: Workspace) -> None:
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:CustomerTwin"]
    environment = os.environ | {"TWIN_WORKSPACE": workspace.name, "BENTOML_DO_NOT_TRACK": "True"}
    ended = subprocess.run(
        [*command, "--host", EVERYWHERE, "--port", str(free_port())],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert "the service ends" in ended.stdout + ended.stderr
    assert "require_keys: true" in ended.stdout + ended.stderr
