"""Live ingestion as its users have it: another process, Segment's and CloudEvents' own clients, curl, kill -9."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from segment.analytics.client import Client

from feature_repo.configuration import parse
from feature_repo.state.build import build_states
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.cli.features import build_state
from pipelines.decisions.ledger import SOURCE as DECISIONS
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.lake import last_position
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.ingest import commit, stage
from pipelines.settings import CHECKOUT, Workspace
from pipelines.settings.sources import SourceConfig
from tests.e2e.test_service import Server
from tests.states import open_reader
from tests.unit.serving_parts import Shop, ingest_key, make_shop

LINES = """{{"event_id": "h{0}", "customer": "C{1}", "at": "2026-0{2}-03T10:00:00Z", "total": "{3}.50"}}"""
HISTORY = """
source: online_retail          # a name that the service's own configuration has, so that these events count
description: Orders of the past.
consent: {purposes: [profiling, training], legal_basis: contract}
format: {type: jsonl}
timezone: UTC
currency: THB
columns:
  event_id: {type: string, required: true}
  customer: {type: string}
  at: {type: timestamp, required: true}
  total: {type: decimal}
event_id: "{event_id}"
time: {column: at}
user_id: customer
channel: web
events:
  - event: Order Completed
    properties: {order_id: {column: event_id}, total: {column: total, as: money}}
