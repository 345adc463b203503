"""Live ingestion in process: the whole server, a real journal, real states."""

from __future__ import annotations

import base64
import gzip
import json
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from feature_repo.state.storage_sqlite import SQLiteStateStorage
from pipelines.access import Keys
from pipelines.events.journal import StoredEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.live_states import building
from pipelines.privacy import WHOLE_ROW, sealer_of
from pipelines.settings import Workspace
from serving import ingestion
from serving.api.ingest.routes import PATHS
from serving.ingestion import Ingestion
from serving.off_loop import OffLoop
from tests.unit.serving_client import check_shape, serve
from tests.unit.serving_parts import Shop, make_shop

TRACK = {"userId": "c1", "event": "Order Completed", "properties": {"order_id": "o1", "total": 25.5}}


@dataclass
class Live:
    """A running server over a workspace of its own."""

    client: TestClient
    workspace: Workspace
    spec_hash: str
    key: str
    ingestion: Ingestion

    def post(self, path: str, content: Any, **options: Any) -> Any:
        return self.client.post(path, json=content, auth=(self.key, ""), **options)

    def events(self) -> list[StoredEvent]:
        journal = SQLiteJournal(self.workspace.journal)
        found = journal.read(0, 10_000)
        journal.close()
        return found

    def position(self, customer: str = "c1") -> int | None:
        state = SQLiteStateStorage(self.workspace.state).get_many(self.spec_hash, [customer]).get(customer)
        return state.position if state else None

    def quarantined(self) -> list[dict[str, Any]]:
        files = sorted(self.workspace.quarantine.glob("live-*.jsonl"))
        lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        sealer = sealer_of(self.workspace)
        return [{**line, "text": sealer.open(WHOLE_ROW, line["text"])} for line in lines]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


@pytest.fixture
def live(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    workspace = Workspace("live", checkout=tmp_path)
    made = Ingestion(replace(shop.settings, workspace=workspace))
    monkeypatch.setattr(ingestion, "connect", lambda: made)
    _, key = Keys(workspace.access).create(
        "web", ["ingest"], "web", "THB", purposes=["profiling", "training"], legal_basis="contract"
    )
    with serve(shop) as client:
        yield Live(client, workspace, shop.settings.features.hash, key, made)


def test_a_track_call_is_stored_and_folded(live: Live) -> None:
    answer = live.post("/v1/track", {**TRACK, "messageId": "m1"})
    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "request_id": answer.headers["x-request-id"],
        "accepted": 1,
        "duplicates": 0,
        "rejected_events": 0,
        "rejected": [],
        "unplanned": [],
        "clamped": [],
    }
    (stored,) = live.events()
    assert (stored.event.source, stored.event.event_id, stored.event.value) == ("web", "m1", 2550)
    assert live.position() == stored.position
    again = live.post("/v1/track", {**TRACK, "messageId": "m1"}).json()
    assert (again["accepted"], again["duplicates"]) == (0, 1)
    assert live.events() == [stored]


def test_every_path_answers_200_with_a_body(live: Live) -> None:
    content = {**TRACK, "groupId": "g", "previousId": "p", "batch": [{**TRACK, "type": "track"}]}
    for path in PATHS:
        answer = live.post(path, content)
        assert answer.status_code == 200, answer.text
        assert answer.json()["accepted"] == 1
        assert live.client.get(path).status_code == 405
    assert len(live.events()) == len(PATHS)


