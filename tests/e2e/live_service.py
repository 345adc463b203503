"""A workspace with a model, a write key and the real service over it, for the tests that try to break it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.events.journal import StoredEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.settings import CHECKOUT, Settings, Workspace
from tests.e2e.test_service import Server
from tests.unit.serving_parts import Shop, ingest_key, make_shop


@dataclass
class LiveService:
    """The service in processes of its own. `client` shows the write key."""

    shop: Shop
    key: str
    server: Server
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.connect()

    @property
    def workspace(self) -> Workspace:
        return self.shop.settings.workspace

    def connect(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url(), auth=(self.key, ""), timeout=60, trust_env=False)

    def track(self, message_id: str, customer: str = "good", client: httpx.Client | None = None) -> httpx.Response:
        """A good event."""
        properties = {"order_id": message_id, "total": 12.5, "currency": "THB"}
        body = {"messageId": message_id, "userId": customer, "event": "Order Completed", "properties": properties}
        return (client or self.client).post("/v1/track", json=body)

    def check_well(self, message_id: str) -> None:
        """It is ready, and takes a good event."""
        until = time.monotonic() + 60
        answer = self.track(message_id)
        # The first event imports engines; on a busy machine that takes longer than an answer may.
        while answer.status_code == 504 and time.monotonic() < until:
            answer = self.track(message_id)
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] + answer.json()["duplicates"] == 1
        # What could not be served is wired again once a second.
        while self.client.get("/readyz").status_code != 200:
            assert time.monotonic() < until, self.client.get("/readyz").text
            time.sleep(0.1)

    def events(self) -> list[StoredEvent]:
        journal = SQLiteJournal(self.workspace.journal)
        try:
            return journal.read(0, 1_000_000)
        finally:
            journal.close()

    def states(self, file: Path | None = None) -> dict[str, bytes]:
        """The state of each customer with events, as stored."""
        return states(self.shop.settings, file or self.workspace.state)

    def rebuilt(self, file: Path) -> dict[str, bytes]:
        """The states, made again from lake and journal into `file`."""
        return rebuilt(self.shop.settings, file)

    def kill(self) -> None:
        self.client.close()
        kill_outright(self.server)


def kill_outright(server: Server) -> None:
    """kill -9 for the starter and its workers, which have sessions of their own."""
    if server.process.poll() is None:
        for process in (*server.workers(), server.process.pid):
            os.kill(process, signal.SIGKILL)
        server.process.wait(timeout=30)


@contextmanager
def live_service(workspace: Workspace) -> Iterator[LiveService]:
    """The service over a new workspace; what is in it is gone at the end."""
    try:
        shop, key = furnish(workspace)
        made = LiveService(shop, key, Server(workspace.name, "--port", "0"))
        try:
            yield made
        finally:
            made.kill()
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)


def states(settings: Settings, file: Path) -> dict[str, bytes]:
    """The states in `file` of all customers with events in the workspace's lake or journal."""
    with event_store(settings) as store:
        customers = sorted(set(store.read()["user_id"].drop_null().to_pylist()))
    found = SQLiteStateStorage(file).get_many(settings.features.hash, customers)
    return {who: state.data for who, state in found.items() if state.data}


def rebuilt(settings: Settings, file: Path) -> dict[str, bytes]:
    """The same states, made from lake and journal anew into `file`."""
    with event_store(settings) as store:
        now = store.snapshot()
    members = current_membership(settings)
    storage = SQLiteStateStorage(file)
    build_states(settings.features, settings.workspace.lake, storage, now.version, tail=now.tail, membership=members)
    return states(settings, file)


def furnish(workspace: Workspace) -> tuple[Shop, str]:
    """A champion and a write key for `workspace`."""
    shop = make_shop(CHECKOUT)
    shop.settings = replace(shop.settings, workspace=workspace)
    shop.publish(version="5")
    key = ingest_key(workspace)
    return shop, key


def check_error(answer: httpx.Response) -> dict[str, Any]:
    """The answer is an error in the one shape; its content."""
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    error: dict[str, Any] = content["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["request_id"] == answer.headers["x-request-id"]
    for detail in error["details"]:
        assert set(detail) == {"field", "expected", "got", "hint"}
        assert detail["field"]
        assert detail["expected"]
        assert detail["got"]
    assert "Traceback" not in answer.text
    return error
