"""A client of the whole service in process, and the one shape that its errors have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.testclient import TestClient

from serving import connection, served_log
from serving.served_log import ServedLog
from serving.service import CustomerTwin
from tests.unit.serving_parts import Shop

SPECIMEN = "somchai.jaidee@example.com"


@contextmanager
def serve(shop: Shop, real_states: bool = False) -> Iterator[TestClient]:
    """A client of the whole server over `shop`: its customers in memory, or the states of its workspace."""
    open_features = None if real_states else shop.open_reader
    patch = pytest.MonkeyPatch()
    patch.setattr(connection, "connect", lambda: connection.Connection(shop.settings, open_features))
    patch.setattr(served_log, "connect", lambda shadow_of: ServedLog(shop.settings, shadow_of))
    patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(shop.settings.workspace.root / "metrics"))
    try:
        with TestClient(app=CustomerTwin.to_asgi(), raise_server_exceptions=False) as client:
            yield client
    finally:
        patch.undo()


def check_shape(answer: httpx.Response, status: int, code: str) -> list[dict[str, str]]:
    """The answer is an error in the one shape; its details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    error = content["error"]
    assert set(error) == {"code", "message", "details", "request_id"}
    assert error["code"] == code
    assert error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    for detail in error["details"]:
        assert set(detail) == {"field", "expected", "got", "hint"}
        assert detail["field"]
        assert detail["expected"]
        assert detail["got"]
    assert "Traceback" not in answer.text
    return list(error["details"])
