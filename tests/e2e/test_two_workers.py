"""One service of two workers: what one was told holds in the other at once, and its metrics are of both."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipelines.access import Keys
from pipelines.settings import Workspace
from tests.e2e.live_service import LiveService, live_service
from tests.e2e.profiled import service_profile
from tests.metrics import value
from tests.unit.serving_parts import ingest_key

pytestmark = pytest.mark.slow

CUSTOMERS = 12


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    # The first event a worker gets imports engines; on a busy machine that takes longer than an answer may.
    often = {"compact_every_seconds": 0.2, "compact_at_rows": 20}
    profile = service_profile(tmp_path_factory.mktemp("workers"), often, workers=2, timeout_seconds=60.0)
    with profile, live_service(Workspace(f"test-workers-{os.getpid()}")) as made:
        made.check_well("first")
        yield made
        assert "Traceback" not in "".join(made.server.lines)


class Everybody:
    """Clients with connections of their own, so that both workers get some."""

    def __init__(self, service: LiveService, key: str) -> None:
        self.clients = [
            httpx.Client(base_url=service.server.url(), auth=(key, ""), timeout=90, trust_env=False) for _ in range(16)
        ]

    def post(self, path: str, body: dict[str, Any]) -> list[httpx.Response]:
        """The same call from each, at the same time."""
        with ThreadPoolExecutor(len(self.clients)) as pool:
            return list(pool.map(lambda client: client.post(path, json=body), self.clients))


def counted(service: LiveService) -> list[float]:
    """How many requests each worker has answered, by what it left for the others."""
    folder = service.workspace.root / "metrics" / service.server.url().rsplit(":", 1)[1]
    files = [json.loads(file.read_text()) for file in sorted(Path(folder).glob("worker-*.json"))]
    return [sum(sum(numbers[:-1]) for _, numbers in file["twin_request_seconds"]) for file in files]


def test_the_walk_of_a_customer_over_both_workers(service: LiveService) -> None:
    scopes = ("ingest", "predict", "admin", "read")
    key = ingest_key(service.workspace, "both", scopes)
    everybody = Everybody(service, key)

    def tell(serial: int) -> None:
        customer = f"w{serial % CUSTOMERS}"
        client = everybody.clients[serial % len(everybody.clients)]
        answer = service.track(f"walk-{serial}", customer, client)
        assert answer.status_code == 200, answer.text
        # Asked of another connection, and so perhaps of the other worker: it sees the event at once.
        other = everybody.clients[(serial + 1) % len(everybody.clients)]
        predicted = other.post("/v1/predict", json={"customer_id": customer})
        assert predicted.status_code == 200, predicted.text

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(8 * CUSTOMERS)))
    assert all(answer.status_code == 200 for answer in everybody.post("/v1/predict", {"customer_id": "w0"}))

    # Consent that is denied at one is denied at all, from the next call on.
    said = {"customer_id": "w0", "purposes": {"profiling": False}}
    assert everybody.clients[0].post("/v1/consent", json=said).status_code == 200
    answers = everybody.post("/v1/predict", {"customer_id": "w0"})
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(403, "consent_denied")}
    said["purposes"] = {"profiling": True}
    assert everybody.clients[1].post("/v1/consent", json=said).status_code == 200
    assert {answer.status_code for answer in everybody.post("/v1/predict", {"customer_id": "w0"})} == {200}

    # The same event at all of them counts once.
    order = {"order_id": "once", "total": 12.5, "currency": "THB"}
    event = {"messageId": "once", "userId": "w1", "event": "Order Completed", "properties": order}
    answers = everybody.post("/v1/track", event)
    assert sum(answer.json()["accepted"] for answer in answers) == 1
    assert sum(answer.json()["duplicates"] for answer in answers) == len(answers) - 1

    # A key that is revoked is refused by all, from the next call on.
    keys = Keys(service.workspace.access)
    keys.revoke(next(known.key_id for known in keys.list() if known.source == "both"))
    assert {answer.status_code for answer in everybody.post("/v1/track", event)} == {401}


def test_metrics_are_of_both_workers(service: LiveService) -> None:
    before = service.client.get("/metrics").text
    everybody = Everybody(service, service.key)
    for _ in range(3):
        assert {answer.status_code for answer in everybody.post("/v1/predict", {"customer_id": "good"})} == {200}
    asked = 3 * len(everybody.clients)
    seen = 0.0
    # What the other worker counted comes within a second or two.
    for _ in range(600):
        after = service.client.get("/metrics").text
        seen = value(after, "twin_predictions_total", model="churn") - value(before, "twin_predictions_total")
        if seen == asked:
            break
    assert seen == asked
    shares = counted(service)
    assert len(shares) == 2
    assert all(shares), "one worker has answered everything"
    assert value(after, "twin_model_served", model="churn") == 1
