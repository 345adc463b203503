"""What routes that read of one customer share: who may call, the body, the answer, and one error shape."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

import bentoml
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from feature_repo.state.storage import StatesLost, StateUnavailable
from pipelines.access import AccessKey
from pipelines.identity.vocabulary import Form
from pipelines.settings import Settings
from pipelines.twin.rules import Section, View
from serving.api import request_id
from serving.api.acts import authorised
from serving.api.authorisation import Access
from serving.api.body import parse_body
from serving.api.error_log import log_failure
from serving.api.errors import RETRY_AFTER_SECONDS, ApiError, ErrorDetail, internal_error, state_unavailable
from serving.api.identifier import IdentifierBody
from serving.api.ingest.body import read_bytes
from serving.api.requests import RequestBody
from serving.connection import Connection
from serving.served_log import ServedLog
from serving.twin.desk import TwinDesk

MAXIMUM_BYTES = 64 * 1024


class HasTwins(Protocol):
    access: Access
    connection: Connection
    served: ServedLog
    twins: TwinDesk


Read = Callable[[HasTwins, Any, AccessKey], Awaitable[BaseModel]]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def handler(body: type[RequestBody], scopes: tuple[str, ...], read: Read) -> Handler:
    """A route that reads for a key with one of `scopes`, and answers what `read` gives."""

    async def handle(request: Request) -> Response:
        service: HasTwins = bentoml.get_current_service()
        try:
            key = authorised(service.access, request, scopes)
            content = parse_body(await read_bytes(request, MAXIMUM_BYTES), body)
            answer = await read(service, content, key)
            # A section that is not shown is not there, which is something else than empty.
            return Response(answer.model_dump_json(exclude_unset=True), media_type="application/json")
        except ApiError as error:
            told = error
        except StateUnavailable as error:
            told = state_unavailable(isinstance(error, StatesLost))
        except Exception as error:  # noqa: BLE001 (its text may name a person)
            log_failure(error)
            told = internal_error()
        headers = {"Retry-After": RETRY_AFTER_SECONDS} if told.status == 503 else {}
        body_bytes = told.body(request_id.current.get())
        return Response(body_bytes, told.status, {**headers, **told.headers}, media_type="application/json")

    return handle


def form_of(identifier: IdentifierBody | None) -> Form | None:
    return None if identifier is None else Form(identifier.kind, identifier.value)


def view_for(twins: TwinDesk, key: AccessKey, wanted: str | None) -> View | None:
    """The view that a call is answered through; None for all there is.

    Raises:
        ApiError: 400 where there is no such view, 403 for one that the key may not see, or none of whose views is
            declared any more.
    """
    views = twins.settings.twin.views
    if wanted is not None and wanted not in views:
        known = ", ".join(views) or "none"
        detail = ErrorDetail(field="view", expected=f"one of: {known}", got="another name")
        raise ApiError(400, "unknown_view", "there is no such view", [detail])
    if not key.views:
        return None if wanted is None else views[wanted]
    mine = [name for name in key.views if name in views]
    if not mine or (wanted is not None and wanted not in mine):
        raise _not_seen(
            "view", key, f"one of its views: {', '.join(mine) or 'none'}", wanted or "none that is declared"
        )
    return views[wanted or mine[0]]


def check_sees(settings: Settings, key: AccessKey, section: Section | None) -> None:
    """Raises ApiError (403) for a key limited to views, none of which has the section; None: none can have it."""
    views = settings.twin.views
    if key.views and not any(section in views[name].sections for name in key.views if name in views):
        expected = "a key that is not limited to views" + (f", or sees {section} in one" if section else "")
        raise _not_seen("Authorization", key, expected, f"one limited to {', '.join(key.views)}")


def _not_seen(field: str, key: AccessKey, expected: str, got: str) -> ApiError:
    hint = f"key {key.key_id} sees no more; `twin keys create --scopes read --views` makes another"
    detail = ErrorDetail(field=field, expected=expected, got=got, hint=hint)
    return ApiError(403, "forbidden", "this key does not see that", [detail])


def sees_persons(key: AccessKey, view: View | None) -> bool:
    """Whether what names a person is shown in plain: to administrators, in a view that is made for it."""
    return "admin" in key.scopes and (view.personal if view is not None else not key.views)
