"""kill -9 of the whole service at random moments under load: what was acknowledged is there once, and in the states.

TWIN_KILLS says how often to kill (3 by default; `make kill-test` runs 100). The real service takes seconds to start,
so it is killed 3 times at most; the others are of the same application in one process, forked with all imported.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from segment.analytics.client import Client as SegmentClient

from pipelines.cli.features import build_state
from pipelines.events.opening import event_store
from pipelines.settings import CHECKOUT, Settings, Workspace
from tests.e2e.live_service import furnish, kill_outright, rebuilt, states
from tests.e2e.test_service import Server

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TWIN_KILLS", "3"))
REAL_KILLS = min(KILLS, 3)
KILLS_A_BUILD = 10
CUSTOMERS = 40


class Victim(Protocol):
    """A service that can be started and killed."""

    def start(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class RealService:
    """`python -m serving`. In turns its worker alone is killed, which BentoML starts again, and the starter too."""

    workspace: Workspace
    port: int
    server: Server | None = None
    kills: int = 0

    def start(self) -> None:
        if self.server is None or self.server.process.poll() is not None:
            self.server = Server(self.workspace.name, "--port", str(self.port))

    def kill(self) -> None:
        assert self.server is not None
        self.kills += 1
        if self.kills % 2 == 1:
            for worker in self.server.workers():
                os.kill(worker, signal.SIGKILL)
        else:
            kill_outright(self.server)

    def close(self) -> None:
        if self.server is not None:
            kill_outright(self.server)


class LeanService:
    """The same ASGI application in one process that uvicorn runs. A nursery forks it, with everything imported."""

    def __init__(self, workspace: Workspace, port: int) -> None:
        environment = {
            "TWIN_WORKSPACE": workspace.name,
            "BENTOML_HOME": str(workspace.bentoml_home),
            "PROMETHEUS_MULTIPROC_DIR": str(workspace.root / "metrics"),
        }
        program = f"from {__name__} import nursery; nursery({port})"
        self.nursery = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process = 0

    def start(self) -> None:
        self._say("start")
        self.process = int(self._heard())

    def kill(self) -> None:
        if self.process:
            os.kill(self.process, signal.SIGKILL)
            assert int(self._heard()) == -signal.SIGKILL
            self.process = 0

    def close(self) -> None:
        self.kill()
        assert self.nursery.stdin is not None
        self.nursery.stdin.close()
        self.nursery.wait(timeout=30)

    def _say(self, word: str) -> None:
        print(word, file=self.nursery.stdin, flush=True)

    def _heard(self) -> str:
        assert self.nursery.stdout is not None
        return self.nursery.stdout.readline()


def nursery(port: int) -> None:
    """A process with the service for each line of input; says its id, then how it ended."""
    import uvicorn

    import pipelines.events.lake
    import pipelines.events.store
    from serving.service import CustomerTwin

    assert pipelines.events.lake
    assert pipelines.events.store
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            app = CustomerTwin.to_asgi()  # type: ignore[attr-defined]
            uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
            os._exit(1)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@dataclass
class Load:
    """Clients that send until they are told to stop, each call again until it is answered for good."""

    url: str
    key: str
    acknowledged: list[str] = field(default_factory=list)
    unanswered: int = 0
    waited: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def single(self, number: int) -> None:
        self._send(number, lambda serial: [f"{number}-{serial}"], lambda items: ("/v1/track", items[0]))

    def batches(self, number: int) -> None:
        def names(serial: int) -> list[str]:
            return [f"{number}-{serial}-{place}" for place in range(1 + serial % 20)]

        self._send(number, names, lambda items: ("/v1/batch", {"batch": items}))

    def customers(self) -> set[str]:
        """Those with an acknowledged event."""
        return {_item(name)["userId"] for name in list(self.acknowledged)}

    def _send(
        self,
        number: int,
        names_of: Callable[[int], list[str]],
        call: Callable[[list[dict[str, Any]]], tuple[str, dict[str, Any]]],
    ) -> None:
        serial = 0
        with httpx.Client(base_url=self.url, auth=(self.key, ""), timeout=30, trust_env=False) as client:
            while not self.stop.is_set():
                serial += 1
                names = names_of(serial)
                path, body = call([_item(name) for name in names])
                answer = self._answer(client, path, body)
                assert answer.status_code == 200, answer.text
                told = answer.json()
                assert told["accepted"] + told["duplicates"] == len(names)
                self.acknowledged += names

    def _answer(self, client: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
        """The first answer that is no invitation to come again."""
        while True:
            try:
                answer = client.post(path, json=body)
            except httpx.TransportError as error:
                # Nobody listens while the service starts; what counts is what was cut off in the middle.
                self.unanswered += not isinstance(error, httpx.ConnectError)
                time.sleep(0.01)
                continue
            if answer.status_code == 504:
                # A machine that is too busy; the call may have been stored or not.
                self.unanswered += 1
                continue
            if answer.status_code != 503:
                return answer
            assert int(answer.headers["retry-after"]) > 0
            self.waited += 1
            time.sleep(0.05)

    def segment(self, number: int) -> None:
        """Segment's own client as it is. It gives up at last, and says so; then the same is given to it again."""
        failed: list[str] = []

        def on_error(_: Exception, items: Any) -> None:
            failed.extend(item["messageId"] for item in items)

        client = SegmentClient(
            self.key, host=self.url, gzip=True, on_error=on_error, max_retries=2, upload_interval=0.05, timeout=30
        )
        serial = 0
        while not self.stop.is_set():
            serial += 1
            names = waiting = [f"{number}-{serial}-{place}" for place in range(1 + serial % 20)]
            while waiting:
                failed.clear()
                for name in waiting:
                    item = _item(name)
                    client.track(item["userId"], item["event"], item["properties"], message_id=name)
                client.flush()
                waiting = list(failed)
                self.unanswered += bool(waiting)
            self.acknowledged += names
        client.join()


