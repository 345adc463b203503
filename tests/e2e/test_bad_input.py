"""Bad input against the real service: each field of each call with nasty values, and HTTP gone wrong.

`make bad-input` takes every value, other runs every fourth of a field.

A new route is a row of CALLS; a new kind of field is a rule of RULES.
"""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from pipelines.decisions.ledger import SOURCE as DECISIONS
from pipelines.events.compaction import compact
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.settings import CHECKOUT, Workspace
from serving.api.ingest.cloudevents import message_id as stored_id
from tests.e2e.live_service import LiveService, check_error, live_service
from tests.nasty import RAW, TELLTALES, Unreadable, read, storable

pytestmark = pytest.mark.slow

Value = TypeVar("Value")
_HOLE = "(hole)"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TIMES = ("0001-01-02T00:00:00Z",)


def _name(longest: int, optional: bool) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        if value is None:
            return optional
        return isinstance(value, str) and 0 < len(value.strip()) <= len(value) <= longest and not _CONTROL.search(value)

    return fits


def _id(optional: bool) -> Callable[[Any], bool]:
    named = _name(256, optional)
    return lambda value: named(value) or (type(value) is int and abs(value) < 2**63)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip(" \t\r\n"))


def _attribute(value: Any) -> bool:
    return isinstance(value, str) and value != "" and not re.search(r"[\x00-\x1f\x7f-\x9f]", value)


# What a field may hold, in words of its own. `value` is what `tests.nasty.read` made of it.
RULES: dict[str, Callable[[Any], bool]] = {
    "id": _id(optional=False),
    "optional id": _id(optional=True),
    "message id": _name(100, optional=True),
    "event": _name(200, optional=False),
    "kind": lambda value: False,
    "time": lambda value: value is None or value in _TIMES,
    "object": lambda value: value is None or (isinstance(value, dict) and storable(value)),
    "kept": storable,
    "context": lambda value: not isinstance(value, dict) or storable(value),
    "unread": lambda value: True,
    # Never taken apart, so a number or a text in it may be one that cannot be read.
    "skipped": lambda value: True,
    "text": lambda value: value is None or isinstance(value, str),
    "needed text": lambda value: isinstance(value, str) and not _blank(value),
    "amount": lambda value: isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value < 10**10,
    "count": lambda value: (
        _blank(value)
        or (
            isinstance(value, int | Decimal)
            and not isinstance(value, bool)
            and value == int(value)
            and 1 <= value < 10**18
        )
    ),
    "currency": lambda value: value is None,
    "attribute": lambda value: value is None or _attribute(value),
    "attribute and event": lambda value: _attribute(value) and _name(200, optional=False)(value),
    "attribute and id": lambda value: _attribute(value) and _name(256, optional=False)(value),
    "extension": lambda value: (
        value is None or _attribute(value) or (isinstance(value, bool | int) and storable(value))
    ),
    "media type": lambda value: value is None,
    "no attribute": lambda value: value is None,
    "list": lambda value: _blank(value) or (isinstance(value, list) and storable(value)),
}

_COMMON = {
    "messageId": "message id",
    "anonymousId": "optional id",
    "timestamp": "time",
    "sentAt": "time",
    "originalTimestamp": "kept",
    "context": "context",
    "context.channel": "kept",
    "context.traits": "kept",
    "context.anything": "kept",
    "integrations": "unread",
    "writeKey": "unread",
    "channel": "unread",
    "anything": "unread",
}
_ORDER = {"order_id": "o1", "total": 12.5, "currency": "THB"}


