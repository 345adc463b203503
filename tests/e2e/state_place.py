"""A workspace whose states stand in a store of the test's choice, with history in its lake, and services over it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from feature_repo.state.backends import URL_VARIABLES, Backend
from pipelines.cli.features import build_state
from pipelines.events.journal import NewEvent
from pipelines.events.opening import event_store, open_states
from pipelines.settings import CHECKOUT, Settings, Workspace, load_settings
from tests.e2e.live_service import kill_outright, rebuilt
from tests.e2e.test_service import Server
from tests.unit.serving_parts import ingest_key, make_shop

HISTORY = tuple(f"H{number}" for number in range(5))
_LONG_AGO = 1_700_000_000_000_000


@dataclass
class StatePlace:
    """`settings` are of a profile with the store; services are started by `serve`, and all ended by the fixture."""

    settings: Settings
    key: str
    servers: list[Server] = field(default_factory=list)

    def serve(self) -> Client:
        self.servers.append(Server(self.settings.workspace.name, "--port", "0"))
        return Client(self, self.servers[-1])

    def end_services(self) -> None:
        for server in self.servers:
            kill_outright(server)
        self.servers.clear()

    def assert_states_are_right(self) -> None:
        """Those in the store are, to the last bit, those made of lake and journal anew."""
        file = self.settings.workspace.root / "rebuilt.db"
        file.unlink(missing_ok=True)
        expected = rebuilt(self.settings, file)
        found = open_states(self.settings).get_many(self.settings.features.hash, list(expected))
        assert {who: state.data for who, state in found.items()} == expected != {}


@dataclass
class Client:
    """One service of a place."""

    place: StatePlace
    server: Server

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.server.url(), auth=(self.place.key, ""), timeout=30, trust_env=False)

    def track(self, message_id: str, customer: str) -> httpx.Response:
        properties = {"order_id": message_id, "total": 12.5, "currency": "THB"}
        body = {"messageId": message_id, "userId": customer, "event": "Order Completed", "properties": properties}
        return self._post("/v1/track", body)

    def predict(self, customer: str) -> httpx.Response:
        return self._post("/v1/predict", {"customer_id": customer})

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def wait_until(self, done: Callable[[], bool]) -> None:
        until = time.monotonic() + 40
        while not done():
            assert time.monotonic() < until, "".join(self.server.lines[-20:])
            time.sleep(0.05)

    def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        return self.http.post(path, json=body)


@contextmanager
def state_place(backend: Backend, url: str, folder: Path, **ingestion: Any) -> Iterator[StatePlace]:
    """A place with a champion, and history of some customers in the lake alone. `ingestion` is of the profile."""
    profile = {"description": "test", "clock": "wall", "online_store": backend, "ingestion": ingestion}
    shutil.copytree(CHECKOUT / "configs", folder / "configs")
    (folder / "configs" / "profiles" / "test.yaml").write_text(yaml.safe_dump(profile))
    workspace = Workspace(f"test-{backend}-{os.getpid()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWIN_CONFIG_DIR", str(folder / "configs"))
        patch.setenv("TWIN_PROFILE", "test")
        if backend in URL_VARIABLES:
            patch.setenv(URL_VARIABLES[backend], url)
        shop = make_shop(CHECKOUT)
        shop.settings = replace(load_settings(workspace.name), workspace=workspace)
        shop.publish(version="1")
        place = StatePlace(shop.settings, ingest_key(workspace, scopes=("ingest", "predict")))
        with event_store(shop.settings) as store:
            store.journal.append([_order(number) for number in range(3 * len(HISTORY))])
        assert build_state(shop.settings).moved == 3 * len(HISTORY)
        try:
            yield place
        finally:
            place.end_services()
            shutil.rmtree(workspace.root)


def _order(number: int) -> NewEvent:
    at = _LONG_AGO + number * 3_600_000_000
    customer = HISTORY[number % len(HISTORY)]
    properties = {"order_id": str(number), "total": 100 + number}
    return NewEvent(
        "web", f"history-{number}", "Order Completed", at, at, "web",
        user_id=customer, value=100 + number, currency="THB", properties=properties,
    )  # fmt: skip
