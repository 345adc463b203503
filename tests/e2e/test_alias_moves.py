"""An alias is moved in MLflow under load: the real service takes it up, drops no request and never goes back."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from feature_repo.state.plan import plan_state
from feature_repo.state.storage import stored_state
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import fold
from pipelines.model_store import challenger_name
from pipelines.register import export_champion, history
from pipelines.served_log import draw
from pipelines.settings import CHECKOUT, Settings, Workspace
from pipelines.tracking import connect
from tests.e2e.test_service import CUSTOMERS, Server, _orders
from tests.registered import CHALLENGER, CHAMPION, by_hand, register_booster
from tests.unit.serving_parts import Shop, make_shop, train

CLIENTS = 4
SECONDS = 240.0


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A workspace of the checkout with states; of churn version 1 is champion, 2 to 4 are registered too.

    Version 3 has lost its files, and version 4 reads other features. All is removed at the end.
    """
    made = make_shop(CHECKOUT)
    workspace = Workspace(f"test-aliases-{os.getpid()}")
    made.settings = replace(made.settings, workspace=workspace)
    try:
        _furnish(made)
        yield made
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)
        shutil.rmtree(workspace.mlruns, ignore_errors=True)


def _furnish(shop: Shop) -> None:
    settings, names = shop.settings, shop.features
    plan, rng = plan_state(settings.features), np.random.default_rng(3)
    states = [stored_state(customer, fold(plan, None, _orders(rng, i))) for i, customer in enumerate(CUSTOMERS)]
    storage = SQLiteStateStorage(settings.workspace.state)
    storage.put_many(settings.features.hash, states)
    storage.note(settings.features.hash, 0, 0, storage.begin(settings.features.hash))
    for number in (1, 2, 3):
        register_booster(settings, train(names, number), names, alias=CHAMPION if number == 1 else None)
    register_booster(settings, train(names[:-1], 4), names[:-1], alias=None)
    lost = connect(settings.workspace).get_model_version_download_uri("churn", "3")
    shutil.rmtree(Path(lost.removeprefix("file://")))
    export_champion(settings, settings.models["churn"])


@dataclass
class Client:
    """Asks without end, in turn one model and several; keeps what was answered."""

    url: str
    stop: threading.Event
    failed: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    count: int = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False) as client:
            # A pause, so that others of a busy machine get on as well.
            while not self.stop.wait(0.02):
                self.ask(client, CUSTOMERS[self.count % len(CUSTOMERS)])
                self.count += 1

    def ask(self, client: httpx.Client, customer: str) -> None:
        several = {"models": ["churn"]} if self.count % 2 else {}
        answer = client.post("/v1/predict", json={"customer_id": customer, **several})
        if answer.status_code != 200:
            self.failed.append(answer.text)
            return
        content = answer.json()
        version = content["predictions"][0]["model_version"] if several else content["model_version"]
        if self.versions[-1:] != [version]:
            self.versions.append(version)


def eventually(holds: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def test_an_alias_that_moves_under_load(shop: Shop) -> None:
    settings = shop.settings
    server = Server(settings.workspace.name, "--port", "0")
    stop = threading.Event()
    try:
        clients = [Client(server.url(), stop) for _ in range(CLIENTS)]
        threads = [threading.Thread(target=client.run) for client in clients]
        for thread in threads:
            thread.start()
        try:
            _move_about(settings, server, clients)
        finally:
            stop.set()
            print("".join(server.lines))
            for thread in threads:
                thread.join()
        assert [client.failed for client in clients] == [[]] * CLIENTS
        assert all(client.versions == ["1", "2"] for client in clients), "once, and never back"
        assert sum(client.count for client in clients) > 100
        _check_workers(server)
    finally:
        server.kill()
    told = [(move.how, move.alias, move.version) for move in history(settings, settings.models["churn"]).moves]
    assert told[:2] == [("register", CHAMPION, "1"), ("by_hand", CHAMPION, "2")]
    assert {("by_hand", CHAMPION, "3"), ("by_hand", CHAMPION, "4"), ("by_hand", CHALLENGER, "1")} <= set(told)
    drawn = draw(settings.workspace.served, 100_000, seed=1)
    shadows = {(drawn.lists[v.reads].version, s.version) for v in drawn.vectors for s in v.shadow}
    assert shadows == {("2", "1")}


def _move_about(settings: Settings, server: Server, clients: list[Client]) -> None:
    def info() -> dict[str, object]:
        found: dict[str, object] = httpx.get(f"{server.url()}/v1/models", timeout=60, trust_env=False).json()["models"][
            0
        ]
        return found

    def held_back() -> object:
        error = info()["held_back"]
        return error["code"] if isinstance(error, dict) else None

    eventually(lambda: all(client.versions == ["1"] for client in clients), "version 1 never answered all")
    by_hand(settings, CHAMPION, "2")
    eventually(lambda: all(client.versions == ["1", "2"] for client in clients), "version 2 never answered all")
    by_hand(settings, CHALLENGER, "1")
    eventually(lambda: info()["challenger"] == {"version": "1", "error": None}, "the challenger was not taken up")
    asked = sum(client.count for client in clients)
    eventually(lambda: sum(client.count for client in clients) > asked + 20, "nobody asks any more")
    by_hand(settings, CHAMPION, "3")
    eventually(lambda: held_back() == "not_exported", "a version without files is not told")
    by_hand(settings, CHAMPION, "4")
    eventually(lambda: held_back() == "model_mismatch", "a version of other features is not told")
    assert info()["model_version"] == "2"
    assert challenger_name("churn") not in str(info()["model"])


def _check_workers(server: Server) -> None:
    """What the exports needed was never in a worker: their libraries are not mapped there."""
    for worker in server.workers():
        mapped = {region.path for region in psutil.Process(worker).memory_maps()}
        assert not [name for name in mapped if "/sklearn/" in name or "/sqlalchemy/" in name]
        assert any("lib_lightgbm" in name for name in mapped), "libraries are seen here"