@dataclass(frozen=True)
class Call:
    """A route, an item that is good for it, and what each of the item's fields may hold, by path."""

    path: str
    item: dict[str, Any]
    fields: dict[str, str]
    wrap: Callable[[dict[str, Any]], Any] = lambda item: item
    content_type: str = "application/json"
    stored_as: Callable[[str], str] = lambda message_id: message_id

    def body(self, field: str, raw: bytes, message_id: str) -> bytes:
        """The JSON of the good call with `raw` as its `field`."""
        item = json.loads(json.dumps({"messageId": message_id, **self.item}))
        *parents, last = field.split(".")
        place = item
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = _HOLE
        return json.dumps(self.wrap(item)).encode().replace(f'"{_HOLE}"'.encode(), raw)


def _single(kind: str, item: dict[str, Any], fields: dict[str, str]) -> Call:
    return Call(f"/v1/{kind}", item, {**_COMMON, **fields})


CALLS = {
    "track": _single(
        "track",
        {"userId": "c", "anonymousId": "a", "event": "Order Completed", "properties": _ORDER},
        {
            "userId": "optional id",
            "event": "event",
            "properties.order_id": "needed text",
            "properties.total": "amount",
            "properties.currency": "currency",
            "properties.lines": "count",
            "properties.coupon": "text",
            "properties.products": "list",
            "properties.anything": "kept",
            "properties.$call": "kept",
        },
    ),
    "unplanned track": _single(
        "track", {"userId": "c", "event": "Door Opened"}, {"userId": "id", "properties": "object"}
    ),
    "identify": _single("identify", {"userId": "c"}, {"userId": "id", "traits": "object", "traits.email": "kept"}),
    "page": _single(
        "page",
        {"userId": "c", "name": "Home"},
        {"userId": "id", "name": "kept", "category": "kept", "properties": "object", "properties.path": "text"},
    ),
    "screen": _single("screen", {"userId": "c"}, {"userId": "id", "name": "text", "properties": "object"}),
    "group": _single("group", {"userId": "c", "groupId": "g"}, {"userId": "id", "groupId": "id", "traits": "object"}),
    "alias": _single("alias", {"userId": "c", "previousId": "p"}, {"userId": "id", "previousId": "id"}),
    "batch": Call(
        "/v1/batch",
        {"type": "track", "userId": "c", "event": "Door Opened"},
        {**_COMMON, "type": "kind", "userId": "id", "event": "event", "properties": "object"},
        lambda item: {"batch": [item]},
    ),
    "batch's own": Call(
        "/v1/batch",
        {},
        {"context": "context", "sentAt": "time", "writeKey": "unread", "anything": "skipped", "batch": "kind"},
        lambda parts: {
            "batch": [{"type": "track", "userId": "c", "event": "Door Opened", "messageId": parts.pop("messageId")}],
            **parts,
        },
    ),
}


def _cloud_event(item: dict[str, Any]) -> dict[str, Any]:
    return {"id" if name == "messageId" else name: value for name, value in item.items()}


CALLS["cloud event"] = Call(
    "/v1/events",
    {"specversion": "1.0", "source": "/shop", "type": "door.opened", "subject": "c", "data": {}},
    {
        "specversion": "kind",
        "type": "attribute and event",
        "subject": "attribute and id",
        "time": "time",
        "datacontenttype": "media type",
        "dataschema": "attribute",
        "channel": "extension",
        "anything": "extension",
        "UPPER": "no attribute",
        "data": "object",
        "data.anything": "kept",
        "data.$call": "kept",
        "data.anonymousId": "optional id",
    },
    _cloud_event,
    "application/cloudevents+json",
    lambda message_id: stored_id("/shop", message_id),
)

PREDICTIONS = {
    "/v1/predict": ({"customer_id": "nobody"}, ("customer_id", "model", "reasons", "context", "anything")),
    "/v1/predict_many": ({"customer_ids": ["nobody"]}, ("customer_ids", "model", "reasons", "context", "anything")),
    "/v1/decide": ({"customer_id": "nobody"}, ("customer_id", "decision_id", "reasons", "context", "anything")),
}


