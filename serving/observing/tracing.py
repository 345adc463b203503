"""Traces of requests, sent by OTLP over HTTP, where that is configured. Else nothing of it is imported or made.

On: the profile says `service.tracing: true`, or the environment has OTEL_EXPORTER_OTLP_ENDPOINT (or its form for traces
alone). Where to send and how to sample is told by OpenTelemetry's own variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

from feature_repo.configuration import ConfigurationError, Problem
from serving.observing import trace_parent
from serving.observing.note import NOTE, Note

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_FLUSH_MILLISECONDS = 5_000
_NOTHING: AbstractContextManager[None] = nullcontext()


class _Tracing:
    """The tracer of this process, once there is one."""

    def __init__(self) -> None:
        self.tracer: Tracer | None = None
        self.provider: TracerProvider | None = None


_tracing = _Tracing()


def is_wanted(profile_says: bool, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether traces are to be sent."""
    return profile_says or any(environment.get(name) for name in ENDPOINTS)


def check_exporter(profile_says: bool) -> None:
    """Raises ConfigurationError where traces are wanted and what sends them is not installed."""
    if not is_wanted(profile_says) or _is_installed():
        return
    field = "service.tracing" if profile_says else next(name for name in ENDPOINTS if os.environ.get(name))
    hint = "install the extra: pip install 'customer-twin[tracing]'; or leave traces off"
    raise ConfigurationError([Problem(field, "an installed exporter of OTLP over HTTP", "none", hint)])


def span(name: str) -> AbstractContextManager[Any]:
    """A span within the present one; nothing where traces are off."""
    tracer = _tracing.tracer
    return _NOTHING if tracer is None else tracer.start_as_current_span(name, record_exception=False)


def start(service: str) -> None:
    """Send traces from now on, as `service` where the environment names no other. Raises ImportError."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(import_module(EXPORTER).OTLPSpanExporter()))
    _tracing.provider, _tracing.tracer = provider, provider.get_tracer("customer-twin")


def close() -> None:
    """Send what waits, for five seconds at most."""
    if _tracing.provider is not None:
        _tracing.provider.force_flush(_FLUSH_MILLISECONDS)
        _tracing.provider.shutdown()
        _tracing.provider = _tracing.tracer = None


class Traced:
    """ASGI layer: a span a request, in the trace that its `traceparent` names."""

    def __init__(self, app: ASGIApp) -> None:
        # Known to be installed and wanted once this layer is made.
        from opentelemetry.trace import SpanKind, format_trace_id
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.app = app
        self.kind = SpanKind.SERVER
        self.format_trace_id = format_trace_id
        self.propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tracer = _tracing.tracer
        if scope["type"] != "http" or tracer is None:
            await self.app(scope, receive, send)
            return
        note: Note = scope[NOTE]
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = self.propagator.extract(carrier)
        told = {"http.request.method": scope["method"], "http.route": note.route}
        name = f"{scope['method']} {note.route}"
        with tracer.start_as_current_span(name, context, self.kind, told, record_exception=False) as made:
            trace_parent.current.set(self.format_trace_id(made.get_span_context().trace_id))
            try:
                await self.app(scope, receive, send)
            finally:
                made.set_attribute("http.response.status_code", note.status)


def _is_installed() -> bool:
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:
        return False
