"""Triggers end to end: real services, a receiver that refuses first, kill -9 wherever it hurts, two services at once."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipelines.access import Keys
from pipelines.outbox import Filter, Message, open_outbox
from pipelines.settings import Settings, Workspace, load_settings
from tests.changed_spec import copied_configs
from tests.e2e.cli import twin
from tests.e2e.live_service import kill_outright
from tests.e2e.test_service import Server
from tests.unit.serving_parts import ingest_key, make_shop
from tests.unit.trigger_parts import SECRET
from tests.unit.webhook_parts import Receiver, receiving

pytestmark = pytest.mark.slow
PATIENCE_SECONDS = 90.0


@dataclass
class Place:
    """A workspace with webhooks, and the services over it."""

    settings: Settings
    key: str
    reading: str
    servers: list[Server] = field(default_factory=list)

    def serve(self) -> httpx.Client:
        server = Server(self.settings.workspace.name, "--port", "0")
        self.servers.append(server)
        return httpx.Client(base_url=server.url(), auth=(self.key, ""), timeout=60, trust_env=False)

    def kill(self) -> None:
        for server in self.servers:
            kill_outright(server)
        self.servers.clear()

    def messages(self, **wanted: Any) -> list[Message]:
        if not self.settings.workspace.outbox.exists():
            return []
        outbox = open_outbox(self.settings)
        try:
            return outbox.messages(Filter(**wanted), None)
        finally:
            outbox.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(SECRET) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    configs = copied_configs(tmp_path / "configs")
    profile = configs / "profiles" / "local.yaml"
    content = yaml.safe_load(profile.read_text("utf-8"))
    content["clock"] = "wall"
    content["webhooks"] = {
        "endpoints": [{"name": "crm", "url": receiver.url()}], "first_delay_seconds": 0.2, "timeout_seconds": 2,
    }  # fmt: skip
    profile.write_text(yaml.safe_dump(content), "utf-8")
    for name, value in {"TWIN_CONFIG_DIR": str(configs), "TWIN_WEBHOOK_SECRET": SECRET}.items():
        monkeypatch.setenv(name, value)
    workspace = Workspace(f"test-triggers-{os.getpid()}")
    shop = make_shop(workspace.checkout)
    shop.settings = replace(load_settings(config_dir=configs), workspace=workspace)
    made = Place(shop.settings, "", "")
    try:
        shop.publish()
        made.key = ingest_key(workspace)
        _, made.reading = Keys(workspace.access).create("desk", ["read"], "", None)
        yield made
    finally:
        made.kill()
        shutil.rmtree(workspace.root, ignore_errors=True)


def until(holds: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def track(client: httpx.Client, event: str, customer: str, name: str, ago: float = 0.0, **properties: Any) -> None:
    """An event of so many seconds ago, sent until it is acknowledged."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    body = {
        "messageId": name, "userId": customer, "event": event, "timestamp": at.isoformat(), "properties": properties
    }  # fmt: skip
    end = time.monotonic() + PATIENCE_SECONDS
    while (answer := client.post("/v1/track", json=body)).status_code in (503, 504):
        # The first event imports engines.
        assert time.monotonic() < end
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text


def open_mails(client: httpx.Client, customer: str) -> None:
    for number in range(3):
        track(client, "Email Opened", customer, f"{customer}-{number}", message_id=f"mail-{number}")


def test_a_receiver_that_refuses_first_gets_each_message_and_a_moot_one_is_not_sent(
    place: Place, receiver: Receiver
) -> None:
    receiver.answers = [(503, {"retry-after": "1"})]
    client = place.serve()
    open_mails(client, "anna")
    until(lambda: len(receiver.received) >= 2, "not tried again")
    (first, told, at), (second, again, later) = receiver.received
    assert first == second
    assert told == again
    assert later - at >= 1.0
    assert told["type"] == "trigger.hesitating"
    assert {item["properties"]["message_id"] for item in told["data"]["evidence"]} == {"mail-0", "mail-1", "mail-2"}
    assert told["data"]["predictions"][0]["problem"] == "model_missing"
    assert told["data"]["decision"]["action"] is not None
    # A cart whose hour is over in a moment, and one that is ordered before.
    track(client, "Product Added", "ben", "b-1", 3588.0, product_id="p1")
    track(client, "Product Added", "chai", "c-1", 3588.0, product_id="p1")
    track(client, "Order Completed", "chai", "c-2", order_id="1", total=10)
    until(lambda: len(receiver.received) == 3, "the cart was not told")
    assert receiver.received[-1][1]["data"]["customer_id"] == "ben"
    until(lambda: len(place.messages(state="sent")) == 2, "what arrived is not noted")
    # The same events again, and time, change nothing.
    open_mails(client, "anna")
    track(client, "Product Added", "ben", "b-1", 3588.0, product_id="p1")
    time_of_last = len(receiver.received)
    reading = {"Authorization": f"Bearer {place.reading}"}
    with httpx.Client(base_url=client.base_url, headers=reading, timeout=60, trust_env=False) as reader:
        page = reader.post("/v1/outbox", json={"limit": 1}).json()
        rest = reader.post("/v1/outbox", json={"after": page["next"]}).json()
    found = [*page["messages"], *rest["messages"]]
    assert [(item["customer_id"], item["state"]) for item in found] == [("anna", "sent"), ("ben", "sent")]
    listed = twin(place.settings.workspace, "outbox", "list", "--json")
    assert [item["id"] for item in json.loads(listed.stdout)] == [item["id"] for item in found]
    assert len(receiver.received) == time_of_last
    assert receiver.refused == []


def test_kill_9_between_the_event_and_the_firing(place: Place, receiver: Receiver) -> None:
    client = place.serve()
    track(client, "Page Viewed", "somebody", "first")
    workspace = place.settings.workspace
    with workspace.outbox_lock.open("a") as lock:
        # Somebody else looks, for as long as it takes to kill this one.
        fcntl.flock(lock, fcntl.LOCK_EX)
        open_mails(client, "anna")
        assert place.messages() == []
        place.kill()
    place.serve()
    until(lambda: receiver.received, "the trigger was lost")
    assert Counter(receiver.ids()) == {place.messages()[0].id: 1}


def test_kill_9_between_firing_and_delivery(place: Place, receiver: Receiver) -> None:
    taken = []

    def die() -> None:
        # It has the message, and the service dies before it hears so.
        if not taken:
            taken.append(receiver.ids()[-1])
            place.kill()

    receiver.pause = die
    client = place.serve()
    with suppress(httpx.TransportError):
        open_mails(client, "anna")
    until(lambda: taken and not place.servers, "nothing was sent")
    assert [message.state for message in place.messages()] == ["waiting"]
    place.serve()
    until(lambda: len(receiver.received) >= 2, "the message was lost")
    assert set(receiver.ids()) == set(taken)
    until(lambda: place.messages(state="sent"), "what arrived is not noted")


def test_two_services_fire_once_each(place: Place, receiver: Receiver) -> None:
    services = [place.serve(), place.serve()]
    customers = [f"c{number}" for number in range(6)]
    for customer in customers:
        for number in range(3):
            track(services[number % 2], "Email Opened", customer, f"{customer}-{number}", message_id=f"mail-{number}")
    until(lambda: len(set(receiver.ids())) == len(customers), "not all fired")
    until(lambda: len(place.messages(state="sent")) == len(customers), "not all are noted")
    told = Counter(body["data"]["customer_id"] for _, body, _ in receiver.received)
    assert told == dict.fromkeys(customers, 1)
    for server in place.servers:
        assert "Traceback" not in "".join(server.lines)
