"""Live calls that name persons: sealed in the journal and in quarantine, or refused whole where there is no key."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.events.journal import NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.identity.store import open_identity
from pipelines.ingest import show
from pipelines.privacy import ENVIRONMENT_KEY, new_key, open_event, seal_event, sealer_of
from pipelines.settings import Settings, Workspace, load_settings
from serving import ingestion
from serving.api.ingest.identifiers import MAXIMUM_LENGTH, identifiers_of
from serving.ingestion import Ingestion
from tests.unit.serving_client import check_shape, serve
from tests.unit.serving_parts import Shop, ingest_key, make_shop

IDENTITY = load_settings().identity
TRAITS = {"email": "somchai@example.com", "phone": 66812345678, "firstName": "Somchai", "plan": "gold"}
IDENTIFY = {"type": "identify", "userId": "c1", "messageId": "m1", "traits": TRAITS, "context": {"ip": "203.0.113.9"}}
PERSONAL = ("somchai@example.com", "66812345678", "Somchai", "203.0.113.9")
HARMLESS = {
    "type": "track",
    "userId": "c2",
    "event": "Door Opened",
    "context": {"library": {"name": "analytics-python"}, "device": {"id": "d-9"}},
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


class Live:
    def __init__(self, client: TestClient, settings: Settings, key: str) -> None:
        self.client, self.settings, self.key = client, settings, key
        self.workspace = settings.workspace

    def post(self, path: str, content: Any) -> Any:
        return self.client.post(path, json=content, auth=(self.key, ""))

    def events(self) -> list[NewEvent]:
        journal = SQLiteJournal(self.workspace.journal)
        found = journal.read(0, 10_000)
        journal.close()
        return [stored.event for stored in found]

    def bytes_on_disk(self) -> bytes:
        return b"".join(file.read_bytes() for file in self.workspace.root.rglob("*") if file.is_file())


@pytest.fixture
def live(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    settings = replace(shop.settings, workspace=Workspace("live", checkout=tmp_path))
    made = Ingestion(settings)
    monkeypatch.setattr(ingestion, "connect", lambda: made)
    with serve(shop) as client:
        yield Live(client, settings, ingest_key(settings.workspace))


def test_what_a_call_says_of_a_person_is_sealed_and_opens_again(live: Live) -> None:
    assert live.post("/v1/identify", IDENTIFY).status_code == 200
    (event,) = live.events()
    sealer = sealer_of(live.workspace)
    assert event.identifiers == {
        "email": sealer.seal("email", "somchai@example.com"),
        "phone": sealer.seal("phone", "66812345678"),
    }
    assert event.properties["plan"] == "gold"
    assert not [word for word in PERSONAL if word.encode() in live.bytes_on_disk()]
    opened = open_event(event, IDENTITY, sealer)
    assert opened.identifiers == {"email": "somchai@example.com", "phone": "66812345678"}
    assert {name: opened.properties[name] for name in TRAITS} == TRAITS
    assert opened.properties["$call"]["context"] == {"ip": "203.0.113.9"}
    assert live.post("/v1/identify", IDENTIFY).json()["duplicates"] == 1


def test_a_refused_call_is_sealed_whole_and_can_be_shown(live: Live) -> None:
    check_shape(live.post("/v1/track", {"userId": "c1", "properties": TRAITS}), 400, "invalid_event")
    assert not [word for word in PERSONAL if word.encode() in live.bytes_on_disk()]
    (file,) = live.workspace.quarantine.glob("live-*.jsonl")
    (line,) = show(live.settings, file).rows
    assert json.loads(line["text"])["properties"] == TRAITS
    assert line["problems"][0]["field"] == "event"


def test_without_a_key_nothing_of_a_call_that_names_a_person_is_kept(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENVIRONMENT_KEY)
    for path, content in (
        ("/v1/identify", IDENTIFY),
        ("/v1/batch", {"batch": [HARMLESS, IDENTIFY]}),
        ("/v1/batch", {"batch": [HARMLESS, {"type": "track", "traits": TRAITS}]}),
        ("/v1/batch", {"batch": [HARMLESS, ["somchai@example.com"], {"type": "track", "firstName": "Somchai"}]}),
    ):
        answer = live.post(path, content)
        (detail,) = check_shape(answer, 503, "encryption_key_missing")
        assert "twin keys encryption" in detail["hint"]
        assert answer.headers["Retry-After"]
    assert not live.workspace.quarantine.exists()
    assert not live.workspace.journal.exists()
    assert live.post("/v1/track", HARMLESS).json()["accepted"] == 1
    check_shape(live.post("/v1/track", {"userId": "c1"}), 400, "invalid_event")
    (event,) = live.events()
    assert event.identifiers == {"device_id": "d-9"}
    assert event.properties["$call"]["context"]["library"] == {"name": "analytics-python"}
    # A key that comes later is taken without a restart.
    monkeypatch.setenv(ENVIRONMENT_KEY, new_key())
    assert live.post("/v1/identify", IDENTIFY).json()["accepted"] == 1


def test_another_key_and_a_bad_one_are_refused(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    sealer_of(live.workspace)
    for key in (new_key(), "short"):
        monkeypatch.setenv(ENVIRONMENT_KEY, key)
        answer = live.post("/v1/identify", IDENTIFY)
        (detail,) = check_shape(answer, 503, "encryption_key_refused")
        assert detail["field"] == ENVIRONMENT_KEY
        assert key not in answer.text
    assert not live.workspace.journal.exists()


def test_what_is_stored_sealed_and_not_taken_in_waits_for_the_key(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process died between appending and taking in, and the next one starts without the key, or with another."""
    settings = replace(shop.settings, workspace=Workspace("live", checkout=tmp_path))
    key = ingest_key(settings.workspace)
    journal = SQLiteJournal(settings.workspace.journal)
    event = NewEvent("web", "e1", "Customer Identified", 1, 1, "web", "c1", identifiers={"email": PERSONAL[0]})
    sealed = seal_event(event, IDENTITY, sealer_of(settings.workspace))
    journal.append([sealed])
    journal.close()
    right = os.environ[ENVIRONMENT_KEY]
    monkeypatch.delenv(ENVIRONMENT_KEY)
    started = Ingestion(settings)
    monkeypatch.setattr(ingestion, "connect", lambda: started)
    with serve(shop) as client:
        again = Live(client, settings, key)
        check_shape(again.post("/v1/track", HARMLESS), 503, "encryption_key_missing")
        monkeypatch.setenv(ENVIRONMENT_KEY, new_key())
        answer = again.post("/v1/track", HARMLESS)
        (detail,) = check_shape(answer, 503, "store_unavailable")
        assert detail["field"] == ENVIRONMENT_KEY
        assert answer.headers["Retry-After"]
        monkeypatch.setenv(ENVIRONMENT_KEY, right)
        assert again.post("/v1/track", HARMLESS).json()["accepted"] == 1
    by_mail = replace(sealed, user_id=None)
    owner = open_identity(settings).owner(by_mail)
    assert owner is not None
    assert owner.customer_id == "c1"


