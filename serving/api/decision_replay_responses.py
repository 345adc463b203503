"""What `POST /v1/decisions/replay` answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class MadeItem(BaseModel):
    """A decision, the features it reads, and by action what the model says: effect and response."""

    model_config = ConfigDict(frozen=True)

    decision: dict[str, JsonValue] | None
    features: dict[str, JsonValue] | None
    predicted: dict[str, JsonValue] | None


class DifferenceItem(BaseModel):
    """A value that comes out otherwise: when it is decided again (`record`), or read again (`log`)."""

    model_config = ConfigDict(frozen=True)

    where: str
    field: str
    recorded: JsonValue
    again: JsonValue


_MADE: dict[str, JsonValue] = {
    "decision": {"action": "email_coupon", "propensity": 0.95},
    "features": {"order_completed_count_lifetime": 4},
    "predicted": {"no_action": [0.0, 0.41], "email_coupon": [0.02, 0.43]},
}
_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "decision_id": "campaign-7.17850",
    "customer_id": "17850",
    "as_of": "2026-03-04T05:00:00.000000Z",
    "catalogue": "0f3a7c21b6d94e58",
    "model": "next_best_action",
    "model_version": "3",
    "recorded": _MADE,
    "again": _MADE,
    "differences": [],
    "not_replayed": [],
}


class DecisionReplayResponse(BaseModel):
    """What was recorded, and what comes out now. `differences` is empty where all of it is equal to the last bit."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), json_schema_extra={"example": _EXAMPLE})

    request_id: str
    decision_id: str
    customer_id: str
    as_of: str
    catalogue: str = Field(description="hash of the catalogue it was made by")
    model: str | None
    model_version: str | None
    recorded: MadeItem
    again: MadeItem = Field(description="null where it could not be made again")
    differences: list[DifferenceItem]
    not_replayed: list[str] = Field(description="why something could not be made again")
