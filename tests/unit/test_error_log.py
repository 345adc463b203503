"""What is logged of a failure: kinds, places and the request's id; nothing that a request held."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from pipelines.access import Keys
from pipelines.settings import Workspace
from serving import ingestion
from serving.api.error_log import described
from serving.ingestion import Ingestion
from tests.unit.serving_client import SPECIMEN, check_shape, serve
from tests.unit.serving_parts import CUSTOMERS, Shop, make_shop
from tests.unit.test_serving_layers import Client, door


class Heard(logging.Handler):
    """Every record of every logger, as text with its traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(message)s").format(record))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def heard() -> Iterator[Heard]:
    handler = Heard()
    loggers = [logging.getLogger(name) for name in (None, "bentoml", "bentoml.twin")]
    # Once a record, wherever it is stopped on its way to the root.
    listening = [each for each in loggers if each.name == "root" or not each.propagate]
    for each in listening:
        each.addHandler(handler)
    yield handler
    for each in listening:
        each.removeHandler(handler)


def raised(error: BaseException) -> BaseException:
    """`error` with a traceback, and with locals that hold a value."""
    customer = SPECIMEN
    try:
        assert customer
        raise error
    except BaseException as found:  # noqa: BLE001 (it is handed on)
        return found


def chained() -> BaseException:
    try:
        try:
            {}[SPECIMEN]
        except KeyError as error:
            raise ValueError(SPECIMEN) from error
    except ValueError as error:
        return error


def mistaken() -> BaseException:
    class Body(BaseModel):
        total: int

    try:
        Body.model_validate({"total": SPECIMEN})
    except ValueError as error:
        return error
    raise AssertionError


def noted() -> BaseException:
    error = RuntimeError("x")
    error.add_note(SPECIMEN)
    return raised(error)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        (raised(RuntimeError(SPECIMEN)), ["builtins.RuntimeError"]),
        (chained(), ["builtins.ValueError", "caused by builtins.KeyError"]),
        (mistaken(), ["pydantic_core._pydantic_core.ValidationError"]),
        (noted(), ["builtins.RuntimeError"]),
        (
            raised(ExceptionGroup(SPECIMEN, [raised(KeyError(SPECIMEN)), raised(OSError(5, SPECIMEN, SPECIMEN))])),
            ["builtins.ExceptionGroup", "holding builtins.OSError", "holding builtins.KeyError"],
        ),
    ],
)
def test_kinds_and_places_are_told_and_no_value(error: BaseException, kinds: list[str]) -> None:
    told = described(error)
    assert [part.split(" at ")[0] for part in told.split("; ")] == kinds
    assert __file__ in told
    assert SPECIMEN not in told
    assert "\n" not in told


def test_an_error_that_causes_itself_is_told_once() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert described(first).count("RuntimeError") == 2


def test_of_a_failing_application_the_log_has_no_value(heard: Heard) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError(SPECIMEN)

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError(SPECIMEN)

    client = Client(headers=[(b"x-request-id", b"r-1")]).call(door(failing))
    Client(headers=[(b"x-request-id", b"r-2")]).call(door(late))
    assert client.code == "internal_error"
    assert [line.split(" failed: ")[0] for line in heard.lines] == ["request r-1", "request r-2"]
    assert all("builtins.KeyError at " in line for line in heard.lines)
    assert SPECIMEN not in heard.text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


def test_of_a_failing_service_the_log_has_no_value(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: Heard
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise KeyError(SPECIMEN)

    workspace = Workspace("live", checkout=tmp_path)
    monkeypatch.setattr(ingestion, "connect", lambda: Ingestion(replace(shop.settings, workspace=workspace)))
    _, key = Keys(workspace.access).create(
        "web", ["ingest"], "web", "THB", purposes=["profiling", "training"], legal_basis="contract"
    )
    monkeypatch.setattr("serving.predictor.Predictor.one", fail)
    monkeypatch.setattr("serving.predictor.Predictor.many", fail)
    monkeypatch.setattr("serving.api.ingest.segment.Rules.take", fail)
    item = {"userId": SPECIMEN, "event": SPECIMEN, "type": "track"}
    with serve(shop) as client:
        calls = {
            "/v1/predict": {"customer_id": CUSTOMERS[0]},
            "/v1/predict_many": {"customer_ids": [CUSTOMERS[0]]},
            "/v1/track": item,
            "/v1/batch": {"batch": [item]},
        }
        for path, body in calls.items():
            answer = client.post(
                path, json=body, auth=(key, ""), headers={"x-request-id": f"r{path}".replace("/", "-")}
            )
            check_shape(answer, 500, "internal_error")
            assert SPECIMEN not in answer.text
    failures = [line for line in heard.lines if "failed: " in line]
    assert [line.split()[1] for line in failures] == ["r-v1-predict", "r-v1-predict_many", "r-v1-track", "r-v1-batch"]
    assert SPECIMEN not in heard.text
    assert "Traceback" not in heard.text
