"""The two layers around BentoML, over small applications that misbehave in ways BentoML's own can."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from bentoml._internal.server.http.traffic import MaxConcurrencyMiddleware, TimeoutMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.admission import Admission
from serving.api.error_shape import ErrorShape
from serving.api.request_door import RequestDoor
from serving.api.requests import VALIDATED, PredictRequest
from serving.connections import Connections
from serving.draining import Drain


@dataclass
class Client:
    """What a client sends, part by part, and what it got. A part that is None never comes."""

    parts: list[bytes | None] = field(default_factory=lambda: [b'{"customer_id": "1"}'])
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    got: list[Message] = field(default_factory=list)
    read: int = 0
    leaves: bool = False
    path: str = "/v1/predict"

    async def receive(self) -> Message:
        if self.leaves:
            return {"type": "http.disconnect"}
        part = self.parts[self.read] if self.read < len(self.parts) else None
        if part is None:
            await asyncio.sleep(3600)
        self.read += 1
        return {"type": "http.request", "body": part, "more_body": self.read < len(self.parts)}

    async def send(self, message: Message) -> None:
        self.got.append(message)

    def call(self, app: ASGIApp) -> Client:
        scope = {
            "type": "http",
            "method": "POST",
            "path": self.path,
            "headers": self.headers,
            "query_string": b"",
            "raw_path": self.path.encode(),
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        asyncio.run(app(scope, self.receive, self.send))  # type: ignore[arg-type]
        return self

    @property
    def status(self) -> int:
        starts = [message for message in self.got if message["type"] == "http.response.start"]
        assert len(starts) == 1
        return int(starts[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.got if message["type"] == "http.response.body")

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


def everybody(request: HTTPConnection) -> None:
    """Nobody is refused."""


def door(app: ASGIApp, maximum: int = 100) -> ASGIApp:
    return ErrorShape(RequestDoor(app, {"/v1/predict": PredictRequest}, maximum, everybody))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({"customer_id": scope[VALIDATED].customer_id})(scope, receive, send)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    return


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("secret")


async def hanging(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.sleep(3600)


async def half(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 502, "headers": []})
    raise RuntimeError("secret")


def answering(response: Callable[[Scope, Receive, Send], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await response(scope, receive, send)

    return app


def test_a_checked_body_reaches_the_application() -> None:
    assert json.loads(Client([b'{"customer_', b'id": "7"}']).call(door(echo)).body) == {"customer_id": "7"}


@pytest.mark.parametrize("app", [silent, failing, half])
def test_whatever_fails_is_one_500(app: ASGIApp) -> None:
    for layers in (ErrorShape(app), door(app)):
        client = Client().call(layers)
        assert (client.status, client.code) == (500, "internal_error")
        assert b"secret" not in client.body


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (PlainTextResponse("Not Found", 404), "not_found"),
        (PlainTextResponse("Invalid HTTP request", 400), "bad_request"),
        (JSONResponse({"error": "Too many requests"}, 429, headers={"Retry-After": "1"}), "too_many_requests"),
        (JSONResponse([{"error": "x"}], 400), "bad_request"),
        (JSONResponse({"error": {"code": "x"}}, 409), "conflict"),
        (JSONResponse({"detail": "x"}, 418), "i_m_a_teapot"),
        (PlainTextResponse("secret", 599), "internal_error"),
        (PlainTextResponse("secret", 499), "refused"),
        (StreamingResponse(iter([b"sec", b"ret"]), 500), "internal_error"),
    ],
)
def test_errors_of_others_are_put_into_the_shape(response: Any, code: str) -> None:
    client = Client().call(ErrorShape(answering(response)))
    assert (client.status, client.code) == (response.status_code, code)
    assert b"secret" not in client.body
    headers = dict(client.got[0]["headers"])
    assert headers[b"content-length"] == str(len(client.body)).encode()
    assert headers.get(b"retry-after") == (b"1" if client.status == 429 else None)


def test_an_error_in_the_shape_passes_as_it_is() -> None:
    content = {"error": {"code": "c", "message": "m", "details": [], "request_id": "r"}, "more": 1}
    client = Client().call(ErrorShape(answering(JSONResponse(content, 422))))
    assert (client.status, json.loads(client.body)) == (422, content)


def test_a_stream_passes_part_by_part() -> None:
    client = Client().call(ErrorShape(answering(StreamingResponse(iter([b"a", b"b"])))))
    assert [message.get("body") for message in client.got[1:]] == [b"a", b"b", b""]


@pytest.mark.parametrize("parts", [[b'{"customer_id": "1"}'], [b'{"cus', None]])
def test_what_takes_too_long_is_a_504(parts: list[bytes | None]) -> None:
    inner = RequestDoor(hanging, {"/v1/predict": PredictRequest}, 100, everybody)
    client = Client(parts).call(ErrorShape(TimeoutMiddleware(inner, timeout=0.05)))
    assert (client.status, client.code) == (504, "timeout")


def test_a_fault_does_not_wait_for_the_time_out() -> None:
    inner = RequestDoor(failing, {"/v1/predict": PredictRequest}, 100, everybody)
    client = Client().call(ErrorShape(TimeoutMiddleware(inner, timeout=3600)))
    assert (client.status, client.code) == (500, "internal_error")


def test_one_too_many_at_a_time_is_a_429() -> None:
    limited = MaxConcurrencyMiddleware(answering(PlainTextResponse("fine")), max_concurrency=1)

    async def crowd(scope: Scope, receive: Receive, send: Send) -> None:
        async with limited._semaphore:
            await limited(scope, receive, send)

    client = Client().call(ErrorShape(crowd))
    assert (client.status, client.code) == (429, "too_many_requests")


@pytest.mark.parametrize("announced", [b"101", b"1" * 30, b"9" * 5000])
def test_an_announced_body_over_the_limit_is_not_read(announced: bytes) -> None:
    client = Client([b"x" * 50] * 100, headers=[(b"content-length", announced)]).call(door(echo))
    assert (client.status, client.code, client.read) == (413, "body_too_large", 0)


def test_an_unannounced_body_is_read_up_to_the_limit() -> None:
    client = Client([b"x" * 50] * 100).call(door(echo))
    assert (client.status, client.code, client.read) == (413, "body_too_large", 3)


def test_a_client_that_goes_away_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    Client(leaves=True).call(door(echo))
    assert not caplog.records


def admitting(app: ASGIApp, most: int = 1) -> tuple[Admission, Drain]:
    drain = Drain()
    return Admission(app, most, 7, drain, Connections()), drain


def test_beyond_the_limit_a_request_is_told_when_to_come_again_and_probes_are_answered() -> None:
    admission, _ = admitting(answering(PlainTextResponse("fine")))
    admission.running = 1
    client = Client().call(ErrorShape(admission))
    assert (client.status, client.code, client.read) == (429, "too_many_requests", 0)
    assert dict(client.got[0]["headers"])[b"retry-after"] == b"7"
    assert Client(path="/livez").call(ErrorShape(admission)).status == 200
    assert admission.running == 1


@pytest.mark.parametrize("app", [silent, failing, half])
def test_whatever_becomes_of_a_request_its_place_is_free_again(app: ASGIApp) -> None:
    admission, _ = admitting(app)
    for _ in range(3):
        assert Client().call(ErrorShape(admission)).status >= 500
    assert admission.running == 0


def test_a_service_that_drains_says_so_and_answers_with_the_last_answer_of_a_connection() -> None:
    admission, drain = admitting(answering(PlainTextResponse("fine")))
    assert Client(path="/readyz").call(ErrorShape(admission)).status == 200
    drain.begun = True
    ready = Client(path="/readyz").call(ErrorShape(admission))
    assert (ready.status, ready.code) == (503, "draining")
    answered = Client().call(ErrorShape(admission))
    assert answered.status == 200
    for client in (ready, answered):
        assert dict(client.got[0]["headers"])[b"connection"] == b"close"