def test_good_items_are_kept_and_bad_ones_told_and_quarantined(live: Live) -> None:
    batch = [
        {**TRACK, "type": "track"},
        {"type": "track", "userId": "secret-person", "event": "Order Completed", "properties": {"total": "x"}},
        5,
        {"type": "track", "userId": "c2", "event": "Door Opened"},
        {**TRACK, "type": "track", "timestamp": "8000-01-01T00:00:00Z"},
    ]
    answer = live.post("/v1/batch", {"batch": batch})
    assert answer.status_code == 200
    content = answer.json()
    assert (content["accepted"], content["rejected_events"]) == (3, 2)
    assert [(item["index"], item["field"]) for item in content["rejected"]] == [
        (1, "properties.order_id"),
        (1, "properties.total"),
        (2, "(event)"),
    ]
    assert all(item["expected"] and item["got"] for item in content["rejected"])
    assert (content["unplanned"], content["clamped"]) == ([3], [4])
    assert "secret-person" not in answer.text
    kept = live.quarantined()
    assert [line["index"] for line in kept] == [1, 2]
    assert json.loads(kept[0]["text"])["userId"] == "secret-person"
    assert live.position("c2") is not None


def test_a_bad_single_call_is_refused_and_quarantined(live: Live) -> None:
    details = check_shape(live.post("/v1/track", {"userId": "c1"}), 400, "invalid_event")
    assert [detail["field"] for detail in details] == ["event"]
    assert len(live.quarantined()) == 1
    assert not live.workspace.journal.exists()


def test_keys(live: Live) -> None:
    def post(content: Any, headers: dict[str, str] | None = None) -> Any:
        return live.client.post("/v1/track", json=content, headers=headers)

    assert post({**TRACK, "writeKey": live.key}).status_code == 200
    assert post(TRACK, {"authorization": "Basic " + base64.b64encode(f"{live.key}:".encode()).decode()}).is_success
    assert post(TRACK, {"authorization": "basic " + base64.b64encode(live.key.encode()).decode()}).is_success
    wrong = ["", "Basic", "Basic ???", "Basic " + base64.b64encode(b"other:").decode(), "Bearer x", "Basic /w=="]
    for header in wrong:
        answer = post(TRACK, {"authorization": header})
        check_shape(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Basic")
    for content in ({**TRACK, "writeKey": "twk_no"}, {**TRACK, "writeKey": 5}, TRACK):
        check_shape(post(content), 401, "unauthorized")
    keys = Keys(live.workspace.access)
    keys.revoke(keys.all()[0].key_id)
    check_shape(live.post("/v1/track", TRACK), 401, "unauthorized")
    assert len(live.events()) == 3


def test_gzip(live: Live) -> None:
    whole = gzip.compress(json.dumps(TRACK).encode())
    packed = {"content-encoding": "gzip", "content-type": "application/json"}

    def post(content: bytes, **changes: str) -> Any:
        return live.client.post("/v1/track", content=content, headers={**packed, **changes}, auth=(live.key, ""))

    assert post(whole).status_code == 200
    assert post(whole, **{"content-type": "text/plain"}).status_code == 200
    for broken in (whole[:-5], whole[:12], b"", b"no gzip", whole + b"more", whole + whole):
        check_shape(post(broken), 400, "invalid_gzip")
    check_shape(post(gzip.compress(b" " * 20_000_000)), 400, "body_too_large")
    check_shape(post(whole, **{"content-encoding": "br"}), 415, "unsupported_media_type")
    assert len(live.events()) == 2


def test_limits_are_named(live: Live) -> None:
    item = {"type": "track", "userId": "c", "event": "Door Opened"}
    assert live.post("/v1/batch", {"batch": [item] * 2_500}).json()["accepted"] == 2_500
    details = check_shape(live.post("/v1/batch", {"batch": [item] * 2_501}), 400, "too_many_events")
    assert "2500" in details[0]["expected"]
    details = check_shape(live.post("/v1/batch", {"batch": [{**item, "x": "y" * 500_000}]}), 400, "body_too_large")
    assert "500000" in details[0]["expected"]
    details = check_shape(live.post("/v1/track", {**TRACK, "x": "y" * 33_000}), 400, "invalid_event")
    assert "32768" in details[0]["expected"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"5", b"null", b'{"batch": []}', b'{"batch": {}}', b"{}", b"\xff", b"[" * 100_000]
)
def test_bodies_that_are_no_batch(live: Live, body: bytes) -> None:
    answer = live.client.post("/v1/batch", content=body, auth=(live.key, ""))
    assert answer.status_code == 400
    check_shape(answer, 400, answer.json()["error"]["code"])


