"""The outermost layer: a request id for every request, and one shape for every error, whoever made it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api import request_id
from serving.api.error_log import log_failure
from serving.api.errors import ApiError, ErrorDetail, internal_error, of_status
from serving.observing.note import NOTE, Note

# Names and values together. The server below reads any number of them.
_MOST_HEADER_BYTES = 65_536
_KEPT_HEADERS = (b"allow", b"connection", b"retry-after", b"server", b"www-authenticate")


async def send_error(error: ApiError, send: Send, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Answer `error` in the one shape, with `headers`."""
    body = error.body(request_id.current.get())
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": error.status, "headers": [*headers, *own]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class ErrorShape:
    """ASGI layer around the whole server.

    Answers below 400 pass untouched but for `X-Request-Id`. The others are held back until they are
    complete; those that are not in the one shape yet are put into it, by their status. An exception
    becomes a 500; its kind and place go to the log.

    `paths` are what the server answers to, for the hint of a 404.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str] = ()) -> None:
        self.app = app
        self.paths = tuple(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identifier = request_id.choose(scope["headers"])
        request_id.current.set(identifier)
        reply = _Reply((request_id.HEADER, identifier.encode()), send, self.paths, scope.get(NOTE) or Note())
        try:
            _check_size(scope["headers"])
            await self.app(scope, receive, reply.send)
        except ApiError as error:
            await reply.refuse(error)
        except Exception as error:  # noqa: BLE001 (the one that answers for all)
            log_failure(error)
        await reply.finish()


class _Reply:
    """One answer on its way out."""

    def __init__(self, mark: tuple[bytes, bytes], send: Send, paths: tuple[str, ...], note: Note) -> None:
        self.mark = mark
        self.paths = paths
        self.note = note
        self.started = False
        self._send = send
        self._held: Message | None = None
        self._body: list[bytes] = []

    async def send(self, message: Message) -> None:
        if self._held is not None:
            await self._hold(self._held, message)
        elif message["type"] != "http.response.start":
            await self._send(message)
        elif message["status"] < 400:
            self.started = True
            self.note.status = message["status"]
            message["headers"] = [*message.get("headers", ()), self.mark]
            await self._send(message)
        else:
            self._held = message

    async def refuse(self, error: ApiError) -> None:
        """Answer `error`, unless an answer has begun."""
        if not self.started:
            await self._answer(error)

    async def finish(self) -> None:
        """Answer 500 where the app has answered nothing, or only half of an error."""
        await self.refuse(internal_error())

    async def _hold(self, start: Message, message: Message) -> None:
        if self.started:
            return
        self._body.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(self._body)
        code = _code_in_shape(body)
        if code is not None:
            self.started = True
            self.note.status, self.note.code = start["status"], code
            await self._send({**start, "headers": [*start["headers"], self.mark]})
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
        else:
            await self._answer(of_status(start["status"], self.paths))

    async def _answer(self, error: ApiError) -> None:
        self.started = True
        self.note.status, self.note.code = error.status, error.code
        held = self._held["headers"] if self._held is not None else ()
        kept = [(name, value) for name, value in held if name.lower() in _KEPT_HEADERS]
        own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        await send_error(error, self._send, [*kept, *own, self.mark])


def _check_size(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises ApiError (431)."""
    if sum(len(name) + len(value) for name, value in headers) > _MOST_HEADER_BYTES:
        detail = ErrorDetail(field="headers", expected=f"at most {_MOST_HEADER_BYTES} bytes", got="more")
        raise ApiError(431, "headers_too_large", "the request's headers are too large", [detail])


def _code_in_shape(body: bytes) -> str | None:
    """The error's code; None where the body is not in the one shape."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return None
    error = content.get("error") if isinstance(content, dict) else None
    in_shape = isinstance(error, dict) and {"code", "message", "details", "request_id"} <= error.keys()
    return str(error["code"]) if isinstance(error, dict) and in_shape else None
