"""The routes that take events.

The Segment protocol has `POST /v1/{identify,track,page,screen,group,alias,batch}`, CloudEvents `POST /v1/events`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import bentoml
import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from feature_repo.configuration import Problem
from serving.api import request_id
from serving.api.authorisation import key_of
from serving.api.errors import ApiError, ErrorDetail
from serving.api.ingest.bodies import CALLS, CloudEvent
from serving.api.ingest.body import open_batch, open_single, read_bytes, write_key_of
from serving.api.ingest.cloudevents import CLOUD_EVENT
from serving.api.ingest.cloudevents_http import open_cloud_events
from serving.api.ingest.segment import KINDS
from serving.api.ingest_responses import IngestResponse
from serving.ingestion import Ingested, Ingestion

MOST_REJECTED = 100
CLOUD_EVENTS_PATH = "/v1/events"
PATHS = tuple(f"/v1/{kind}" for kind in (*KINDS, "batch"))

_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class HasIngestion(Protocol):
    ingestion: Ingestion


def _handler(kind: str | None) -> _Handler:
    async def handle(request: Request) -> Response:
        service: HasIngestion = bentoml.get_current_service()
        answer = _cloud_events if kind == CLOUD_EVENT else _segment
        try:
            return await answer(service.ingestion, request, kind)
        except ApiError as error:
            return _refusal(error, service.ingestion.limits.retry_after_seconds)

    return handle


async def _segment(ingestion: Ingestion, request: Request, kind: str | None) -> Response:
    limits = ingestion.limits
    body = await read_bytes(request, limits.maximum_body_bytes)
    envelope = open_single(body) if kind else open_batch(body, limits.maximum_events)
    done = await ingestion.ingest(envelope, write_key_of(request.headers, envelope), kind)
    return _answer(done, kind is not None)


async def _cloud_events(ingestion: Ingestion, request: Request, kind: str | None) -> Response:
    limits = ingestion.limits
    body = await read_bytes(request, limits.maximum_body_bytes)
    envelope, single = open_cloud_events(request.headers, body, limits.maximum_events)
    return _answer(await ingestion.ingest(envelope, key_of(request.headers), kind), single)


def _answer(done: Ingested, single: bool) -> Response:
    """What became of the items. Raises ApiError (400) for one alone that was rejected."""
    if single and done.rejected:
        problems = done.rejected[0].problems
        count = f"{len(problems)} mistake{'s' if len(problems) != 1 else ''}"
        raise ApiError(400, "invalid_event", f"{count} in the event", map(_detail, problems))
    return Response(msgspec.json.encode(_told(done)), media_type="application/json")


def _told(done: Ingested) -> dict[str, Any]:
    told = [
        {"index": rejected.index, **_detail(problem).model_dump()}
        for rejected in done.rejected
        for problem in rejected.problems
    ]
    return {
        "success": True,
        "request_id": request_id.current.get(),
        "accepted": done.accepted,
        "duplicates": done.duplicates,
        "rejected_events": len(done.rejected),
        "rejected": told[:MOST_REJECTED],
        "unplanned": done.unplanned,
        "clamped": done.clamped,
    }


def _detail(problem: Problem) -> ErrorDetail:
    return ErrorDetail(field=problem.field, expected=problem.expected, got=problem.got, hint=problem.hint)


def _refusal(error: ApiError, retry_after_seconds: int) -> Response:
    headers = dict(error.headers)
    if error.status == 503:
        headers["Retry-After"] = str(retry_after_seconds)
    if error.code == "body_too_large":
        # A body that was not read to its end cannot be followed by another request on this connection.
        headers["Connection"] = "close"
    return Response(error.body(request_id.current.get()), error.status, headers, media_type="application/json")


# path: what a body looks like, scope, and nothing to call: items are checked one by one.
BODIES: dict[str, tuple[type[BaseModel], tuple[str, ...], None]] = {
    **{path: (CALLS[path.rpartition("/")[2]], ("ingest",), None) for path in PATHS},
    CLOUD_EVENTS_PATH: (CloudEvent, ("ingest",), None),
}
ANSWERS: dict[str, type[BaseModel]] = dict.fromkeys(BODIES, IngestResponse)
ROUTES = [
    *(Route(f"/v1/{kind}", _handler(kind), methods=["POST"]) for kind in KINDS),
    Route("/v1/batch", _handler(None), methods=["POST"]),
    Route(CLOUD_EVENTS_PATH, _handler(CLOUD_EVENT), methods=["POST"]),
]
