"""Access and erasure asked of a real service, while other customers' events keep coming."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from pipelines.access import AuditLog, Keys
from pipelines.cli.features import build_state
from pipelines.events.opening import event_store
from pipelines.settings import Workspace
from tests.e2e.cli import twin
from tests.e2e.live_service import LiveService, check_error, live_service
from tests.e2e.test_personal_data_at_rest import leaks

pytestmark = pytest.mark.slow

EMAIL = "Somchai.Jaidee@example.com"


@pytest.fixture
def live() -> Iterator[LiveService]:
    workspace = Workspace(f"test-erase-{os.getpid()}")
    try:
        with live_service(workspace) as service:
            yield service
    finally:
        shutil.rmtree(workspace.mlruns, ignore_errors=True)


def ingest_key(workspace: Workspace) -> str:
    keys = Keys(workspace.access)
    return keys.create("shop", ["ingest"], "web", "THB", purposes=["profiling"], legal_basis="contract")[1]


def send(client: httpx.Client, who: str, number: int, **traits: str) -> httpx.Response:
    properties = {"order_id": f"o{number}", "total": 12.5, "currency": "THB"}
    body = {
        "messageId": f"{who}-{number}", "userId": who, "event": "Order Completed", "properties": properties,
        "context": {"traits": traits},
    }  # fmt: skip
    return client.post("/v1/track", json=body)


def predict(client: httpx.Client, who: str, named: str) -> httpx.Response:
    return client.post("/v1/predict", json={"customer_id": who}, headers={"x-request-id": named})


class Others:
    """Ten customers who keep sending, each call until it is acknowledged; predictions of them and `victim` asked."""

    def __init__(self, client: httpx.Client, victim: str) -> None:
        self.client, self.kept, self.refused, self.victim = client, [], set[str](), victim
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._over.is_set() or number < 50:
            number += 1
            while (answer := send(self.client, f"other{number % 10}", number)).status_code != 200:
                self.refused.add(answer.json()["error"]["code"])
            self.kept.append(f"other{number % 10}-{number}")
            assert predict(self.client, f"other{number % 10}", f"p{number}").status_code == 200
            # Of whom is being erased there are features at first, and none at the end.
            assert predict(self.client, self.victim, f"{self.victim}-{number}").status_code in (200, 404)


def test_rights_by_api(live: LiveService, tmp_path: Path) -> None:
    workspace = live.workspace
    admin = Keys(workspace.access).create("desk", ["admin"])[1]
    with httpx.Client(
        base_url=live.server.url(), auth=(ingest_key(workspace), ""), timeout=120, trust_env=False
    ) as client:
        live.check_well("warm")
        for number in range(6):
            assert send(client, "somchai", number, email=EMAIL).status_code == 200
        build_state(live.shop.settings)
        assert send(client, "somchai", 7, email=EMAIL).status_code == 200

        def ask(path: str, body: dict[str, str], key: str = admin) -> httpx.Response:
            return client.post(f"/v1/privacy/{path}", json=body, auth=(key, ""))

        whom = {"kind": "email", "value": EMAIL.upper(), "reason": "case 4711"}
        for path in ("access", "erase"):
            assert check_error(client.post(f"/v1/privacy/{path}", json=whom, auth=None))["code"] == "unauthorized"
            assert check_error(ask(path, whom, live.key))["code"] == "forbidden"
            assert ask(path, {**whom, "value": "nobody@example.com"}).status_code == 404
            assert check_error(ask(path, {**whom, "customer_id": "somchai"}))["code"] == "invalid_request"
            assert ask(path, {"customer_id": "somchai"}).status_code == 400
            assert ask(path, {**whom, "reason": "somchai asked"}).status_code == 400
            assert ask(path, {**whom, "kind": "shoe"}).status_code == 400
        for number in range(3):
            assert predict(client, "somchai", f"somchai-{number}").status_code == 200
        assert live.served("somchai-2")
        told = ask("access", whom)
        assert told.status_code == 200
        assert [item["request_id"] for item in told.json()["predictions"]] == [f"somchai-{n}" for n in range(3)]
        assert [event["event_id"] for event in told.json()["events"]] == [f"somchai-{n}" for n in (0, 1, 2, 3, 4, 5, 7)]
        assert EMAIL in {item["value"] for item in told.json()["identifiers"]}
        with Others(client, "somchai") as others:
            done = ask("erase", whom)
        assert done.status_code == 200, done.text
        report = json.loads(done.content)
        assert (report["found"], report["events"]) == ([], 7)
        assert others.refused <= {"erasure_runs", "states_busy"}
        assert ask("access", whom).status_code == 404
        assert report["served"] >= 3
        assert predict(client, "other1", "the-last").status_code == 200
        # When it is written, so is everything that was asked before.
        assert live.served("the-last")
        assert send(client, "somchai", 1, email=EMAIL).json()["duplicates"] == 1
        files = [file for file in workspace.root.rglob("*") if file.is_file()]
        assert leaks({"somchai", EMAIL, EMAIL.lower()}, files) == {}
        with event_store(live.shop.settings) as store:
            stored = store.read()["event_id"].to_pylist()
        assert {event_id for event_id in stored if event_id.startswith("other")} == set(others.kept)
        live_states = live.states()
        assert live_states == live.rebuilt(tmp_path / "rebuilt.db")
        assert {f"other{number}" for number in range(10)} <= live_states.keys()
    actions = [entry.action for entry in AuditLog(workspace.audit).entries()]
    assert actions.count("privacy.access") == 1
    assert actions[-2:] == ["privacy.erase", "privacy.erased"]


def test_rights_by_command(live: LiveService, tmp_path: Path) -> None:
    workspace, file = live.workspace, tmp_path / "report.json"
    with httpx.Client(
        base_url=live.server.url(), auth=(ingest_key(workspace), ""), timeout=120, trust_env=False
    ) as client:
        live.check_well("warm")
        assert send(client, "somchai", 1, email=EMAIL).status_code == 200
        shown = twin(workspace, "privacy", "access", EMAIL, "--kind", "email", "--output", str(file))
        assert shown.returncode == 0, shown.stderr
        assert "1 events" in shown.stdout.replace("  ", " ")
        assert json.loads(file.read_text())["events"][0]["identifiers"] == {"email": EMAIL}
        assert file.stat().st_mode & 0o077 == 0
        refused = twin(workspace, "privacy", "erase", "somchai", "--reason", "case 4711")
        assert refused.returncode == 1
        assert "1 events" in refused.stderr
        assert "nothing was erased" in refused.stderr
        assert twin(workspace, "privacy", "erase", "nobody", "--reason", "x", "--yes").returncode == 1
        done = twin(workspace, "privacy", "erase", "somchai", "--reason", "case 4711", "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["found"] == []
        assert send(client, "somchai", 1, email=EMAIL).json()["duplicates"] == 1
        assert send(client, "somchai", 2, email=EMAIL).json()["accepted"] == 1
        assert live.states()["somchai"]
        again = json.loads(twin(workspace, "privacy", "access", "somchai", "--json").stdout)
        assert [event["event_id"] for event in again["events"]] == ["somchai-2"]