@pytest.fixture(scope="module")
def live() -> Iterator[LiveService]:
    with live_service(Workspace(f"test-bad-input-{os.getpid()}")) as made:
        made.check_well("first")
        before = _outside(made)
        yield made
        made.check_well("last")
        assert _outside(made) == before, "something was written outside the workspace"
        said = "".join(made.server.lines)
        assert "Traceback" not in said
        assert " failed: " not in said, said
        assert [text for text in TELLTALES if text in said] == []


def _outside(live: LiveService) -> dict[Path, tuple[int, int]]:
    """Size and time of every file of the checkout but those of tests' workspaces and of caches, and of a secret."""
    found = {}
    skipped = {".git", ".venv", ".hypothesis", "__pycache__"}
    skipped |= {".pytest_cache", ".mypy_cache", ".ruff_cache", ".import_linter_cache"}
    for folder, folders, files in os.walk(CHECKOUT):
        here = Path(folder)
        # Other tests may run meanwhile, in workspaces of their own.
        folders[:] = [each for each in folders if each not in skipped and not each.startswith("test-")]
        for file in files:
            told = (here / file).stat()
            found[here / file] = (told.st_size, told.st_mtime_ns)
    told = Path("/etc/passwd").stat()
    return {**found, Path("/etc/passwd"): (told.st_size, told.st_mtime_ns)}


def check_no_echo(answer: httpx.Response) -> None:
    text = json.dumps(answer.json(), ensure_ascii=False)
    assert [told for told in TELLTALES if told in text or told in answer.text] == []
    assert not [value for value in answer.headers.values() if "Injected" in value]


def check_refused(answer: httpx.Response, code: str | None = None) -> None:
    """A 4xx in the one shape that echoes nothing."""
    assert 400 <= answer.status_code < 500, answer.text
    error = check_error(answer)
    assert code in (None, error["code"]), answer.text
    check_no_echo(answer)


@pytest.mark.parametrize("name", CALLS)
def test_every_field_with_every_nasty_value(live: LiveService, name: str) -> None:
    call = CALLS[name]
    known = {stored.event.event_id for stored in live.events()}
    unnamed = 0
    wrong = []
    quarantined = _quarantined(live)
    refused = 0
    for number, (field, rule) in enumerate(call.fields.items()):
        for kind, raw in _some(RAW.items(), number):
            place = f"{name}: {field} is {kind}"
            message_id = f"{name}-{field}-{kind}"[:100]
            expected, value = _expected(rule, raw)
            headers = {"content-type": call.content_type}
            answer = live.client.post(call.path, content=call.body(field, raw, message_id), headers=headers)
            check_no_echo(answer)
            if answer.status_code == 200:
                told = answer.json()
                assert told["accepted"] + told["duplicates"] + told["rejected_events"] == 1, place
                accepted = told["accepted"] + told["duplicates"] == 1
                refused += told["rejected_events"]
            else:
                assert answer.status_code == 400, f"{place}: {answer.text}"
                refused += check_error(answer)["code"] == "invalid_event"
                accepted = False
            if accepted != expected and rule != "skipped":
                wrong.append(place)
            if accepted and field == "messageId":
                unnamed += value is None
                known |= {value} - {None}
            elif accepted:
                known.add(call.stored_as(message_id))
    assert wrong == [], f"accepted where it should be refused, or the other way round: {wrong}"
    stored = [stored.event.event_id for stored in live.events()]
    assert len(stored) == len(set(stored)) == len(known) + unnamed
    assert known <= set(stored)
    assert _quarantined(live) - quarantined == refused
    live.check_well(f"after {name}")


def _some(values: Iterable[Value], number: int) -> list[Value]:
    """Every value with `make bad-input`; else every fourth, others for the next field, so that each meets each call."""
    step = 1 if os.environ.get("TWIN_EVERY_VALUE") else 4
    return list(values)[number % step :: step]


def _expected(rule: str, raw: bytes) -> tuple[bool, Any]:
    try:
        value = read(raw)
    except Unreadable:
        return False, None
    return RULES[rule](value), value


