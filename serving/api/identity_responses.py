"""What the routes of identity answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

_REQUEST_ID = "9f86d081884c4d659a2feaa0c55ad015"
_EXAMPLE_LINK: dict[str, JsonValue] = {
    "left": {"kind": "user_id", "value": "17850"},
    "right": {"kind": "email", "value": "s•••@e•••"},
    "method": "same_event",
    "at": "2026-03-04T05:00:00.000000Z",
    "evidence": {"source": "web"},
}
_EXAMPLE_PAIR: dict[str, JsonValue] = {
    "pair": "3f9a1c02b7d4",
    "left": {"customer_id": "17850"},
    "right": {"customer_id": "13047"},
    "probability": 0.83,
    "why": "same phone number, similar names",
    "found_at": "2026-03-04T05:00:00.000000Z",
    "verdict": None,
    "by": None,
    "decided_at": None,
}


class Identifier(BaseModel):
    """A kind and a value; personal values are masked unless the key has the scope `admin`."""

    model_config = ConfigDict(frozen=True)

    kind: str
    value: str


class KnownIdentifier(Identifier):
    since: str | None = Field(description="ISO 8601, UTC; null where it was theirs from the beginning")


class Link(BaseModel):
    """Why two identifiers are of one customer."""

    model_config = ConfigDict(frozen=True)

    left: Identifier
    right: Identifier
    method: str
    at: str = Field(description="ISO 8601, UTC")
    evidence: dict[str, JsonValue]


class ResolveResponse(BaseModel):
    """Who somebody is: all their identifiers, and the links between them with their evidence."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": _REQUEST_ID,
                "customer_id": "17850",
                "identifiers": [
                    {"kind": "user_id", "value": "17850", "since": None},
                    {"kind": "email", "value": "s•••@e•••", "since": "2026-03-04T05:00:00.000000Z"},
                ],
                "links": [_EXAMPLE_LINK],
                "version": 12,
            }
        },
    )

    request_id: str
    customer_id: str
    identifiers: list[KnownIdentifier]
    links: list[Link]
    version: int = Field(description="of the map of identities")


class CustomerNow(BaseModel):
    """Whom an identifier is of now."""

    model_config = ConfigDict(frozen=True)

    customer_id: str | None = Field(description="null where the identifier is nobody's any more")


class DecisionResponse(BaseModel):
    """Whose both identifiers are after the decision, and everybody whose events are others than before."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": _REQUEST_ID,
                "left": {"customer_id": "17850"},
                "right": {"customer_id": "17850"},
                "one_customer": True,
                "changed": ["13047", "17850"],
                "version": 13,
            }
        },
    )

    request_id: str
    left: CustomerNow
    right: CustomerNow
    one_customer: bool
    changed: list[str]
    version: int = Field(description="of the map of identities")


class ReviewPairItem(BaseModel):
    """Two customers who may be one. What they were compared by stays out: it holds personal values."""

    model_config = ConfigDict(frozen=True)

    pair: str
    left: CustomerNow
    right: CustomerNow
    probability: float = Field(description="that they are one, 0 to 1")
    why: str
    found_at: str = Field(description="ISO 8601, UTC, microseconds")
    verdict: Literal["link", "apart"] | None = Field(description="null while the pair waits")
    by: str | None
    decided_at: str | None = Field(description="ISO 8601, UTC, microseconds")


class ReviewedPair(ReviewPairItem):
    """The pair that was decided."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                **_EXAMPLE_PAIR,
                "request_id": _REQUEST_ID,
                "verdict": "link",
                "by": "key:7d1c",
                "decided_at": "2026-03-05T05:00:00.000000Z",
            }
        },
    )

    request_id: str


class WaitingPairs(BaseModel):
    """The pairs that wait for a decision."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"example": {"request_id": _REQUEST_ID, "waiting": 1, "pairs": [_EXAMPLE_PAIR]}},
    )

    request_id: str
    waiting: int = Field(description="how many there are, also beyond `limit`")
    pairs: list[ReviewPairItem]


class ReviewResponse(RootModel[WaitingPairs | ReviewedPair]):
    """The pairs that wait, or the one that was decided."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"request_id": _REQUEST_ID, "waiting": 1, "pairs": [_EXAMPLE_PAIR]}}
    )
