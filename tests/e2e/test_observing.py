"""What operators get of a real service: lines of JSON, and traces at a collector of OpenTelemetry."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipelines.settings import Workspace
from serving.observing.tracing import ENDPOINTS
from tests.e2e.live_service import LiveService, furnish, live_service
from tests.e2e.profiled import service_profile
from tests.e2e.test_service import Server

pytestmark = pytest.mark.slow

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
WHO = "somchai.jaidee@example.com"


@dataclass
class Collector:
    """Takes what is sent to `/v1/traces`."""

    spans: list[Span] = field(default_factory=list)
    services: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                collector.take(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *told: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {item.key: item.value.string_value for item in resource.resource.attributes}
            self.services.add(named["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, name: str) -> Span:
        """The span of the trace above with this name; waits for it."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for span in list(self.spans):
                if span.name == name and span.trace_id.hex() == TRACE:
                    return span
            time.sleep(0.05)
        raise AssertionError(f"no span {name} among {sorted({span.name for span in self.spans})}")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()


@pytest.fixture(scope="module")
def service(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("observing")
    workspace = Workspace(f"test-observing-{os.getpid()}")
    with service_profile(folder, access_log=True, timeout_seconds=60.0), pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENDPOINTS[0], collector.url)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with live_service(workspace) as made:
            made.check_well("first")
            yield made


def attributes(span: Span) -> dict[str, Any]:
    return {item.key: item.value.string_value or item.value.int_value for item in span.attributes}


def test_a_request_is_a_span_of_its_callers_trace_with_its_parts_within(
    service: LiveService, collector: Collector
) -> None:
    traced = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    assert service.client.post("/v1/predict", json={"customer_id": "good"}, headers=traced).status_code == 200
    event = {
        "messageId": "traced",
        "userId": "good",
        "event": "Order Completed",
        "properties": {"order_id": "t", "total": 1},
    }
    assert service.client.post("/v1/track", json=event, headers=traced).status_code == 200
    predict, track = collector.named("POST /v1/predict"), collector.named("POST /v1/track")
    assert predict.parent_span_id.hex() == track.parent_span_id.hex() == PARENT
    assert predict.kind == Span.SPAN_KIND_SERVER
    told = {"http.request.method": "POST", "http.route": "/v1/predict", "http.response.status_code": 200}
    assert attributes(predict) == told
    for part in ("features.read", "model.predict"):
        assert collector.named(part).parent_span_id == predict.span_id
    assert collector.named("journal.append").parent_span_id == track.span_id
    assert collector.services == {"customer-twin"}
    for span in collector.spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
        assert "good" not in str(span)


def test_an_access_line_has_the_route_and_no_more_of_a_path(service: LiveService) -> None:
    service.client.get(f"/v1/customers/{WHO}?q={WHO}", headers={"X-Request-Id": "line-1"})
    until = time.monotonic() + 60
    while not any("GET other 404" in line for line in service.server.lines):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert WHO not in "".join(service.server.lines)


def test_logs_are_lines_of_json_from_the_start_to_the_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    workspace = Workspace(f"test-json-{os.getpid()}")
    with service_profile(tmp_path_factory.mktemp("json"), access_log=True, log_format="json"):
        furnish(workspace)
        server = Server(workspace.name, "--port", "0")
        try:
            until = time.monotonic() + 90
            while not any("ready: http" in line for line in server.lines):
                assert time.monotonic() < until, "".join(server.lines)
                time.sleep(0.05)
            assert server.stop(signal.SIGTERM) == 0
            server._reader.join(10)
        finally:
            server.kill()
            shutil.rmtree(workspace.root, ignore_errors=True)
    lines = [json.loads(line) for line in server.lines]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {line["logger"].split(".")[0] for line in lines} == {"bentoml"}
    (asked,) = [line for line in lines if line["logger"] == "bentoml.twin.access"]
    assert (asked["route"], asked["status"]) == ("/readyz", 503)
    assert len(asked["request_id"]) == 32
