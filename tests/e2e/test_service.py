"""The service as its users start it: another process, real HTTP, a real state and a real model store."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from feature_repo.state.plan import plan_state
from feature_repo.state.storage import stored_state
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import LoggedEvent, fold
from feature_repo.windows import DAY
from pipelines.settings import CHECKOUT, Workspace
from serving.champion import load_champion
from tests.states import open_reader
from tests.unit.serving_parts import Shop, make_shop

START = 1_700_000_000_000_000
CUSTOMERS = tuple(f"c{number}" for number in range(60))


# As text, or within a line of JSON.
_READY = re.compile(r"ready: (http\S+)")


class Server:
    """`python -m serving` in a process group of its own; what it prints is gathered in `lines`."""

    def __init__(self, workspace: str, *options: str) -> None:
        command = [sys.executable, "-m", "serving", "--workspace", workspace, *options]
        self.process = subprocess.Popen(
            command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.lines: list[str] = []
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._gather, daemon=True)
        self._reader.start()

    def _gather(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if _READY.search(line):
                self._told.set()
        self._told.set()

    def url(self) -> str:
        """Where it answers; waits until it says so."""
        assert self._told.wait(90), "".join(self.lines)
        found = next((found for line in self.lines if (found := _READY.search(line))), None)
        assert found is not None, "".join(self.lines)
        return found[1]

    def stop(self, number: int) -> int:
        """Signal the starter, or with SIGINT its whole group as a terminal does; the exit code."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def workers(self) -> list[int]:
        """Process ids of the workers it started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        return [pid for pid, command in commands.items() if "_bentoml_impl.worker" in command]

    def kill(self) -> None:
        """kill -9 for all its processes; at the end none of them writes any more."""
        if self.process.poll() is None:
            started = psutil.Process(self.process.pid).children(recursive=True)
            os.killpg(self.process.pid, signal.SIGKILL)
            for process in started:
                # Workers have sessions of their own.
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.wait(timeout=30)
            until = time.monotonic() + 30
            while any(map(_lives, started)):
                assert time.monotonic() < until, "a process outlives kill -9"
                time.sleep(0.01)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A workspace of the checkout with a champion and the states of 60 customers; removed at the end."""
    workspace = Workspace(f"test-service-{os.getpid()}")
    made = make_shop(CHECKOUT)
    made.settings = replace(made.settings, workspace=workspace)
    made.publish(version="5")
    plan = plan_state(made.settings.features)
    rng = np.random.default_rng(3)
    states = [stored_state(customer, fold(plan, None, _orders(rng, i))) for i, customer in enumerate(CUSTOMERS)]
    storage, spec_hash = SQLiteStateStorage(workspace.state), made.settings.features.hash
    storage.put_many(spec_hash, states)
    storage.note(spec_hash, 0, 0, storage.begin(spec_hash))
    yield made
    shutil.rmtree(workspace.root)


def _orders(rng: np.random.Generator, customer: int) -> list[LoggedEvent]:
    times = np.sort(rng.integers(0, 200 * DAY, size=1 + customer % 9)) + START
    return [
        LoggedEvent(
            100 * customer + number,
            "Order Completed",
            int(time),
            int(time),
            "web",
            int(rng.integers(100, 9_000)),
            {"units": 2, "lines": 1, "products": [{"product_id": "a"}]},
        )
        for number, time in enumerate(times)
    ]


@pytest.fixture(scope="module")
def server(shop: Shop) -> Iterator[Server]:
    running = Server(shop.settings.workspace.name, "--port", "0")
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url(), timeout=30.0, trust_env=False) as made:
        yield made