"""


@dataclass
class Place:
    """A workspace with history, states, a champion and a write key; and a server that runs in it."""

    shop: Shop
    key: str
    server: Server

    @property
    def workspace(self) -> Workspace:
        return self.shop.settings.workspace

    def restart(self) -> None:
        self.server.kill()
        self.server = Server(self.workspace.name, "--port", "0")

    def features(self, customer: str) -> list[float | None]:
        reader = open_reader(self.shop.settings.features, self.workspace.state, self.shop.features)
        row = reader.read([customer], reader.data_end() or 0).matrix[0].tolist()
        return [None if value != value else value for value in row]

    def predict(self, customer: str) -> httpx.Response:
        body = {"customer_id": customer, "reasons": True}
        return httpx.post(f"{self.server.url()}/v1/predict", json=body, timeout=30, trust_env=False)

    def track(self, message_id: str, customer: str = "C1", total: float = 99.5) -> httpx.Response:
        properties = {"order_id": message_id, "total": total, "currency": "THB"}
        body = {"messageId": message_id, "userId": customer, "event": "Order Completed", "properties": properties}
        url = f"{self.server.url()}/v1/track"
        return httpx.post(url, json=body, auth=(self.key, ""), timeout=30, trust_env=False)

    def message_ids(self) -> list[str]:
        """Of what clients sent; triggers decide meanwhile, and decisions are events too."""
        journal = SQLiteJournal(self.workspace.journal)
        found = [stored.event.event_id for stored in journal.read(0, 10_000) if stored.event.source != DECISIONS]
        journal.close()
        return found

    def states(self, file: Path) -> dict[str, bytes]:
        wanted = [f"C{number}" for number in range(30)]
        found = SQLiteStateStorage(file).get_many(self.shop.settings.features.hash, wanted)
        return {who: state.data for who, state in found.items() if state.data}

    def rebuilt(self) -> dict[str, bytes]:
        file = self.workspace.root / "rebuilt.db"
        with event_store(self.shop.settings) as store:
            now = store.snapshot()
        settings = self.shop.settings
        members, storage = current_membership(settings), SQLiteStateStorage(file)
        build_states(settings.features, self.workspace.lake, storage, now.version, tail=now.tail, membership=members)
        return self.states(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("configs")
    workspace = Workspace(f"test-live-{os.getpid()}")
    shop = make_shop(CHECKOUT)
    shop.settings = replace(shop.settings, workspace=workspace, sources=_history())
    shop.publish(version="5")
    file = folder / "history.jsonl"
    file.write_text("\n".join(LINES.format(n, n % 20, 1 + n % 6, 100 + n) for n in range(120)) + "\n")
    commit(stage(shop.settings, "online_retail", file))
    build_state(shop.settings)
    key = ingest_key(workspace)
    made = Place(shop, key, Server(workspace.name, "--port", "0"))
    try:
        yield made
    finally:
        made.server.kill()
        shutil.rmtree(workspace.root)


def _history() -> dict[str, SourceConfig]:
    return {"online_retail": parse(yaml.safe_load(HISTORY), SourceConfig)}


def test_segments_own_client(place: Place) -> None:
    before, features = place.predict("C3").json(), place.features("C3")
    failed: list[Exception] = []

    def on_error(error: Exception, items: Any) -> None:
        failed.append(error)

    client = Client(place.key, host=place.server.url(), gzip=True, on_error=on_error, max_retries=1)
    order = {"order_id": "s1", "total": 250.25, "currency": "THB", "products": [{"product_id": "a"}], "coupon": None}
    client.track("C3", "Order Completed", order, message_id="s-1")
    client.identify("C3", {"email": "somebody@example.com", "plan": None})
    client.page("C3", name="Home", properties={"path": "/"})
    client.screen("C3", name="Start")
    client.group("C3", "company-1")
    client.alias("anonymous-1", "C3")
    client.flush()
    client.join()
    assert failed == []
    assert "s-1" in place.message_ids()
    assert len(place.message_ids()) == 6
    after = place.predict("C3").json()
    assert after["as_of"] > before["as_of"]
    changed = place.features("C3")
    assert changed != features
    lifetime = place.shop.features.index("order_completed_days_since_last_lifetime")
    assert (changed[lifetime] or 0) < 1 < (place.features("C4")[lifetime] or 0)
    assert place.states(place.workspace.state) == place.rebuilt()


def test_a_refused_key_reaches_segments_client(place: Place) -> None:
    failed: list[Exception] = []
    client = Client("twk_wrong", host=place.server.url(), on_error=lambda error, _: failed.append(error), max_retries=1)
    client.track("C3", "Order Completed", {"order_id": "x", "total": 1})
    client.flush()
    client.join()
    assert len(failed) == 1
    assert "write key" in str(failed[0])


def test_curl_with_gzip_and_once_is_enough(place: Place, tmp_path: Path) -> None:
    body = {"messageId": "curl-1", "userId": "C5", "event": "Order Completed"}
    body |= {"properties": {"order_id": "c1", "total": 12.34, "currency": "THB"}}  # type: ignore[dict-item]
    file = tmp_path / "call.json.gz"
    file.write_bytes(gzip.compress(json.dumps(body).encode()))
    command = ["curl", "-sS", "--noproxy", "*", f"{place.server.url()}/v1/track", "-u", f"{place.key}:"]
    command += ["-H", "Content-Encoding: gzip", "-H", "Content-Type: application/json", "--data-binary", f"@{file}"]
    first, second = (json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(2))
    assert (first["accepted"], first["duplicates"]) == (1, 0)
    states, features = place.states(place.workspace.state), place.features("C5")
    assert (second["accepted"], second["duplicates"]) == (0, 1)
    third = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert third["duplicates"] == 1
    assert place.states(place.workspace.state) == states
    assert place.features("C5") == features
    assert place.message_ids().count("curl-1") == 1


def test_the_official_cloudevents_sdk(place: Place) -> None:
    before, features = place.predict("C8").json(), place.features("C8")
    kind = {"type": "com.example.order.completed", "source": "/shop", "subject": "C8"}
    order = {"order_id": "ce", "total": 75.25, "currency": "THB"}
    once = CloudEvent({**kind, "id": "ce-1", "datacontenttype": "application/json", "note": "สวัสดี 100%"}, order)
    answers = []
    for message in (to_binary_event(once), to_structured_event(once)):
        headers = {**message.headers, "Authorization": f"Bearer {place.key}"}
        url = f"{place.server.url()}/v1/events"
        answers.append(httpx.post(url, content=message.body, headers=headers, timeout=30, trust_env=False).json())
    assert [(answer["accepted"], answer["duplicates"]) for answer in answers] == [(1, 0), (0, 1)]
    assert place.predict("C8").json()["as_of"] > before["as_of"]
    assert place.features("C8") != features
    assert place.states(place.workspace.state) == place.rebuilt()


def test_curl_with_a_gzipped_batch_of_cloudevents(place: Place, tmp_path: Path) -> None:
    order = {"order_id": "c", "total": 1.5, "currency": "THB"}
    one = {"specversion": "1.0", "id": "curl", "source": "/a", "type": "Order Completed", "subject": "C9"}
    one |= {"data": order}  # type: ignore[dict-item]
    batch = [one, {**one, "source": "/b"}, {**one, "specversion": "2"}, one]
    file = tmp_path / "batch.json.gz"
    file.write_bytes(gzip.compress(json.dumps(batch).encode()))
    command = ["curl", "-sS", "--noproxy", "*", f"{place.server.url()}/v1/events", "-u", f"{place.key}:"]
    command += ["-H", "Content-Encoding: gzip", "-H", "Content-Type: application/cloudevents-batch+json"]
    command += ["--data-binary", f"@{file}"]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (answer["accepted"], answer["duplicates"], answer["rejected_events"]) == (2, 1, 1)
    assert (answer["rejected"][0]["index"], answer["rejected"][0]["field"]) == (2, "specversion")
    assert place.states(place.workspace.state) == place.rebuilt()


def test_positions_of_calls_follow_those_of_the_lake(place: Place) -> None:
    assert place.track("p-1").status_code == 200
    journal = SQLiteJournal(place.workspace.journal)
    assert journal.read(0, 1)[0].position > last_position(place.workspace.lake) > 0
    journal.close()


def test_a_customer_nobody_knew_is_known_with_the_first_event(place: Place) -> None:
    assert place.predict("C25").status_code == 404
    assert place.track("new-1", "C25").status_code == 200
    assert place.predict("C25").status_code == 200
    assert place.states(place.workspace.state) == place.rebuilt()


def test_killed_after_the_answer_everything_is_there_once(place: Place) -> None:
    sent = [f"k-{number}" for number in range(5)]
    for message_id in sent:
        assert place.track(message_id, "C7").status_code == 200
    os.killpg(place.server.process.pid, signal.SIGKILL)
    stored = place.message_ids()
    assert [stored.count(message_id) for message_id in sent] == [1] * 5
    assert place.states(place.workspace.state) == place.rebuilt()
    place.restart()
    assert place.track("k-0", "C7").json()["duplicates"] == 1
    assert place.message_ids() == stored


def test_what_was_appended_and_not_folded_is_folded_at_the_start(place: Place) -> None:
    place.server.kill()
    journal = SQLiteJournal(place.workspace.journal)
    last = journal.read_identifiers({("user_id", "C7"): 0})[-1].event
    journal.append([replace(last, event_id="unfolded-1"), replace(last, event_id="unfolded-2", user_id="C26")])
    journal.close()
    assert place.states(place.workspace.state) != place.rebuilt()
    place.restart()
    assert place.predict("C26").status_code == 200
    assert place.states(place.workspace.state) == place.rebuilt()


def test_history_that_is_loaded_later_and_live_events_are_one(place: Place, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text("\n".join(LINES.format(n, n % 20, 1 + n % 6, 100 + n) for n in range(200, 260)) + "\n")
    commit(stage(place.shop.settings, "online_retail", file))
    assert place.track("later-1", "C7").status_code == 200
    build_state(place.shop.settings)
    assert place.states(place.workspace.state) == place.rebuilt()
    assert place.track("later-2", "C7").status_code == 200
    assert place.states(place.workspace.state) == place.rebuilt()
