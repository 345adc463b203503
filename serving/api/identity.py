"""Identity over HTTP: who somebody is and why, merging and unmerging, and the review queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.routing import Route

from feature_repo.configuration import Problem
from pipelines.access import AccessKey
from pipelines.console import UserError
from pipelines.identity import shown
from pipelines.identity.desk import Desk
from pipelines.identity.manual import UnknownIdentifier, Verdict, Wish
from pipelines.identity.review import ReviewPair
from pipelines.identity.vocabulary import Form
from serving.api.acts import handler
from serving.api.answers import iso
from serving.api.identifier import IdentifierBody, either
from serving.api.identity_responses import DecisionResponse, ResolveResponse, ReviewResponse
from serving.api.reads import sees_persons
from serving.api.requests import CustomerId, KindName, Note, RequestBody

_VALUE = "text of 1 to 256 characters, none of them a control character"
_ENDS = "an object {kind, value}"


class ResolveRequest(RequestBody):
    """Who is asked for: an identifier, or a customer by id."""

    model_config = ConfigDict(
        json_schema_extra={
            **either(("customer_id",), ("kind", "value")),
            "example": {"kind": "email", "value": "somchai@example.com"},
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "kind": "a kind of configs/identity.yaml, beside value",
        "value": _VALUE,
        "customer_id": "the id of a customer, in place of kind and value",
    }

    kind: KindName | None = None
    value: CustomerId | None = None
    customer_id: CustomerId | None = None


class DecisionRequest(RequestBody):
    """Two identifiers, and why they are of one customer or of two."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "left": {"kind": "user_id", "value": "17850"},
                "right": {"kind": "user_id", "value": "13047"},
                "note": "asked by phone",
            }
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "left": _ENDS,
        "left.item": "a kind of configs/identity.yaml, and a value of 1 to 256 characters",
        "right": _ENDS,
        "right.item": "a kind of configs/identity.yaml, and a value of 1 to 256 characters",
        "note": "text of at most 500 characters",
    }

    left: IdentifierBody
    right: IdentifierBody
    note: Note | None = None


class ReviewRequest(RequestBody):
    """Without `pair` the pairs that wait are listed; with it and `verdict` that pair is decided, for ever."""

    model_config = ConfigDict(
        json_schema_extra={
            **either((), ("pair", "verdict")),
            "example": {"pair": "3f9a1c02b7d4", "verdict": "accept"},
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "pair": "the name of a pair, as the list has it",
        "verdict": "accept or reject, beside pair",
        "note": "text of at most 500 characters",
        "limit": "a whole number from 1 to 1,000",
    }

    pair: CustomerId | None = None
    verdict: Literal["accept", "reject"] | None = None
    note: Note | None = None
    limit: int = Field(default=100, ge=1, le=1000)


def _resolve(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
    request: ResolveRequest = body
    found = shown.show(desk.identity, _customer(desk, request), sees_persons(key, None))
    if not found.known:
        raise _unknown("customer_id" if request.customer_id is not None else "value")
    told = asdict(found)
    del told["known"]
    return told


def _customer(desk: Desk, request: ResolveRequest) -> str:
    by_identifier = request.kind is not None and request.value is not None
    half = (request.kind is None) != (request.value is None)
    if half or by_identifier == (request.customer_id is not None):
        problem = Problem("kind", "either kind and value, or customer_id", "another combination")
        raise UserError("1 mistake in the request", [problem])
    if request.customer_id is not None:
        return desk.identity.customer_of(request.customer_id)
    customer = desk.identity.customer_with(Form(request.kind or "", request.value or ""))
    if customer is None:
        raise _unknown("value")
    return customer


def _decision(verdict: Verdict) -> Any:
    def act(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
        request: DecisionRequest = body
        left, right = (Form(end.kind, end.value) for end in (request.left, request.right))
        decided = desk.decide(Wish(verdict, left, right, f"key:{key.key_id}", request.note), f"key:{key.key_id}")
        return {
            "left": {"customer_id": decided.left},
            "right": {"customer_id": decided.right},
            "one_customer": decided.together,
            "changed": list(decided.changed),
            "version": decided.version,
        }

    return act


def _review(desk: Desk, body: Any, key: AccessKey) -> dict[str, Any]:
    request: ReviewRequest = body
    if (request.pair is None) != (request.verdict is None):
        given, missing = ("pair", "verdict") if request.verdict is None else ("verdict", "pair")
        raise UserError("1 mistake in the request", [Problem(missing, f"a value beside {given}", "nothing")])
    if request.pair is None or request.verdict is None:
        waiting = desk.waiting()
        return {"waiting": len(waiting), "pairs": [_pair(item) for item in waiting[: request.limit]]}
    verdict: Verdict = "link" if request.verdict == "accept" else "apart"
    who = f"key:{key.key_id}"
    return _pair(desk.review(request.pair, verdict, who, who, request.note))


def _pair(item: ReviewPair) -> dict[str, Any]:
    """A pair without what it was compared by: that holds personal values."""
    return {
        "pair": item.pair,
        "left": {"customer_id": item.left},
        "right": {"customer_id": item.right},
        "probability": item.probability,
        "why": item.why,
        "found_at": iso(item.found_at),
        "verdict": item.verdict,
        "by": item.by,
        "decided_at": None if item.decided_at is None else iso(item.decided_at),
    }


def _unknown(field: str) -> UnknownIdentifier:
    hint = "check it, letter by letter, and its kind"
    problem = Problem(field, "one that came with an event, and is somebody's", "another", hint)
    return UnknownIdentifier("nobody has this identifier", [problem])


# path: body, scopes (one of them is enough), what it does.
BODIES: dict[str, tuple[type[RequestBody], tuple[str, ...], Any]] = {
    "/v1/identity/resolve": (ResolveRequest, ("read",), _resolve),
    "/v1/identity/merge": (DecisionRequest, ("review",), _decision("link")),
    "/v1/identity/unmerge": (DecisionRequest, ("review",), _decision("apart")),
    "/v1/identity/review": (ReviewRequest, ("review",), _review),
}
ANSWERS: dict[str, type[BaseModel]] = {
    "/v1/identity/resolve": ResolveResponse,
    "/v1/identity/merge": DecisionResponse,
    "/v1/identity/unmerge": DecisionResponse,
    "/v1/identity/review": ReviewResponse,
}
ROUTES = [Route(path, handler(*parts, ANSWERS[path]), methods=["POST"]) for path, parts in BODIES.items()]
