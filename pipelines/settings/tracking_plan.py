"""The tracking plan: which canonical events there are, and what each must carry."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel

# Amounts are read to 8 decimals.
Decimals = Annotated[int, Field(ge=0, le=8, strict=True)]
PropertyType = Literal["string", "integer", "number", "money", "boolean", "timestamp", "list", "object"]


class PropertyPlan(ConfigModel):
    """One property. `money` is an integer in minor units of the event's currency."""

    type: PropertyType
    required: bool = False
    description: str = ""
    allowed: tuple[str | int, ...] = ()
    minimum: int | None = None
    maximum: int | None = None

    @model_validator(mode="after")
    def _has_room(self) -> PropertyPlan:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum no greater than maximum")
        return self


class EventPlan(ConfigModel):
    """One canonical event. `value` names the money property that stands in the `value` column."""

    description: str
    channels: tuple[str, ...] = ()
    value: str | None = None
    properties: dict[str, PropertyPlan] = Field(default_factory=dict)


class TrackingPlan(ConfigModel):
    """All of `configs/events.yaml`. `unknown_events` says what becomes of live events that it does not name."""

    channels: tuple[str, ...] = Field(min_length=1)
    currencies: dict[str, Decimals] = Field(description="currency code to the number of its decimals")
    events: dict[str, EventPlan] = Field(min_length=1)
    unknown_events: Literal["keep", "refuse"] = "keep"
