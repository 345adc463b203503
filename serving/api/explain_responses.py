"""What `POST /v1/explain` answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from serving.api.responses import ReasonCode, ResolvedCustomer


class GroupItem(BaseModel):
    """What the features of one view of the spec add together, in log-odds."""

    model_config = ConfigDict(frozen=True)

    view: str
    contribution: float
    features: int


_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "explained_request_id": None,
    "customer_id": "17850",
    "model": "churn",
    "model_version": "3",
    "as_of": "2026-03-04T05:00:00.000000Z",
    "position": 81_443,
    "revision": 2,
    "probability": 0.2689,
    "in_population": True,
    "log_odds": -1.0,
    "base_value": -1.84,
    "contributions": [
        {
            "feature": "order_completed_days_since_last_lifetime",
            "meaning": "days since the latest order",
            "value": 61.25,
            "contribution": 0.84,
            "change_in_probability": 0.13,
            "sentence": "days since the latest order is 61.25: raises the probability by 13.0 percentage points "
            "(+0.84 log-odds)",
        }
    ],
    "rest": 0.0,
    "groups": [{"view": "orders", "contribution": 0.84, "features": 1}],
}


class ExplainResponse(BaseModel):
    """`base_value`, all contributions and `rest` add up to `log_odds`, of which `probability` is the sigmoid."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), json_schema_extra={"example": _EXAMPLE})

    request_id: str
    explained_request_id: str | None = Field(description="the request whose prediction this is; null: this call's")
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    model: str
    model_version: str
    as_of: str = Field(description="the instant the features are of")
    position: int = Field(description="of the state that was read: the customer's newest event in it")
    revision: int
    probability: float
    in_population: bool | None
    log_odds: float
    base_value: float = Field(description="log-odds before anything is known")
    contributions: list[ReasonCode] = Field(
        description="the strongest first, log-odds; those of exactly 0 are left out"
    )
    rest: float = Field(description="what the contributions beyond `top` add, log-odds")
    groups: list[GroupItem] | None = Field(description="null where the model's spec is not known here any more")
