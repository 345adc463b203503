"""What routes of administrative acts share: who may call, the body, work off the event loop, and one error shape."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import bentoml
import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from feature_repo.configuration import Problem
from pipelines.access import AccessKey
from pipelines.console import UserError
from pipelines.identity.desk import Desk
from pipelines.identity.manual import UnknownIdentifier
from pipelines.privacy import EncryptionKeyMissing
from serving.api import request_id
from serving.api.authorisation import Access
from serving.api.body import parse_body
from serving.api.error_log import log_failure
from serving.api.errors import ApiError, ErrorDetail, internal_error
from serving.api.ingest.body import read_bytes
from serving.api.requests import RequestBody
from serving.ingestion import Ingestion

MAXIMUM_BYTES = 64 * 1024
Body = TypeVar("Body", bound=RequestBody)
Act = Callable[[Desk, Any, AccessKey], dict[str, Any]]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class HasActs(Protocol):
    access: Access
    ingestion: Ingestion


def handler(
    body: type[RequestBody], scopes: tuple[str, ...], act: Act, response: type[BaseModel] | None = None
) -> Handler:
    """A route that does `act` for a key with one of `scopes`, and answers what it gives, as a `response`."""

    async def handle(request: Request) -> Response:
        service: HasActs = bentoml.get_current_service()
        try:
            key = authorised(service.access, request, scopes)
            content = parse_body(await read_bytes(request, MAXIMUM_BYTES), body)
            done = await service.ingestion.at_desk(lambda desk: _told(act, desk, content, key))
            return Response(_answer(done, response), media_type="application/json")
        except ApiError as error:
            told = error
        except Exception as error:  # noqa: BLE001 (its text may name a person)
            log_failure(error)
            told = internal_error()
        headers = {"Retry-After": str(service.ingestion.limits.retry_after_seconds)} if told.status == 503 else {}
        body_bytes = told.body(request_id.current.get())
        return Response(body_bytes, told.status, {**told.headers, **headers}, media_type="application/json")

    return handle


def _answer(done: dict[str, Any], response: type[BaseModel] | None) -> bytes:
    """JSON. What is none of the answers that the page promises is a fault of ours: raises ValidationError."""
    content = {"request_id": request_id.current.get(), **done}
    return (
        msgspec.json.encode(content)
        if response is None
        else response.model_validate(content).model_dump_json().encode()
    )


def authorised(access: Access, request: Request, scopes: tuple[str, ...]) -> AccessKey:
    """The key of a request. Raises ApiError: 401, or 403 for one with none of `scopes`."""
    for scope in scopes[:-1]:
        try:
            return access.authorise(request, scope)
        except ApiError as error:
            if error.status != 403:
                raise
    return access.authorise(request, scopes[-1])


def _told(act: Act, desk: Desk, content: RequestBody, key: AccessKey) -> dict[str, Any]:
    """Raises ApiError for what the caller can mend."""
    try:
        return act(desk, content, key)
    except EncryptionKeyMissing as error:
        raise ApiError(503, "encryption_key_missing", "personal data cannot be read now", _details(error)) from None
    except UnknownIdentifier as error:
        raise ApiError(404, "unknown_identifier", error.message, _details(error)) from None
    except UserError as error:
        raise ApiError(400, "invalid_request", error.message, _details(error)) from None


def _details(error: UserError) -> list[ErrorDetail]:
    return [detail(problem) for problem in error.problems]


def detail(problem: Problem) -> ErrorDetail:
    return ErrorDetail(field=problem.field, expected=problem.expected, got=problem.got, hint=problem.hint)
