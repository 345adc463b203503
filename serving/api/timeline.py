"""`POST /v1/timeline`: every event of a customer, the newest first, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.routing import Route

from pipelines.access import AccessKey
from pipelines.twin.timeline import MOST, Place, decode, encode, told
from serving.api import request_id
from serving.api.answers import resolved
from serving.api.errors import ApiError, ErrorDetail
from serving.api.identifier import AN_IDENTIFIER, IdentifierBody, either
from serving.api.reads import HasTwins, check_sees, form_of, handler, sees_persons
from serving.api.requests import CustomerId, RequestBody
from serving.api.timeline_responses import TimelineItem, TimelineResponse

_CURSOR = "the `before` of the page that came last"
CursorText = Annotated[str, StringConstraints(min_length=1, max_length=100)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TimelineRequest(RequestBody):
    """Whose events, from which place on into the past, how many, and which, by their names."""

    model_config = ConfigDict(
        json_schema_extra={
            **either(("customer_id",), ("identifier",)),
            "example": {"customer_id": "17850", "limit": 50},
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": "the id of a customer, or identifier in its place",
        **AN_IDENTIFIER,
        "before": _CURSOR,
        "limit": f"a whole number from 1 to {MOST}",
        "events": "a list of at least one name of an event",
        "events.item": "text of 1 to 200 characters",
    }

    customer_id: CustomerId | None = None
    identifier: IdentifierBody | None = None
    before: CursorText | None = Field(default=None, description=f"{_CURSOR}; left out: from the newest on")
    limit: int = Field(default=50, ge=1, le=MOST)
    events: list[EventName] | None = Field(default=None, min_length=1, max_length=100)


async def _timeline(service: HasTwins, body: Any, key: AccessKey) -> BaseModel:
    request: TimelineRequest = body
    twins = service.twins
    check_sees(twins.settings, key, None)
    before = None if request.before is None else _place(request.before)
    mask = twins.mask(sees_persons(key, None))

    def read() -> tuple[str, list[dict[str, Any]], Place | None]:
        # What was told is a record, not something derived: who denied profiling has it all the same.
        customer = twins.customer(request.customer_id, form_of(request.identifier), derived=False)
        page = twins.timeline(customer, before, request.limit, request.events)
        return customer, [told(event, mask) for event in page.events], page.before

    customer, events, rest = await twins.threads.run(read)
    asked_for = request.customer_id or customer
    return TimelineResponse(
        request_id=request_id.current.get(),
        customer_id=asked_for,
        resolved_customer_id=resolved(asked_for, customer),
        events=[TimelineItem(**event) for event in events],
        before=None if rest is None else encode(rest),
    )


def _place(text: str) -> Place:
    """Raises ApiError (400)."""
    place = decode(text)
    if place is None:
        hint = "leave it out to begin with the newest"
        detail = ErrorDetail(field="before", expected=_CURSOR, got="another text", hint=hint)
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail])
    return place


# path: body, scopes (one of them is enough), what it reads.
BODIES = {"/v1/timeline": (TimelineRequest, ("read",), _timeline)}
ANSWERS = {"/v1/timeline": TimelineResponse}
ROUTES = [Route(path, handler(*parts), methods=["POST"]) for path, parts in BODIES.items()]
