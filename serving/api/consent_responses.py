"""What the routes of consent answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

_EXAMPLE_PERMISSION: dict[str, JsonValue] = {
    "purpose": "marketing",
    "allowed": True,
    "by": "own_word",
    "at": "2026-03-04T05:00:00.000000Z",
    "source": "consent-api",
    "sources": None,
}
_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "customer_id": "17850",
    "permissions": [_EXAMPLE_PERMISSION],
}


class Permission(BaseModel):
    """Whether a customer may be treated under a purpose, and by what."""

    model_config = ConfigDict(frozen=True)

    purpose: str
    allowed: bool
    by: Literal["own_word", "source_basis", "default"] = Field(
        description="`own_word`: they said so; `source_basis`: they said nothing, and events of `sources` were "
        "collected under it; `default`: neither, so no"
    )
    at: str | None = Field(description="when they said so: ISO 8601, UTC, microseconds")
    source: str | None = Field(description="through what they said so")
    sources: dict[str, str | None] | None = Field(description="sources that stand for it, and their legal basis")


class ConsentReadResponse(BaseModel):
    """What holds for a customer, purpose by purpose."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": _EXAMPLE})

    request_id: str
    customer_id: str
    permissions: list[Permission]


class ConsentResponse(BaseModel):
    """What holds for a customer, purpose by purpose, with what was just said."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": {**_EXAMPLE, "duplicate": False}})

    request_id: str
    customer_id: str
    duplicate: bool = Field(description="whether a call with this `idempotency_key` counted before")
    permissions: list[Permission]
