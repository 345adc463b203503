"""The outbox over HTTP: `POST /v1/outbox` lists the messages that triggers set off, and what became of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, ClassVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints
from starlette.routing import Route

from pipelines.access import AccessKey
from pipelines.identity.denial import who_denied
from pipelines.identity.desk import Desk
from pipelines.outbox import Filter, Message, MessageState, may_have_outbox, open_outbox
from serving.api.acts import handler
from serving.api.answers import iso
from serving.api.errors import ApiError, ErrorDetail
from serving.api.outbox_responses import OutboxResponse
from serving.api.reads import check_sees
from serving.api.requests import CustomerId, ModelName, RequestBody
from serving.decisions.desk import ids_of

MOST = 100
MessageId = Annotated[str, StringConstraints(pattern=r"^msg_[0-9a-f]{32}$")]


class OutboxRequest(RequestBody):
    """Messages by the time that they were made, oldest first; of one customer, state or trigger where that is named."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "17850", "state": "waiting"}})
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": "the id of a customer",
        "state": "one of: waiting, sent, cancelled, failed, kept",
        "trigger": "the name of a trigger",
        "after": "the id of a message: those after it are listed",
        "limit": f"a whole number from 1 to {MOST}",
    }

    customer_id: CustomerId | None = None
    state: MessageState | None = None
    trigger: ModelName | None = None
    after: MessageId | None = None
    limit: Annotated[StrictInt, Field(ge=1, le=MOST)] = 50


def _list(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
    request: OutboxRequest = body
    check_sees(desk.settings, key, None)
    if not may_have_outbox(desk.settings):
        return {"messages": [], "next": None}
    customers = None
    if request.customer_id is not None:
        # A message stands under the id that the customer had when it was made.
        customers = ids_of(desk.identity, desk.identity.customer_of(request.customer_id))
    wanted = Filter(customers, request.state, request.trigger)
    try:
        with closing(open_outbox(desk.settings)) as outbox:
            if request.after is not None and outbox.find(request.after) is None:
                raise _no_such_place()
            found = outbox.messages(wanted, request.limit + 1, request.after)
    except sqlite3.Error as error:
        detail = ErrorDetail(field="outbox.db", expected="a file that can be read", got=type(error).__name__)
        raise ApiError(503, "outbox_unavailable", "the outbox cannot be read now", [detail]) from error
    page = found[: request.limit]
    hidden = who_denied(desk.identity, desk.settings, (message.customer_id for message in page))
    messages = [told(message, message.customer_id not in hidden) for message in page]
    return {"messages": messages, "next": page[-1].id if len(found) > len(page) else None}


def _no_such_place() -> ApiError:
    hint = "what is done is removed after `keep_days`: begin anew without it"
    detail = ErrorDetail(field="after", expected="the id of a message", got="that of none", hint=hint)
    return ApiError(400, "invalid_request", "1 mistake in the request", [detail])


def told(message: Message, with_payload: bool) -> dict[str, Any]:
    """A message in the words of the API; what it says of a customer only where they did not deny that."""
    waits = message.state == "waiting"
    return {
        "id": message.id,
        "customer_id": message.customer_id,
        "trigger": message.trigger,
        "endpoint": message.endpoint,
        "state": message.state,
        "created_at": iso(message.created_at),
        "not_before": None if message.not_before is None else iso(message.not_before),
        "attempts": message.attempts,
        "next_attempt_at": iso(message.next_attempt_at) if waits else None,
        "sent_at": None if message.sent_at is None else iso(message.sent_at),
        "error": message.error,
        "payload": msgspec.json.decode(message.payload) if with_payload else None,
    }


# path: body, scopes (one of them is enough), what it is for.
BODIES = {"/v1/outbox": (OutboxRequest, ("read",), _list)}
ANSWERS: dict[str, type[BaseModel]] = {"/v1/outbox": OutboxResponse}
ROUTES = [Route(path, handler(*parts, ANSWERS[path]), methods=["POST"]) for path, parts in BODIES.items()]
