"""Bounds on connections, which the server below has none of: how many, how long a head takes, how large it is, and how
long a client may leave an answer unread.

The server counts a client only once its request's head is complete, and lets it wait for that as long as it likes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.api import request_id
from serving.api.errors import ApiError, ErrorDetail
from serving.observing.measures import CONNECTIONS_CLOSED, gauge
from serving.observing.tally import Gauge

logger = logging.getLogger("bentoml.twin")

_LOOK_EVERY_SECONDS = 1.0
# Above what a request is refused for with a 431, in the one shape.
MOST_HEAD_BYTES = 131_072
# So much more of a refused head is read and dropped: a client that still sends would lose the answer otherwise.
_MOST_DROPPED_BYTES = 8 * 1024 * 1024
# Connections above the limit that are still answered: with a 429, or how the service is.
RESERVE = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """`client_seconds` is how long a client may take for the head of a request, or to read on."""

    connections: int
    client_seconds: float


class Connections:
    """The open connections of this process, once it has a server; before, and without one, there is no limit."""

    def __init__(self) -> None:
        self.most = 0
        self._open: set[Any] = set()
        self._looking: asyncio.Task[None] | None = None

    def are_full(self) -> bool:
        """Whether there are more than the limit."""
        return len(self._open) > self.most > 0

    def bound(self, limits: Limits, graceful_seconds: float) -> None:
        """Bound the server of this worker from now on; it gives requests so long to end once it closes its sockets.

        To be called on the loop before the server listens. Where another server runs, this says so in the log.
        """
        server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
        if not isinstance(server, uvicorn.Server):
            return
        config: Config = server.config
        if config.http_protocol_class is not HttpToolsProtocol:
            logger.warning("connections are not bounded: the server speaks HTTP by another library than httptools")
            return
        config.http_protocol_class = partial(Bounded, limits)  # type: ignore[assignment]
        config.timeout_graceful_shutdown = max(1, round(graceful_seconds))
        self._open, self.most = server.server_state.connections, limits.connections
        gauge(Gauge("twin_connections_open", "Connections of clients.", lambda: len(self._open)))
        self._looking = asyncio.get_running_loop().create_task(self._look(limits))

    async def _look(self, limits: Limits) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in [found for found in self._open if isinstance(found, Bounded)]:
                connection.check(now)


class Bounded(HttpToolsProtocol):
    """One connection."""

    def __init__(self, limits: Limits, config: Any, server_state: Any, app_state: Any, _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = limits
        # Since when something is awaited; None while nothing is.
        self.head_since: float | None = None
        self.unread_since: float | None = None
        # Of a request that was answered before all of its body came.
        self.rest_since: float | None = None
        self.is_in_body = False
        self.head_bytes = 0
        self.is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_since = self.loop.time()
        if len(self.connections) > self.limits.connections + RESERVE:
            CONNECTIONS_CLOSED.add("too_many")
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            self._drop(data)
            return
        if self.cycle is None or self.cycle.response_complete:
            self._await_more()
        super().data_received(data)
        if self.head_since is not None:
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD_BYTES:
                self._refuse("large_head", _large_head())

    def on_headers_complete(self) -> None:
        self.head_since, self.head_bytes, self.is_in_body = None, 0, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.rest_since, self.is_in_body = None, False
        super().on_message_complete()

    def pause_writing(self) -> None:
        self.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.unread_since = None
        super().resume_writing()

    def _await_more(self) -> None:
        """Nothing is being answered: what comes is the next head, or the rest of a body."""
        if self.is_in_body:
            self.rest_since = self.rest_since or self.loop.time()
        else:
            self.head_since = self.head_since or self.loop.time()

    def check(self, now: float) -> None:
        """Cut off a client that has been awaited for too long; `now` is the loop's time."""
        most = self.limits.client_seconds
        if self.head_since is not None and now - self.head_since > most:
            if self.is_refused:
                self.transport.abort()
            elif not self.head_bytes:
                # Opened ahead by a client, who would take what is said now for the answer to its next request.
                CONNECTIONS_CLOSED.add("unused")
                self.transport.close()
            else:
                self._refuse("slow_head", _slow_head(most))
        elif self.unread_since is not None and now - self.unread_since > most:
            CONNECTIONS_CLOSED.add("unread_answer")
            self.transport.abort()
        elif self.rest_since is not None and now - self.rest_since > most:
            CONNECTIONS_CLOSED.add("slow_body")
            self.transport.abort()

    def _refuse(self, reason: str, error: ApiError) -> None:
        """Answer and send no more; the connection ends with the client, or the next time its time is up."""
        if self.transport.is_closing():
            return
        CONNECTIONS_CLOSED.add(reason)
        self.is_refused, self.head_since, self.head_bytes = True, self.loop.time(), 0
        identifier = request_id.choose(())
        body = error.body(identifier)
        head = f"HTTP/1.1 {error.status} {error.code}\r\nx-request-id: {identifier}\r\nconnection: close\r\n"
        kind = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self.transport.write((head + kind).encode() + body)
        self.transport.write_eof()

    def _drop(self, data: bytes) -> None:
        self.head_bytes += len(data)
        if self.head_bytes > _MOST_DROPPED_BYTES:
            self.transport.abort()


def _slow_head(seconds: float) -> ApiError:
    detail = ErrorDetail(field="headers", expected=f"all of them within {seconds:g} seconds", got="a part of them")
    return ApiError(408, "request_timeout", "the head of the request took too long", [detail])


def _large_head() -> ApiError:
    detail = ErrorDetail(field="headers", expected=f"at most {MOST_HEAD_BYTES} bytes", got="more")
    return ApiError(431, "headers_too_large", "the request's headers are too large", [detail])


# Of this process, which has one server.
CONNECTIONS = Connections()
