"""The tracking plan: which canonical events there are, and what each must carry."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_repo.configuration import ConfigModel

PropertyType = Literal["string", "integer", "number", "money", "boolean", "timestamp", "list", "object"]


class PropertyPlan(ConfigModel):
    """One property. `money` is an integer in minor units of the event's currency."""

    type: PropertyType
    required: bool = False
    description: str = ""
    allowed: tuple[str | int, ...] = ()
    minimum: int | None = None
    maximum: int | None = None


class EventPlan(ConfigModel):
    """One canonical event. `value` names the money property that stands in the `value` column."""

    description: str
    channels: tuple[str, ...] = ()
    value: str | None = None
    properties: dict[str, PropertyPlan] = Field(default_factory=dict)


class TrackingPlan(ConfigModel):
    """All of `configs/events.yaml`."""

    channels: tuple[str, ...]
    currencies: dict[str, int] = Field(description="currency code to the number of its decimals")
    events: dict[str, EventPlan]