def test_predictions_are_the_models_on_the_states_features(client: httpx.Client, shop: Shop) -> None:
    workspace, spec = shop.settings.workspace, shop.settings.features
    reader = open_reader(spec, workspace.state, shop.features)
    as_of = reader.data_end()
    assert as_of is not None
    booster = load_champion(workspace.bentoml_home, "churn").scorer
    expected = booster.predict(reader.read(CUSTOMERS, as_of).matrix).tolist()
    content = client.post("/v1/predict_many", json={"customer_ids": [*CUSTOMERS, "nobody"]}).json()
    assert [item["probability"] for item in content["results"]] == [*expected, None]
    assert content["model_version"] == "5"
    one = client.post("/v1/predict", json={"customer_id": CUSTOMERS[7], "reasons": True}).json()
    assert (one["probability"], one["as_of"]) == (expected[7], content["as_of"])
    assert one["reasons"]


def test_it_is_ready_and_documented(client: httpx.Client) -> None:
    assert client.get("/readyz").status_code == 200
    assert "/v1/predict" in client.get("/docs.json").json()["paths"]
    assert client.get("/v1/models").json()["models"][0]["served"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"customer_id": "nobody"}', 404, "unknown_customer"),
        (b'{"customer_id": 5}', 400, "invalid_request"),
        (b"{", 400, "invalid_json"),
        (b"a" * 20_000_000, 413, "body_too_large"),
    ],
)
def test_errors_have_the_one_shape(client: httpx.Client, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


def test_requests_at_the_same_time_do_not_mix(client: httpx.Client) -> None:
    def ask(number: int) -> tuple[str, str, float]:
        customer = CUSTOMERS[number % len(CUSTOMERS)]
        headers = {"X-Request-Id": f"r{number}"}
        content = client.post("/v1/predict", json={"customer_id": customer}, headers=headers).json()
        assert content["request_id"] == f"r{number}"
        return customer, content["customer_id"], content["probability"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(240)))
    assert all(asked == answered for asked, answered, _ in answers)
    assert len({(customer, probability) for customer, _, probability in answers}) == len(CUSTOMERS)


def test_a_port_in_use_is_said(server: Server, shop: Shop) -> None:
    second = Server(shop.settings.workspace.name, "--port", server.url().rsplit(":", 1)[1])
    assert second.process.wait(timeout=60) == 1
    second._reader.join(10)
    assert "already in use" in "".join(second.lines)
    assert "Traceback" not in "".join(second.lines)


def test_a_missing_model_is_said_and_not_served(shop: Shop, tmp_path: Path) -> None:
    other = Workspace(f"{shop.settings.workspace.name}-empty")
    server = Server(other.name, "--port", "0")
    try:
        url = server.url()
        answer = httpx.post(f"{url}/v1/predict", json={"customer_id": "1"}, trust_env=False)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_missing")
        assert "churn is not served: model_missing" in "".join(server.lines)
        assert server.stop(signal.SIGINT) == 0
        server._reader.join(10)
        assert "Traceback" not in "".join(server.lines)
    finally:
        server.kill()
        shutil.rmtree(other.root, ignore_errors=True)


def test_it_ends_its_requests_before_it_ends(client: httpx.Client, server: Server) -> None:
    ask = {"customer_ids": list(CUSTOMERS) * 16, "reasons": True}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(client.post, "/v1/predict_many", json=ask)
        # A slice of the work is enough to be sure that the request is under way.
        client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]})
        assert server.stop(signal.SIGTERM) == 0
        assert running.result().status_code == 200
    with socket.socket() as probe:
        address = httpx.URL(str(client.base_url))
        assert probe.connect_ex((address.host, address.port or 0)) != 0


def test_workers_end_with_a_starter_that_is_killed(shop: Shop) -> None:
    doomed = Server(shop.settings.workspace.name, "--port", "0")
    doomed.url()
    workers = [psutil.Process(pid) for pid in doomed.workers()]
    assert workers
    doomed.process.kill()
    doomed.process.wait(timeout=30)
    until = time.monotonic() + 60
    while any(map(_lives, workers)):
        assert time.monotonic() < until, "a worker outlives its starter"
        time.sleep(0.05)