def test_states_that_are_being_built_let_calls_wait(live: Live) -> None:
    with building(live.workspace.state_lock):
        answer = live.post("/v1/track", {**TRACK, "messageId": "m1"})
        check_shape(answer, 503, "states_busy")
        assert int(answer.headers["retry-after"]) > 0
    assert live.post("/v1/track", {**TRACK, "messageId": "m1"}).status_code == 200
    assert live.position() == live.events()[0].position


def test_a_full_disk_is_told_and_gets_over(live: Live) -> None:
    assert live.post("/v1/track", TRACK).status_code == 200
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        for content in (TRACK, {"userId": "c1"}):
            answer = live.post("/v1/track", {**content, "messageId": "m2", "context": {"x": "y" * 20_000}})
            check_shape(answer, 503, "journal_unavailable")
            assert "retry-after" in answer.headers
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert live.post("/v1/track", {**TRACK, "messageId": "m2"}).status_code == 200
    assert live.position() == live.events()[-1].position
    assert len(live.events()) == 2
    assert live.quarantined() == []


@pytest.mark.parametrize("torn", [b"", b'{"half', b'{"a": 1}\n{"half', b'{"a": 1}\n'])
def test_a_line_that_a_killed_process_left_half_written_is_gone(tmp_path: Path, torn: bytes) -> None:
    file = tmp_path / "live.jsonl"
    file.write_bytes(torn)
    ingestion.write_quarantine(file, [b'{"b": 2}\n', b'{"c": 3}\n'])
    whole = torn[: torn.rfind(b"\n") + 1]
    assert file.read_bytes() == whole + b'{"b": 2}\n{"c": 3}\n'


def test_more_calls_than_may_wait_are_sent_away(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(OffLoop, "waiting", live.ingestion.limits.maximum_waiting)
        answer = live.post("/v1/track", TRACK)
        check_shape(answer, 503, "overloaded")
        assert int(answer.headers["retry-after"]) > 0
    assert live.post("/v1/track", TRACK).status_code == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
NASTY = st.sampled_from(
    ["'; DROP TABLE journal_events;--", "../../etc/passwd", "\0", "\ud800", "9999-12-31T00:00:00Z", "$call"]
)
FIELDS = st.sampled_from(["userId", "event", "type", "properties", "context", "timestamp", "messageId", "writeKey"])
ITEM = st.dictionaries(FIELDS | st.text(max_size=5), JSON | NASTY, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), ITEM | st.fixed_dictionaries({"batch": st.lists(ITEM | JSON, max_size=4)}) | JSON)
def test_never_a_500(live: Live, path: str, content: Any) -> None:
    body = json.dumps(content).encode("utf-8", "surrogatepass")
    answer = live.client.post(path, content=body, auth=(live.key, ""))
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        check_shape(answer, 400, answer.json()["error"]["code"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.binary(max_size=200), st.sampled_from(["identity", "gzip"]))
def test_never_a_500_for_any_bytes(live: Live, path: str, body: bytes, encoding: str) -> None:
    answer = live.client.post(path, content=body, headers={"content-encoding": encoding}, auth=(live.key, ""))
    check_shape(answer, 400, answer.json()["error"]["code"])


def test_a_number_of_any_size_is_taken_and_holds_up_no_later_event(live: Live) -> None:
    """Of live events whatever the plan does not name is kept as it comes."""
    for number, size in enumerate((2**64, -(2**63) - 1, 10**40)):
        call = {"userId": "c1", "messageId": f"m{number}", "event": "Page Viewed", "properties": {"size": size}}
        assert live.post("/v1/track", call).status_code == 200
    assert live.post("/v1/track", TRACK | {"messageId": "m9"}).status_code == 200
    assert live.position() == live.events()[-1].position