def _item(name: str) -> dict[str, Any]:
    number = sum(name.encode())
    return {
        "type": "track",
        "messageId": name,
        "userId": f"c{number % CUSTOMERS}",
        "event": ["Order Completed", "Product Added", "Door Opened"][number % 3],
        "properties": {"order_id": name, "product_id": "p", "total": number / 100, "price": 2.5, "currency": "THB"},
    }


@pytest.fixture
def furnished() -> Iterator[tuple[Settings, str]]:
    """A new workspace's settings and its write key."""
    workspace = Workspace(f"test-kill-{os.getpid()}")
    try:
        shop, key = furnish(workspace)
        yield shop.settings, key
    finally:
        shutil.rmtree(workspace.root, ignore_errors=True)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bombard(victim: Victim, settings: Settings, load: Load, kills: int) -> None:
    """Kill the service `kills` times under load and leave it running; states are built in bulk now and then."""
    chance = random.Random(7)
    logging.getLogger("segment").setLevel(logging.CRITICAL)
    jobs = [load.single, load.batches, load.batches, load.segment]
    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        running = [pool.submit(job, number) for number, job in enumerate(jobs)]
        builds = []
        try:
            for kill in range(kills):
                victim.start()
                if kill % 4 != 3:
                    _wait_for_more(load, running)
                # Else while it starts: what the last one left undone is being folded then.
                time.sleep(chance.uniform(0, 0.4))
                if kill % KILLS_A_BUILD == KILLS_A_BUILD - 1:
                    builds.append(pool.submit(build_state, settings))
                    time.sleep(chance.uniform(0, 0.4))
                victim.kill()
            victim.start()
            _wait_for_more(load, running)
            while len(load.customers()) < CUSTOMERS:
                _wait_for_more(load, running)
        finally:
            load.stop.set()
        for each in [*running, *builds]:
            each.result(timeout=120)


def _wait_for_more(load: Load, running: list[Any]) -> None:
    """Until something more is acknowledged."""
    before, until = len(load.acknowledged), time.monotonic() + 90
    while len(load.acknowledged) == before:
        assert time.monotonic() < until, "nothing is acknowledged"
        for each in running:
            if each.done():
                each.result()
        time.sleep(0.005)


def check(settings: Settings, load: Load, tmp_path: Path) -> None:
    with event_store(settings) as store:
        stored = store.read()
    times = Counter(stored["event_id"].to_pylist())
    assert times.total() == len(times), "an event is there twice"
    assert set(load.acknowledged) - set(times) == set(), "an acknowledged event is lost"
    # Whoever sent an event went on until it was acknowledged.
    assert set(times) - set(load.acknowledged) == set()
    assert len(set(stored["position"].to_pylist())) == len(times)
    found = states(settings, settings.workspace.state)
    assert len(found) == CUSTOMERS
    assert found == rebuilt(settings, tmp_path / "rebuilt.db")


def killed(
    victim: RealService | LeanService, furnished: tuple[Settings, str], port: int, kills: int, tmp_path: Path
) -> Load:
    """Kill `victim` that often under load, and hold what is there then against what was acknowledged."""
    settings, key = furnished
    load = Load(f"http://127.0.0.1:{port}", key)
    try:
        bombard(victim, settings, load, kills)
    finally:
        victim.close()
    check(settings, load, tmp_path)
    return load


def test_the_real_service_is_killed(furnished: tuple[Settings, str], port: int, tmp_path: Path) -> None:
    killed(RealService(furnished[0].workspace, port), furnished, port, REAL_KILLS, tmp_path)


def test_the_application_is_killed(furnished: tuple[Settings, str], port: int, tmp_path: Path) -> None:
    load = killed(LeanService(furnished[0].workspace, port), furnished, port, KILLS, tmp_path)
    print(
        f"{KILLS} kills; {len(load.acknowledged)} events acknowledged, each there once; "
        f"{load.unanswered} calls cut off and sent again; {load.waited} told to wait"
    )