def _quarantined(live: LiveService) -> int:
    """Number of lines, each of them whole."""
    files = live.workspace.quarantine.glob("live-*.jsonl")
    return sum(isinstance(json.loads(line), dict) for file in files for line in file.read_bytes().splitlines())


@pytest.mark.parametrize("path", PREDICTIONS)
def test_every_field_of_a_prediction_with_every_nasty_value(live: LiveService, path: str) -> None:
    good, fields = PREDICTIONS[path]
    for number, field in enumerate(fields):
        for raw in _some([*RAW.values(), *(b"[" + raw + b"]" for raw in RAW.values())], number):
            body = json.dumps({**good, field: _HOLE}).encode().replace(f'"{_HOLE}"'.encode(), raw)
            answer = live.client.post(path, content=body, headers={"content-type": "application/json"})
            if answer.status_code != 200:
                check_refused(answer)


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_a_nasty_write_key_is_no_key(live: LiveService, raw: bytes) -> None:
    body = b'{"userId": "c", "event": "Door Opened", "writeKey": ' + raw + b"}"
    answer = httpx.post(f"{live.server.url()}/v1/track", content=body, trust_env=False)
    assert answer.status_code in (400, 401)
    check_refused(answer)
    answer = httpx.post(f"{live.server.url()}/v1/track", content=b"{}", auth=(raw.hex(), raw.hex()), trust_env=False)
    check_refused(answer, "unauthorized" if len(raw) < 10_000 else None)


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_a_nasty_value_as_whole_body_is_refused(live: LiveService, raw: bytes) -> None:
    for path in sorted({call.path for call in CALLS.values()} | PREDICTIONS.keys()):
        for body in (raw, b"\xef\xbb\xbf" + raw, raw.decode("utf-8", "replace").encode("utf-16")):
            answer = live.client.post(path, content=body, headers={"content-type": "application/json"})
            check_refused(answer)


def test_what_was_kept_can_be_folded_anew_and_moved_to_the_lake(live: LiveService, tmp_path: Path) -> None:
    """The matrix's events are no bombs for what reads them later."""
    stored = live.events()
    assert live.states() == live.rebuilt(tmp_path / "rebuilt.db")
    journal = SQLiteJournal(live.workspace.journal)
    try:
        compact(live.workspace.lake, journal)
    finally:
        journal.close()
    assert live.events() == []
    live.check_well("after compaction")
    sent = [item.event.event_id for item in stored if item.event.source != DECISIONS]
    again = live.client.post("/v1/track", json={"userId": "c", "event": "x", "messageId": sent[-1]})
    assert again.json()["duplicates"] == 1


def test_bodies_that_are_too_large_in_every_way(live: LiveService) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * 100_000] * 200

    packed = {"content-encoding": "gzip"}
    bomb = gzip.compress(b" " * 30_000_000)
    assert len(bomb) < 50_000
    twice = gzip.compress(gzip.compress(b" " * 300_000_000))
    good = gzip.compress(b'{"userId": "c", "event": "Door Opened"}')
    for path in sorted({call.path for call in CALLS.values()}):
        post = live.client.post
        check_refused(post(path, content=bomb, headers=packed), "body_too_large")
        check_refused(post(path, content=twice, headers=packed))
        check_refused(post(path, content=b" " * 20_000_000), "body_too_large")
        check_refused(post(path, content=chunks()), "body_too_large")
        for broken in (good[:-9], good[:-1], good[:11], good + b"x", good * 2, b"\x1f\x8b", bytes(20), b""):
            check_refused(post(path, content=broken, headers=packed), "invalid_gzip")
    for path in PREDICTIONS:
        kind = {"content-type": "application/json"}
        check_refused(live.client.post(path, content=b" " * 20_000_000, headers=kind), "body_too_large")
        check_refused(live.client.post(path, content=chunks(), headers=kind), "body_too_large")
        check_refused(live.client.post(path, content=bomb, headers=kind | packed), "unsupported_media_type")