@pytest.mark.parametrize(
    ("kind", "properties", "context", "expected"),
    [
        ("identify", {"email": "a@b.co", "lineId": "U1"}, {}, {"email": "a@b.co", "line_id": "U1"}),
        ("track", {"mobile": 812345678}, {"traits": {"email": "a@b.co"}}, {"phone": "812345678", "email": "a@b.co"}),
        ("identify", {"email": "own@b.co"}, {"traits": {"email": "context@b.co"}}, {"email": "own@b.co"}),
        ("page", {"email": "a@b.co"}, {"device": {"id": "d1"}}, {"device_id": "d1"}),
        ("track", {}, {"externalIds": [{"id": "U1", "type": "line_id", "collection": "users", "encoding": "none"},
                                       {"id": "U2", "type": "line_id"}, {"id": "x", "type": "user_id"},
                                       {"id": "x", "type": "nonsense"}, {"type": "email"}, 5]}, {"line_id": "U1"}),
        ("identify", {"email": True, "phone": 1.5, "lineId": "  ", "crmId": {"a": 1}}, {}, {}),
        ("identify", {"email": "a" * (MAXIMUM_LENGTH + 1), "crm_id": "a" * MAXIMUM_LENGTH, "phone": "1\n"}, {},
         {"crm_id": "a" * MAXIMUM_LENGTH}),
        ("alias", {"previous_id": "anon"}, {"device": "d1", "externalIds": {}, "traits": [1]}, {}),
    ],
)  # fmt: skip
def test_identifiers_of_a_call(
    kind: str, properties: dict[str, Any], context: dict[str, Any], expected: dict[str, str]
) -> None:
    assert identifiers_of(kind, properties, context, IDENTITY) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
)
keys = st.sampled_from(["email", "phone", "traits", "device", "externalIds", "id", "type", "lineId"])


@given(st.dictionaries(keys, anything), st.dictionaries(keys, anything | st.dictionaries(keys, anything)))
def test_whatever_a_client_sends_identifiers_are_short_text(properties: Any, context: Any) -> None:
    for kind, value in identifiers_of("identify", properties, context, IDENTITY).items():
        assert kind in IDENTITY.kinds
        assert isinstance(value, str)
        assert 0 < len(value.strip()) <= len(value) <= MAXIMUM_LENGTH
