"""`POST /v1/timeline`: every event of a customer, the newest first, page by page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from starlette.routing import Route

from pipelines.access import AccessKey
from pipelines.twin.timeline import MOST, Place, decode, encode, told
from serving.api import request_id
from serving.api.answers import resolved
from serving.api.errors import ApiError, ErrorDetail
from serving.api.identifier import AN_IDENTIFIER, IdentifierBody
from serving.api.reads import HasTwins, check_sees, form_of, handler, sees_persons
from serving.api.requests import CustomerId, RequestBody
from serving.api.responses import ResolvedCustomer

_CURSOR = "the `before` of the page that came last"
CursorText = Annotated[str, StringConstraints(min_length=1, max_length=100)]
EventName = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TimelineRequest(RequestBody):
    """Whose events, from which place on into the past, how many, and which, by their names."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "17850", "limit": 50}})
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


class TimelineItem(BaseModel):
    """One event as it is stored. What names a person is masked."""

    model_config = ConfigDict(frozen=True)

    event: str
    event_time: str = Field(description="when it happened")
    arrived_at: str = Field(description="when it was there")
    channel: str
    source: str
    event_id: str
    position: int = Field(description="in the log")
    value: int | None = Field(description="in minor units of `currency`")
    currency: str | None
    counts: bool = Field(description="whether features and the twin read it")
    identifiers: dict[str, JsonValue] = Field(description="those it came with, by kind")
    properties: dict[str, JsonValue] = Field(description="of a decision without its `record`")


_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "customer_id": "17850",
    "events": [
        {
            "event": "Order Completed",
            "event_time": "2026-03-04T04:58:00.000000Z",
            "arrived_at": "2026-03-04T04:58:00.120000Z",
            "channel": "web",
            "source": "web",
            "event_id": "m-7732",
            "position": 81_443,
            "value": 125_000,
            "currency": "THB",
            "counts": True,
            "identifiers": {"user_id": "17850", "email": "s•••@e•••"},
            "properties": {"order_id": "o-118"},
        }
    ],
    "before": "MTc3MjYwMDI4MDAwMDAwMC44MTQ0Mw",
}


class TimelineResponse(BaseModel):
    """A page of events, newest first; `before` asks for the next one, and is null on the last."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": _EXAMPLE})

    request_id: str
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    events: list[TimelineItem]
    before: str | None


async def _timeline(service: HasTwins, body: Any, key: AccessKey) -> BaseModel:
    request: TimelineRequest = body
    twins = service.twins
    check_sees(twins, key, None)
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
