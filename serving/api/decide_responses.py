"""What the routes of decisions answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from pipelines.decisions.situation import Basis, Lost
from serving.api.errors import ItemError
from serving.api.responses import ResolvedCustomer

_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "decision_id": "campaign-7.17850",
    "repeated": False,
    "customer_id": "17850",
    "as_of": "2026-03-04T05:00:00.000000Z",
    "action": "email_coupon",
    "variant": "reassurance",
    "language": "en",
    "text": "Questions before you order? Our stylists answer, and 10 % is yours.",
    "template": None,
    "channel": "email",
    "send_at": "2026-03-04T12:00:00.000000Z",
    "hour": 19,
    "hour_confidence": 0.82,
    "hour_is_fallback": False,
    "best_channel": "line",
    "best_channel_confidence": 0.98,
    "best_channel_is_fallback": False,
    "propensity": 0.95,
    "expected_value": 2412.5,
    "cost": 1200,
    "currency": "THB",
    "basis": "effect",
    "holdout": False,
    "explored": False,
    "stage": "retention",
    "alternatives": [
        {
            "action": "no_action",
            "lost": "less_value",
            "because": "another choice is worth more",
            "propensity": 0.05,
            "effect": 0.0,
            "response": 0.41,
            "plain_value": 0.0,
            "expected_value": 0.0,
        }
    ],
    "reasons": [{"code": "value", "sentence": "it is worth the most", "names": []}],
    "effect_reasons": None,
    "catalogue": "0f3a7c21b6d94e58",
    "model": "next_best_action",
    "model_version": "3",
}


class AlternativeItem(BaseModel):
    """A choice that was not taken."""

    model_config = ConfigDict(frozen=True)

    action: str
    lost: Lost = Field(description="why it was not taken, as a code")
    because: str = Field(description="the same as a sentence")
    propensity: float = Field(description="with which chance it would have been taken")
    effect: float | None = Field(description="what it changes, in units of the model's reward")
    response: float | None = Field(description="what is expected under it")
    plain_value: float | None = Field(description="minor units: effect × value − cost")
    expected_value: float | None = Field(description="minor units: the same with the levers of the catalogue")


class ReasonItem(BaseModel):
    """Why this was decided."""

    model_config = ConfigDict(frozen=True)

    code: str
    sentence: str
    names: list[str] = Field(description="features, rules or consents that it is about")


class FeatureReasonItem(BaseModel):
    """One feature's part in the effect (units of the reward), or on the basis `propensity` in the log-odds."""

    model_config = ConfigDict(frozen=True)

    feature: str
    meaning: str
    value: float | None
    contribution: float
    sentence: str


class EffectReasons(BaseModel):
    """What moves what the model says of `action` most, the strongest first."""

    model_config = ConfigDict(frozen=True)

    action: str
    reasons: list[FeatureReasonItem]


class DecideResponse(BaseModel):
    """The next best action of one customer, kept for good. Money is in minor units of `currency`."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), json_schema_extra={"example": _EXAMPLE})

    request_id: str
    decision_id: str
    repeated: bool = Field(description="whether it was decided by an earlier call with this id")
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    as_of: str = Field(description="the instant the features are of: ISO 8601, UTC, microseconds")
    action: str = Field(description="what to do; `no_action` for nothing")
    variant: str | None
    language: str | None = Field(description="the customer's where the variant has it, else English")
    text: str | None
    template: str | None = Field(description="key of a template in the system that sends")
    channel: str | None
    send_at: str | None = Field(description="when to contact the customer, outside quiet hours")
    hour: int | None = Field(description="of the customer's day, that suits them best")
    hour_confidence: float | None
    hour_is_fallback: bool | None = Field(description="whether it is the hour for those of whom too little is known")
    best_channel: str | None = Field(description="the channel the customer answers most often, whichever was chosen")
    best_channel_confidence: float | None
    best_channel_is_fallback: bool | None
    propensity: float = Field(description="the exact chance of this action, for learning and evaluation")
    expected_value: float
    cost: int
    currency: str
    basis: Basis = Field(description="what ranked: effects, or as long as none are known the probability of the goal")
    holdout: bool = Field(description="whether the customer gets nothing, to compare with")
    explored: bool = Field(description="whether it was drawn, so that more is learned")
    stage: str | None
    alternatives: list[AlternativeItem]
    reasons: list[ReasonItem]
    effect_reasons: EffectReasons | None = Field(description="null unless asked for, and of a repeated decision")
    catalogue: str = Field(description="hash of the catalogue that decided")
    model: str | None
    model_version: str | None


class ActionsResponse(BaseModel):
    """The catalogue that decides now. `held_back` says what is wrong with the files as they are."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": "9f86d081884c4d659a2feaa0c55ad015",
                "state": "current",
                "catalogue": "0f3a7c21b6d94e58",
                "model": "next_best_action",
                "actions": ["email_coupon", "line_coupon"],
                "held_back": None,
            }
        },
    )

    request_id: str
    state: Literal["current", "held_back", "none"]
    catalogue: str | None = Field(description="hash; null where none was ever good")
    model: str | None
    actions: list[str]
    held_back: ItemError | None
