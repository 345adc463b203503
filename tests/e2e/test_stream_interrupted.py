"""kill -9, a restart and `twin state rebuild` in the middle of a stream: same states, features and served values."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import duckdb
import httpx
import pyarrow as pa
import pytest

from feature_repo.event_table import register_customer_events
from feature_repo.sql import features_query
from pipelines.events.opening import event_store
from pipelines.feature_audit import audit_states, audit_vectors
from pipelines.feature_audit.vectors import same_bits
from pipelines.identity.current import current_membership
from pipelines.settings import Settings
from tests.e2e.cli import twin
from tests.e2e.test_service_kill import CUSTOMERS, Load, RealService, check, furnished, port
from tests.states import open_reader

pytestmark = pytest.mark.slow

__all__ = ["furnished", "port"]


class Asking:
    """A client that asks for predictions until it is told to stop, each again until it is answered for good."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answered = 0
        self.stop = threading.Event()

    def run(self) -> None:
        chance = random.Random(5)
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False) as client:
            while not self.stop.is_set():
                customers = chance.sample(range(CUSTOMERS), 3)
                try:
                    answer = client.post("/v1/predict_many", json={"customer_ids": [f"c{n}" for n in customers]})
                except httpx.TransportError:
                    time.sleep(0.02)
                    continue
                # 503 while there is no state at all yet.
                assert answer.status_code in (200, 503, 504), answer.text
                self.answered += answer.status_code == 200


def wait_for_more(load: Load, asking: Asking, running: list[Future[None]]) -> None:
    """Until 150 more events are acknowledged and 20 more predictions answered."""
    events, answers, until = len(load.acknowledged) + 150, asking.answered + 20, time.monotonic() + 90
    while len(load.acknowledged) < events or asking.answered < answers:
        assert time.monotonic() < until, f"{len(load.acknowledged)} acknowledged, {asking.answered} answered"
        for each in running:
            if each.done():
                each.result()
        time.sleep(0.01)


def rebuild(settings: Settings, load: Load) -> None:
    """By command, in the middle of the stream, until a client was told to come again."""
    before = load.waited
    for _ in range(3):
        done = twin(settings.workspace, "state", "rebuild")
        assert done.returncode == 0, done.stderr
        if load.waited > before:
            return
    pytest.fail("three rebuilds sent nobody away")


def check_features(settings: Settings) -> None:
    """The service's read of every customer equals SQL, in type and to the last bit."""
    names, people = settings.features.service_features("churn"), [f"c{n}" for n in range(CUSTOMERS)]
    reader = open_reader(settings.features, settings.workspace.state, names)
    as_of = reader.data_end()
    assert as_of is not None
    read = reader.read(people, as_of)
    assert all(read.found)
    with event_store(settings) as store, duckdb.connect() as connection:
        now = store.snapshot()
        register_customer_events(connection, now.lake_path, now.version, now.tail, current_membership(settings))
        points = {"point": range(CUSTOMERS), "customer_id": people, "as_of": [as_of] * CUSTOMERS}
        connection.register("points", pa.table(points))
        rows = connection.execute(features_query(settings.features, names)).fetchall()
    by_sql = [row[1:] for row in rows]
    assert any(value for row in by_sql for value in row)
    for mine, theirs in zip(read.values, by_sql, strict=True):
        assert all(same_bits(a, b) for a, b in zip(mine, theirs, strict=True))


def test_states_and_features_are_the_same_after_all_of_it(
    furnished: tuple[Settings, str], port: int, tmp_path: Path
) -> None:
    settings, key = furnished
    url = f"http://127.0.0.1:{port}"
    # As if its worker had been killed before: the next kill is of all its processes.
    service, load, asking = RealService(settings.workspace, port, kills=1), Load(url, key), Asking(url)
    service.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            running = [pool.submit(load.single, 1), pool.submit(load.batches, 2), pool.submit(asking.run)]
            try:
                wait_for_more(load, asking, running)
                service.kill()
                service.start()
                wait_for_more(load, asking, running)
                rebuild(settings, load)
                wait_for_more(load, asking, running)
            finally:
                load.stop.set()
                asking.stop.set()
            for each in running:
                each.result(timeout=60)
    finally:
        service.close()
    check(settings, load, tmp_path)
    check_features(settings)
    audit = audit_vectors(settings, 100_000, seed=1)
    assert audit.passed, audit.text()
    assert audit.compared == audit.drawn > 0
    assert audit_states(settings, 100_000, seed=1).passed
