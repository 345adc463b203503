"""Who is let in: so many requests at a time, the others are told at once to come again."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import ApiError, ErrorDetail
from serving.connections import Connections
from serving.draining import Drain
from serving.observing.measures import gauge
from serving.observing.observed import PROBES
from serving.observing.tally import Gauge


class Admission:
    """ASGI layer inside of `ErrorShape`, which answers what it raises.

    At most `most` requests are under way in this process. A process that drains says so at `/readyz`, and answers
    everything else as ever, each answer the last one of its connection.
    """

    def __init__(
        self, app: ASGIApp, most: int, retry_after_seconds: int, drain: Drain, connections: Connections
    ) -> None:
        self.app = app
        self.most = most
        self.headers = {"Retry-After": str(retry_after_seconds)}
        self.drain = drain
        self.connections = connections
        self.running = 0
        gauge(Gauge("twin_requests_in_flight", "Requests that are being answered.", lambda: self.running))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.drain.begun:
            send = _closing(send)
        # What tells how the service is has to answer most of all where it is overloaded.
        if scope["path"] in PROBES:
            if self.drain.begun and scope["path"] == "/readyz":
                raise draining()
            await self.app(scope, receive, send)
            return
        if self.connections.are_full():
            raise self._too_many("connections", self.connections.most, {"Connection": "close"})
        if self.running >= self.most:
            raise self._too_many("requests", self.most)
        self.running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.running -= 1

    def _too_many(self, what: str, most: int, headers: dict[str, str] | None = None) -> ApiError:
        hint = "send the same call again after `Retry-After` seconds"
        detail = ErrorDetail(
            field="request", expected=f"at most {most} {what} at a time", got="one too many", hint=hint
        )
        message = f"the server is at its limit of {what} at a time"
        return ApiError(429, "too_many_requests", message, [detail], self.headers | (headers or {}))


def draining() -> ApiError:
    detail = ErrorDetail(
        field="service", expected="a service that goes on", got="one that ends", hint="ask another one of the workspace"
    )
    message = "the service ends; what it is asked until then is answered"
    return ApiError(503, "draining", message, [detail], {"Connection": "close"})


def _closing(send: Send) -> Send:
    async def last(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
        await send(message)

    return last
