"""The end of a service under load: it says that it ends, answers all it took, and loses nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from pipelines.settings import Workspace
from tests.e2e.live_service import LiveService, live_service
from tests.e2e.profiled import service_profile
from tests.e2e.test_service import _lives

pytestmark = pytest.mark.slow

CLIENTS = 4


def end(service: LiveService, seconds: float) -> int:
    """The exit code, within `seconds`."""
    return service.server.process.wait(timeout=seconds)


class Teller:
    """Sends events until nobody listens any more."""

    def __init__(self, service: LiveService, number: int, stopping: threading.Event) -> None:
        self.service = service
        self.number = number
        self.stopping = stopping
        self.acknowledged: list[str] = []
        self.after_the_signal = 0

    def run(self) -> None:
        serial = 0
        until = time.monotonic() + 60
        with self.service.connect() as client:
            while time.monotonic() < until:
                name = f"{self.number}-{serial}"
                try:
                    answer = self.service.track(name, f"c{self.number}", client)
                except httpx.TransportError:
                    # Nobody took the connection: the journal will show that nobody took the event either.
                    if self.stopping.is_set():
                        return
                    raise
                assert answer.status_code == 200, answer.text
                self.acknowledged.append(name)
                self.after_the_signal += self.stopping.is_set()
                serial += 1


def test_under_load_all_that_was_taken_is_answered_and_kept(tmp_path: Path) -> None:
    with (
        service_profile(tmp_path, drain_seconds=2.0),
        live_service(Workspace(f"test-drain-{os.getpid()}")) as service,
    ):
        service.check_well("first")
        predicted = service.client.post("/v1/predict", json={"customer_id": "good"})
        assert predicted.status_code == 200
        stopping = threading.Event()
        tellers = [Teller(service, number, stopping) for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            running = [pool.submit(teller.run) for teller in tellers]
            while not all(teller.acknowledged for teller in tellers):
                assert not any(run.done() for run in running)
                time.sleep(0.01)
            stopping.set()
            service.server.process.send_signal(signal.SIGTERM)
            until = time.monotonic() + 60
            while (ready := service.client.get("/readyz")).status_code == 200:
                assert time.monotonic() < until
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "draining")
            assert ready.headers["connection"] == "close"
            assert end(service, 60) == 0
            for run in running:
                run.result()
        assert sum(teller.after_the_signal for teller in tellers) > CLIENTS, "nothing was answered as it ended"
        acknowledged = {"first", *(name for teller in tellers for name in teller.acknowledged)}
        assert {event.event.event_id for event in service.events()} == acknowledged
        assert service.served(predicted.headers["x-request-id"])
        assert "Traceback" not in "".join(service.server.lines)


def test_a_supervisor_that_tells_every_process_cuts_nothing_off(tmp_path: Path) -> None:
    """Told by it and by its starter, a worker answers on all the same."""
    with (
        service_profile(tmp_path, drain_seconds=3.0),
        live_service(Workspace(f"test-drain-all-{os.getpid()}")) as service,
    ):
        service.check_well("first")
        workers = [psutil.Process(worker) for worker in service.server.workers()]
        assert workers
        for process in (*workers, service.server.process):
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 60
        while service.client.get("/readyz").status_code == 200:
            assert time.monotonic() < until
        assert service.track("second", "c1", service.client).status_code == 200
        assert end(service, 60) == 0
        assert [event.event.event_id for event in service.events()] == ["first", "second"]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with (
        service_profile(tmp_path, drain_seconds=600.0),
        live_service(Workspace(f"test-drain-twice-{os.getpid()}")) as service,
    ):
        service.check_well("first")
        service.server.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 60
        while service.client.get("/readyz").status_code == 200:
            assert time.monotonic() < until
        workers = [psutil.Process(worker) for worker in service.server.workers()]
        assert workers
        service.server.process.send_signal(signal.SIGTERM)
        end(service, 60)
        until = time.monotonic() + 60
        while any(map(_lives, workers)):
            assert time.monotonic() < until, "a worker outlives its starter"
            time.sleep(0.05)
        assert [event.event.event_id for event in service.events()] == ["first"]
