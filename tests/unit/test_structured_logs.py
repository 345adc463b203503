"""Logs as JSON: what a line has, and that it has nothing of a person."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.api import request_id
from serving.api.error_log import log_failure
from serving.api.error_shape import ErrorShape
from serving.observing import trace_parent
from serving.observing.logs import JsonLines
from serving.observing.observed import Observed
from tests.unit.serving_client import SPECIMEN
from tests.unit.test_serving_layers import Client

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


class Lines(logging.Handler):
    """Keeps what is logged as lines of JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        assert "\n" not in text
        self.lines.append(json.loads(text))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    handler = Lines()
    for name in ("bentoml", "asyncio", "uvicorn.error"):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [handler])
        monkeypatch.setattr(logger, "level", logging.INFO)
        logging.root.manager._clear_cache()  # type: ignore[attr-defined]
    return handler.lines


async def fine(scope: Scope, receive: Receive, send: Send) -> None:
    await JSONResponse({})(scope, receive, send)


async def failing(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError(SPECIMEN)


def observed(app: ASGIApp) -> ASGIApp:
    return Observed(ErrorShape(app), {"/v1/predict"}, access_log=True)


def test_an_access_line_tells_how_a_request_went(lines: list[dict[str, Any]]) -> None:
    headers = [(b"x-request-id", b"r-1"), (b"traceparent", PARENT.encode())]
    Client(headers=headers).call(observed(fine))
    (line,) = lines
    assert {
        "level": "info",
        "logger": "bentoml.twin.access",
        "route": "/v1/predict",
        "method": "POST",
    }.items() <= line.items()
    assert (line["status"], line["request_id"], line["trace_id"]) == (200, "r-1", TRACE)
    assert line["duration_ms"] > 0
    assert line["time"].endswith("+00:00")


def test_a_failure_is_told_without_its_text(lines: list[dict[str, Any]]) -> None:
    Client().call(observed(failing))
    failure, access = lines
    assert "builtins.RuntimeError at " in failure["message"]
    assert access["status"] == 500
    assert failure["request_id"] == access["request_id"]
    assert SPECIMEN not in json.dumps(lines)


def test_what_libraries_log_has_no_text_of_an_exception(lines: list[dict[str, Any]]) -> None:
    try:
        raise ValueError(SPECIMEN)
    except ValueError as error:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: %r", error)
    assert [line["message"] for line in lines] == [
        "Exception in ASGI application",
        "Task exception was never retrieved",
    ]
    assert lines[0]["failure"].startswith("builtins.ValueError at ")
    assert SPECIMEN not in json.dumps(lines)


def test_outside_of_a_request_a_line_names_none(lines: list[dict[str, Any]]) -> None:
    request_id.current.set("")
    trace_parent.current.set("")
    log_failure(RuntimeError())
    assert set(lines[0]) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        (PARENT, TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-00-more", TRACE),
        (f"ff-{TRACE}-00f067aa0ba902b7-00", ""),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", ""),
        (SPECIMEN, ""),
        ("", ""),
    ],
)
def test_a_trace_is_taken_as_the_standard_says(value: str, trace: str) -> None:
    assert trace_parent.of_headers([(b"a", b"b"), (b"traceparent", value.encode())]) == trace
