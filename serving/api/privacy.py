"""The routes of a data subject's rights, for keys with the scope `admin`.

`POST /v1/privacy/access` and `POST /v1/privacy/erase`.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import bentoml
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from feature_repo.state.storage import StateUnavailable
from pipelines.console import UserError
from pipelines.events.exclusion import WorkspaceBusy
from pipelines.events.journal import JournalUnavailable
from pipelines.privacy import EncryptionKeyMissing
from pipelines.settings import Settings
from serving.api import request_id
from serving.api.authorisation import authorise
from serving.api.body import parse_body
from serving.api.error_log import log_failure
from serving.api.errors import ApiError, ErrorDetail, internal_error, plain
from serving.api.identifier import either
from serving.api.ingest.body import read_bytes
from serving.api.privacy_responses import AccessResponse, EraseResponse
from serving.api.requests import MAXIMUM_ID_LENGTH, CustomerId, RequestBody

ACCESS_PATH, ERASE_PATH = "/v1/privacy/access", "/v1/privacy/erase"
_MAXIMUM_BYTES = 10_000
_REASON_LENGTH = 500
# Of the time that an answer may take until it begins.
_PATIENCE = 0.5
_AN_ID = f"text of 1 to {MAXIMUM_ID_LENGTH} characters, none of them a control character"

Answer = dict[str, Any]


class PrivacyRequest(RequestBody):
    """Whom it is about: `customer_id`, or an identifier as `kind` and `value`; and why."""

    model_config = ConfigDict(
        json_schema_extra={
            **either(("customer_id",), ("kind", "value")),
            "example": {"kind": "email", "value": "somchai@example.com", "reason": "case 4711"},
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": f"{_AN_ID}; or kind and value in its place",
        "kind": "a kind of identifier, such as email",
        "value": _AN_ID,
        "reason": f"text of 1 to {_REASON_LENGTH} characters that names nobody; it goes into the audit log",
    }

    customer_id: CustomerId | None = Field(default=None, description="any user id of theirs")
    kind: CustomerId | None = Field(default=None, description="what `value` is")
    value: CustomerId | None = Field(default=None, description="an identifier of that kind, in the clear")
    reason: str = Field(min_length=1, max_length=_REASON_LENGTH, description="why, for the audit log")

    def whom(self) -> tuple[str, str | None]:
        """The identifier and its kind. Raises ApiError (400) unless there is exactly one."""
        if self.customer_id is not None and self.kind is None and self.value is None:
            return self.customer_id, None
        if self.customer_id is None and self.kind is not None and self.value is not None:
            return self.value, self.kind
        given = [name for name in ("customer_id", "kind", "value") if getattr(self, name) is not None]
        detail = ErrorDetail(
            field="customer_id",
            expected="customer_id alone, or kind and value",
            got=" and ".join(given) or "nothing",
        )
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail])


class HasSettings(Protocol):
    settings: Settings


async def _access(request: Request) -> Response:
    return await _answered(request, _report)


async def _erase(request: Request) -> Response:
    return await _answered(request, _erasure)


def _report(settings: Settings, identifier: str, kind: str | None, reason: str, actor: str) -> Answer:
    # Engines that take long to import: for the first such call, not for the start of the service.
    from pipelines.privacy.report import access_report

    return asdict(access_report(settings, identifier, kind, actor=actor, reason=reason))


def _erasure(settings: Settings, identifier: str, kind: str | None, reason: str, actor: str) -> Answer:
    from pipelines.privacy.erase import erase

    return asdict(erase(settings, identifier, kind, reason=reason, actor=actor))


async def _answered(request: Request, act: Callable[[Settings, str, str | None, str, str], Answer]) -> Response:
    try:
        key = authorise(request, "admin")
        asked = parse_body(await read_bytes(request, _MAXIMUM_BYTES), PrivacyRequest)
        identifier, kind = asked.whom()
        service: HasSettings = bentoml.get_current_service()
        settings = service.settings
        work = asyncio.ensure_future(
            asyncio.to_thread(_told, act, settings, identifier, kind, asked.reason, f"key:{key.key_id}")
        )
        done, _ = await asyncio.wait({work}, timeout=_PATIENCE * settings.profile.service.timeout_seconds)
        if not done:
            # An answer that has begun is not cut off by the server's time-out, and JSON may begin with blanks.
            return StreamingResponse(_slowly(work, request_id.current.get()), media_type="application/json")
        return Response(_body(work.result(), request_id.current.get()), media_type="application/json")
    except ApiError as error:
        told = error
    except Exception as error:  # noqa: BLE001 (its text may hold personal data)
        log_failure(error)
        told = internal_error()
    headers = {**told.headers, **({"Retry-After": "2"} if told.status == 503 else {})}
    return Response(told.body(request_id.current.get()), told.status, headers, media_type="application/json")


async def _slowly(work: asyncio.Future[Answer], identifier: str) -> AsyncIterator[bytes]:
    """Blanks until it is done. A failure breaks the answer off before its end: whoever asked must ask again."""
    while not (await asyncio.wait({work}, timeout=1.0))[0]:
        yield b" "
    yield _body(work.result(), identifier)


def _body(answer: Answer, identifier: str) -> bytes:
    return json.dumps({"request_id": identifier, **answer}, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _told(act: Callable[[Settings, str, str | None, str, str], Answer], settings: Settings, *arguments: Any) -> Answer:
    """What `act` gives; what it raises in the words of the API."""
    try:
        return act(settings, *arguments)
    except (
        JournalUnavailable, StateUnavailable, WorkspaceBusy, EncryptionKeyMissing, sqlite3.Error, OSError
    ) as error:  # fmt: skip
        log_failure(error)
        message = "this cannot be done now; what was begun goes on with the next call"
        raise ApiError(503, "privacy_unavailable", message, [_detail_of(error)]) from None
    except UserError as error:
        from pipelines.privacy.person import UnknownCustomer

        details = [
            ErrorDetail(
                field=p.field,
                expected=p.expected,
                got=plain(p.got) if p.field == "kind" else p.got,
                hint=p.hint.replace("--kind", "`kind`"),
            )
            for p in error.problems
        ]
        unknown = isinstance(error, UnknownCustomer)
        status, code = (404, "unknown_customer") if unknown else (400, "invalid_request")
        raise ApiError(status, code, error.message, details) from None


def _detail_of(error: Exception) -> ErrorDetail:
    hint = "send the same call again after `Retry-After` seconds"
    return ErrorDetail(field="request", expected="a workspace that can be used", got=type(error).__name__, hint=hint)


_Handler = Callable[[Request], Coroutine[Any, Any, Response]]
_HANDLERS: Mapping[str, _Handler] = {ACCESS_PATH: _access, ERASE_PATH: _erase}
BODIES = {
    ACCESS_PATH: (PrivacyRequest, ("admin",), _report),
    ERASE_PATH: (PrivacyRequest, ("admin",), _erasure),
}
ANSWERS: dict[str, type[BaseModel]] = {ACCESS_PATH: AccessResponse, ERASE_PATH: EraseResponse}
ROUTES = [Route(path, handler, methods=["POST"]) for path, handler in _HANDLERS.items()]
