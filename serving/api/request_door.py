"""What a request must be before BentoML sees it: small enough, JSON, and of the shape of its route."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.body import invalid_json, parse_body
from serving.api.error_log import log_failure
from serving.api.error_shape import send_error
from serving.api.errors import ApiError, ErrorDetail, internal_error, plain
from serving.api.requests import VALIDATED, RequestBody
from serving.observing.note import client_left

JSON = "application/json"


class RequestDoor:
    """ASGI layer inside BentoML's time-out: reads and checks the bodies of `bodies`, by path.

    `authorise` comes first: who may not ask has no body read. It raises `ApiError`.
    A request that passes carries its checked body in its scope. `ApiError` and any other exception
    of what lies behind are answered here, because BentoML's time-out would wait on them in vain.
    """

    def __init__(
        self,
        app: ASGIApp,
        bodies: Mapping[str, type[RequestBody]],
        maximum_bytes: int,
        authorise: Callable[[HTTPConnection], None],
    ) -> None:
        self.app = app
        self.bodies = bodies
        self.maximum_bytes = maximum_bytes
        self.authorise = authorise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            body = self.bodies.get(scope["path"]) if scope["method"] == "POST" else None
            if body is not None:
                self.authorise(HTTPConnection(scope))
                scope[VALIDATED] = parse_body(await self._read(scope, receive), body)
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            client_left(scope)
            return
        except Exception as error:
            if started:
                raise
            await _answer(error, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """All bytes of the body.

        Raises:
            ApiError: 413 or 415; a body that is too large is not read further than the limit.
            ClientDisconnect: the client went away.
        """
        headers = Headers(scope=scope)
        _check_type(headers)
        announced = headers.get("content-length", "0")
        if announced.isdecimal() and (len(announced) > 18 or int(announced) > self.maximum_bytes):
            raise self._too_large(f"{plain(announced)} bytes")
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > self.maximum_bytes:
                raise self._too_large("more")
        if size == 0:
            raise invalid_json("an empty body")
        return b"".join(chunks)

    def _too_large(self, got: str) -> ApiError:
        hint = "split the request; the limit is `maximum_body_bytes` of the profile"
        return ApiError(
            413,
            "body_too_large",
            f"the body is larger than {self.maximum_bytes} bytes",
            [ErrorDetail(field="body", expected=f"at most {self.maximum_bytes} bytes", got=got, hint=hint)],
        )


def _check_type(headers: Headers) -> None:
    details = []
    kind, _, parameters = headers.get("content-type", JSON).partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != JSON or charset not in ("", "utf-8", "utf8"):
        hint = f"send the header `Content-Type: {JSON}`"
        details.append(ErrorDetail(field="Content-Type", expected=JSON, got="another type", hint=hint))
    encoding = headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        hint = "send the body uncompressed"
        details.append(ErrorDetail(field="Content-Encoding", expected="identity", got="another encoding", hint=hint))
    if details:
        raise ApiError(415, "unsupported_media_type", "the body must be plain JSON", details)


async def _answer(error: Exception, send: Send) -> None:
    if not isinstance(error, ApiError):
        log_failure(error)
        error = internal_error()
    # A body that was not read to its end cannot be followed by another request on this connection.
    closing = [(b"connection", b"close")] if error.status in (401, 403, 413) else []
    own = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send_error(error, send, [*own, *closing])
