"""Consent over HTTP: `POST /v1/consent` says it, `POST /v1/consent/read` reads what holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Route

from feature_repo.configuration import Problem
from pipelines.access import AccessKey
from pipelines.console import UserError
from pipelines.identity.consenting import Allowed, Said, newest_word, purpose_problems, spoken_for
from pipelines.identity.desk import Desk
from pipelines.identity.manual import UnknownIdentifier
from pipelines.identity.vocabulary import Form
from serving.api.acts import handler
from serving.api.answers import iso
from serving.api.consent_responses import ConsentReadResponse, ConsentResponse
from serving.api.identifier import AN_IDENTIFIER, IdentifierBody, either
from serving.api.requests import CustomerId, Note, OnceKey, RequestBody
from serving.instant import after

_WHOM: Mapping[str, str] = {"customer_id": "the id of a customer, or identifier in its place", **AN_IDENTIFIER}


class ConsentReadRequest(RequestBody):
    """Whose permissions are asked for: by customer id, or by any identifier."""

    model_config = ConfigDict(
        json_schema_extra={**either(("customer_id",), ("identifier",)), "example": {"customer_id": "17850"}}
    )
    expected: ClassVar[Mapping[str, str]] = _WHOM

    customer_id: CustomerId | None = None
    identifier: IdentifierBody | None = None


class ConsentRequest(ConsentReadRequest):
    """What a customer says: true grants a purpose, false denies it; purposes left out stay as they are."""

    model_config = ConfigDict(
        json_schema_extra={
            **either(("customer_id",), ("identifier",)),
            "example": {
                "customer_id": "17850",
                "purposes": {"marketing": True, "personalisation": False},
                "note": "by phone",
            },
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        **_WHOM,
        "purposes": "an object of at least one purpose, each true or false",
        "purposes.item": "true or false",
        "note": "text of at most 500 characters, about the occasion and not the person",
        "idempotency_key": "text of 1 to 40 characters: the same call with the same key counts once",
    }

    purposes: dict[str, bool] = Field(min_length=1, max_length=50)
    note: Note | None = None
    idempotency_key: OnceKey | None = None


def _set(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
    request: ConsentRequest = body
    problems = purpose_problems(desk.settings, request.purposes)
    if problems:
        raise UserError("there is no such purpose", problems)
    form = _form(desk, request)
    # Of two answers the later holds: one of now must not lose against an earlier one, whatever the clock did since.
    at = after(newest_word(desk.identity, form), time.time_ns() // 1000)
    said = Said(form, request.purposes, at, request.note, request.idempotency_key)
    answer = desk.say(said, f"key:{key.key_id}")
    return {"customer_id": answer.customer_id, "duplicate": answer.duplicate, "permissions": told(answer.permissions)}


def _read(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
    form = _form(desk, body)
    customer = desk.identity.customer_with(form)
    if customer is None:
        problem = Problem("identifier", "one that came with an event", "another", "a new customer has no permission")
        raise UnknownIdentifier("nobody has this identifier", [problem])
    return {"customer_id": customer, "permissions": told(desk.permissions(customer))}


def _form(desk: Desk, body: ConsentReadRequest) -> Form:
    """Raises UserError unless exactly one of the two ways to name somebody is there."""
    if (body.customer_id is None) == (body.identifier is None):
        got = "neither" if body.customer_id is None else "both"
        raise UserError("1 mistake in the request", [Problem("customer_id", "either this or identifier", got)])
    if body.identifier is not None:
        return Form(body.identifier.kind, body.identifier.value)
    return spoken_for(desk.identity, body.customer_id or "")


def told(permissions: list[Allowed]) -> list[dict[str, Any]]:
    """Permissions in the words of the API."""
    return [
        {
            "purpose": item.purpose,
            "allowed": item.allowed,
            "by": item.by,
            "at": None if item.at is None else iso(item.at),
            "source": item.source,
            "sources": item.sources,
        }
        for item in permissions
    ]


# path: body, scopes (one of them is enough), what it is for.
BODIES = {
    "/v1/consent": (ConsentRequest, ("admin", "ingest"), _set),
    "/v1/consent/read": (ConsentReadRequest, ("read",), _read),
}
ANSWERS: dict[str, type[BaseModel]] = {"/v1/consent": ConsentResponse, "/v1/consent/read": ConsentReadResponse}
ROUTES = [Route(path, handler(*parts, ANSWERS[path]), methods=["POST"]) for path, parts in BODIES.items()]
