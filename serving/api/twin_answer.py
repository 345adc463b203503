"""What `POST /v1/twin` answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from serving.api.errors import ItemError
from serving.api.responses import ResolvedCustomer

FeatureAnswer = int | float | str | None

_CITED: dict[str, JsonValue] = {
    "event": "Product Added",
    "at": "2026-03-04T04:31:07.120000Z",
    "channel": "web",
    "source": "web",
    "event_id": "m-7731",
    "properties": {"product_id": "sku-118", "quantity": 1},
}
_NOW: dict[str, JsonValue] = {
    "name": "decision",
    "description": "Has something in the cart",
    "features": {"product_added_count_7d": 1},
    "evidence": [_CITED],
}
EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "customer_id": "17850",
    "as_of": "2026-03-04T05:00:00.000000Z",
    "position": 81_443,
    "revision": 2,
    "read_from": "states",
    "view": "marketing",
    "stage": {
        "stage": "decision",
        "since": "2026-03-04T04:31:07.120000Z",
        "now": _NOW,
        "path": [{"stage": "decision", "at": "2026-03-04T04:31:07.120000Z", "moved_by": _CITED}],
        "path_is_whole": True,
        "dropped_at": None,
    },
    "consents": [{"purpose": "marketing", "granted": True, "at": "2026-01-03T08:12:00.000000Z", "source": "web"}],
    "predictions": [
        {
            "model": "churn",
            "model_version": "3",
            "as_of": "2026-03-04T05:00:00.000000Z",
            "probability": 0.1204,
            "in_population": True,
            "error": None,
        }
    ],
    "predictions_note": None,
}


class Part(BaseModel):
    """Base of every part of an answer."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class CitedItem(Part):
    """An event that something follows from. What names a person in it is masked."""

    event: str
    at: str = Field(description="when it happened")
    channel: str
    source: str
    event_id: str
    properties: dict[str, JsonValue]


class RuledItem(Part):
    """A declared rule that holds: what its features are, and the events behind them."""

    name: str
    description: str
    features: dict[str, FeatureAnswer]
    evidence: list[CitedItem]


class ProfileItem(Part):
    """What the customer said of themselves, and where they were seen."""

    traits: dict[str, JsonValue] = Field(description="the latest of each; personal ones are masked")
    personal: list[str] = Field(description="traits that name a person")
    first_seen: str | None
    last_seen: str | None
    channels: dict[str, int] = Field(description="events by channel, of those that are kept")


class IdentityItem(Part):
    """An identifier of the customer."""

    kind: str
    value: str = Field(description="masked where it names a person")
    since: str | None = Field(description="since when it is known to be theirs; null: from the beginning")


class ConsentItem(Part):
    """What the customer said of a purpose; `granted` is null where they said nothing."""

    purpose: str
    granted: bool | None
    at: str | None
    source: str | None


class StepItem(Part):
    """From `at` on the customer was in `stage`; `moved_by` is null where it was time that passed."""

    stage: str
    at: str
    moved_by: CitedItem | None


class StandingItem(Part):
    """Where the customer stands, and how they came there, oldest first."""

    stage: str
    since: str | None
    now: RuledItem
    path: list[StepItem]
    path_is_whole: bool = Field(description="false where older events are not kept")


class StageItem(StandingItem):
    """The stage of the journey."""

    dropped_at: str | None = Field(description="the stage at which the customer was lost, if they were")


class SignalItem(Part):
    """How one event was experienced: emotion from -1 (worst) to 1 (best)."""

    outcome: Literal["negative", "met", "exceeded"]
    emotion: float
    because: CitedItem


class TouchpointItem(Part):
    """How a channel was experienced; newer events count more."""

    channel: str
    outcome: Literal["negative", "met", "exceeded"]
    emotion: float
    signals: list[SignalItem]


class ExperienceItem(Part):
    """The latest outcome over all channels, and what is to follow it."""

    outcome: Literal["negative", "met", "exceeded"] | None
    emotion: float | None
    follow_up: str | None
    touchpoints: list[TouchpointItem]


class PersonaItem(Part):
    """A persona that the customer behaves like; weights add up to 1."""

    name: str
    description: str
    weight: float
    features: dict[str, FeatureAnswer]
    evidence: list[CitedItem]


class BarrierItem(Part):
    """Why there may have been no purchase; `unknown` has the share that nothing speaks for."""

    reason: str
    share: float
    evidence: list[CitedItem]


class ContactItem(Part):
    """Something that was sent, or decided to be sent."""

    at: str
    channel: str
    event: str
    action: str | None
    event_id: str


class PredictionOfTwin(Part):
    """What a served champion foresees; `error` says why it does not."""

    model: str
    model_version: str
    as_of: str | None
    probability: float | None
    in_population: bool | None
    error: ItemError | None = None


class TwinResponse(Part):
    """One customer at an instant. Sections that the view does not show are not there."""

    model_config = ConfigDict(frozen=True, protected_namespaces=(), json_schema_extra={"example": EXAMPLE})

    request_id: str
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    as_of: str = Field(description="the instant it is of: ISO 8601, UTC, microseconds")
    position: int = Field(description="of the customer's newest event in the log that was known then")
    revision: int = Field(description="of which events are the customer's; it changes with identity and consent")
    read_from: Literal["states", "log"] = Field(description="now is read from states, the past from the log")
    view: str | None
    profile: ProfileItem | None = None
    identities: list[IdentityItem] | None = None
    consents: list[ConsentItem] | None = None
    stage: StageItem | None = None
    relationship: StandingItem | None = None
    experience: ExperienceItem | None = None
    personas: list[PersonaItem] | None = None
    triggers: list[RuledItem] | None = None
    barriers: list[BarrierItem] | None = None
    contacts: list[ContactItem] | None = None
    predictions: list[PredictionOfTwin] | None = Field(default=None, description="of now; null for the past")
    predictions_note: str | None = Field(default=None, description="why there are none")