def test_limits_of_a_batch(live: LiveService) -> None:
    item = {"type": "track", "userId": "c", "event": "Door Opened"}
    check_refused(live.client.post("/v1/batch", json={"batch": [item] * 2_501}), "too_many_events")
    large = {**item, "messageId": "too large", "properties": {"text": "x" * 33_000}}
    told = live.client.post("/v1/batch", json={"batch": [item, large, item]}).json()
    assert (told["accepted"], told["rejected_events"], told["rejected"][0]["index"]) == (2, 1, 1)
    nested = {"batch": [{"batch": [item]}, [item], item]}
    told = live.client.post("/v1/batch", json=nested).json()
    assert (told["accepted"], told["rejected_events"]) == (1, 2)
    assert "too large" not in {stored.event.event_id for stored in live.events()}


_BODY = b'{"userId": "c", "event": "Door Opened"}'
_NOT_HTTP = b"Invalid HTTP request received."
_TRICKS = ["../../etc/passwd", "'; DROP TABLE journal_events; --", "file:///etc/passwd", "%00", "\xff\xfe", "a" * 5_000]


@pytest.mark.parametrize("value", _TRICKS)
def test_headers(live: LiveService, value: str) -> None:
    raw = value.encode("latin-1")

    def post(path: str, name: str, body: bytes = _BODY) -> httpx.Response:
        content_type = (b"content-type", b"application/json")
        headers = [content_type] if name != "content-type" else []
        return live.client.post(path, content=body, headers=[*headers, (name.encode(), raw)])

    for name in ("x-request-id", "content-type", "user-agent", "cookie", "accept", "x-forwarded-for", "forwarded"):
        answer = post("/v1/track", name)
        assert answer.status_code == 200, answer.text
        assert re.fullmatch(r"[A-Za-z0-9_.:-]{1,100}", answer.headers["x-request-id"])
        check_no_echo(answer)
    check_refused(post("/v1/track", "content-encoding"), "unsupported_media_type")
    check_refused(post("/v1/predict", "content-encoding"), "unsupported_media_type")
    check_refused(post("/v1/predict", "content-type"), "unsupported_media_type")
    for scheme in (b"", b"Basic ", b"Bearer ", b"Digest "):
        headers = [(b"authorization", scheme + raw)]
        answer = httpx.post(f"{live.server.url()}/v1/track", content=_BODY, headers=headers, trust_env=False)
        check_refused(answer, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Basic")


def test_headers_without_end(live: LiveService) -> None:
    for headers in ([(b"x-long", b"a" * 1_000_000)], [(b"x-many", b"a")] * 20_000):
        check_refused(live.client.post("/v1/track", content=_BODY, headers=headers), "headers_too_large")


_PATHS = [
    *("/v1/track/", "//v1/track", "/v1//track", "/v1/../v1/track", "/v1/./track", "/v1/track%00", "/v1/track%2f"),
    *(
        "/v1/track%2e%2e",
        "/v1/TRACK",
        "/v1/track;x",
        "/v1/nothing",
        "/v1/predict/",
        "/docs.json/",
        "/v1/track/../batch",
    ),
    *("/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "/static_content/../../../../../../../../etc/passwd"),
    "/static_content/" + "%2e%2e/" * 12 + "etc/passwd",
    *("/static_content/..%2f..%2f..%2fetc/passwd", "/static_content//etc/passwd", "/static_content/%00"),
    *("/v1/'; DROP TABLE journal_events; --".replace(" ", "%20"), "/%ff", "/metricsx", "/v1/predict/submit"),
]


@pytest.mark.parametrize("path", _PATHS)
def test_paths_that_are_none(live: LiveService, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = _exchange(live, _request(method, path))
        assert answer.status in (404, 405), answer
        assert {"not_found", "method_not_allowed"} & {answer.code}
        assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"])
def test_methods(live: LiveService, method: str) -> None:
    for path in sorted({call.path for call in CALLS.values()} | PREDICTIONS.keys()):
        answer = _exchange(live, _request(method, path))
        assert (answer.status, answer.code) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
        b"FLY /v1/track HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x00b\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/track HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_by_the_server_itself(live: LiveService, bytes_sent: bytes) -> None:
    answer = _exchange(live, bytes_sent)
    assert (answer.status, answer.body) == (400, _NOT_HTTP)


def test_chunks_that_are_none(live: LiveService) -> None:
    before = len(live.events())
    for chunk in (b"zz\r\n", b"-5\r\nabcde\r\n", b"ffffffffffffffffff\r\n"):
        head = _request("POST", "/v1/track", {"Authorization": _basic(live), "Transfer-Encoding": "chunked"}, b"")
        answer = _exchange(live, head.replace(b"Content-Length: 0\r\n", b"") + chunk)
        assert answer.status == 400
    assert len(live.events()) == before


def test_clients_that_send_slowly_hold_up_nobody(live: LiveService) -> None:
    before = len(live.events())
    ended = threading.Event()

    def drip(number: int) -> int:
        """A body that comes byte by byte; the status it is told."""
        head = _request("POST", "/v1/track", {"Authorization": _basic(live)}, _BODY)
        with socket.create_connection(_address(live), timeout=30) as stream:
            stream.sendall(head[: -len(_BODY)])
            stream.settimeout(0.5)
            for place in range(len(_BODY) - 1):
                try:
                    stream.sendall(_BODY[place : place + 1])
                    found = stream.recv(65_536)
                except TimeoutError:
                    continue
                return int(found.split()[1])
        return 0

    def wait_in_the_head() -> None:
        with socket.create_connection(_address(live), timeout=30) as stream:
            stream.sendall(b"POST /v1/track HTTP/1.1\r\nHost: ")
            ended.wait(60)

    with ThreadPoolExecutor(150) as pool:
        heads = [pool.submit(wait_in_the_head) for _ in range(100)]
        slow = [pool.submit(drip, number) for number in range(40)]
        while not all(each.done() for each in slow):
            began = time.monotonic()
            assert live.track("fast", client=live.client).status_code == 200
            assert time.monotonic() - began < 5
            time.sleep(0.1)
        ended.set()
        assert {each.result() for each in slow} == {504}
        assert [each.result() for each in heads] == [None] * 100
    assert len(live.events()) == before + 1


def test_clients_that_leave_in_the_middle(live: LiveService) -> None:
    before = len(live.events())
    said = len(live.server.lines)
    whole = _request("POST", "/v1/track", {"Authorization": _basic(live)}, _BODY)
    for end in [*range(1, len(whole), 7), len(whole) - 1]:
        with socket.create_connection(_address(live), timeout=30) as stream:
            # Without a word, as a phone in a tunnel: what is not read yet is thrown away.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            stream.sendall(whole[:end])
    live.check_well("after those who left")
    assert len(live.events()) == before + 1
    assert live.server.lines[said:] == []


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        assert self.headers["content-type"] == "application/json"
        return str(json.loads(self.body)["error"]["code"])


def _address(live: LiveService) -> tuple[str, int]:
    url = httpx.URL(live.server.url())
    assert url.port is not None
    return url.host, url.port


def _basic(live: LiveService) -> str:
    return "Basic " + base64.b64encode(f"{live.key}:".encode()).decode()


def _request(method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"{}") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: evil.example", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _exchange(live: LiveService, sent: bytes) -> Answer:
    """Send bytes as they are; the first answer."""
    with socket.create_connection(_address(live), timeout=10) as stream:
        stream.sendall(sent)
        response = http.client.HTTPResponse(stream)
        response.begin()
        body = response.read()
        assert b"root:" not in body
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
