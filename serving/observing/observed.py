"""ASGI layer around everything: counts and times each request, and logs it where that is asked for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from time import perf_counter

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.observing import measures, trace_parent
from serving.observing.logs import log_access
from serving.observing.note import NOTE, Note

# What tells how the service is. A 503 of theirs is no refusal.
PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
OTHER = "other"
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LEFT = 499


class Observed:
    """`routes` are the paths that the API has; every other one is counted as `other`.

    Layers within write into the request's `Note` how it was answered.
    """

    def __init__(self, app: ASGIApp, routes: AbstractSet[str], access_log: bool) -> None:
        self.app = app
        self.routes = routes
        self.access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        note = scope[NOTE] = Note()
        path = scope["path"]
        route = note.route = path if path in self.routes else OTHER
        trace_parent.current.set(scope["headers"])
        began = perf_counter()
        try:
            await self.app(scope, receive, send)
        finally:
            took = perf_counter() - began
            status = LEFT if note.left else note.status
            measures.REQUESTS.observe(took, route, "left" if note.left else _class_of(status))
            if note.code and not note.left and path not in PROBES:
                measures.refused(note.code, status)
            if self.access_log:
                method = scope["method"]
                log_access(method if method in _METHODS else OTHER, route, status, took)


def _class_of(status: int) -> str:
    place = status // 100 - 1
    return _CLASSES[place] if 0 <= place < len(_CLASSES) else OTHER
