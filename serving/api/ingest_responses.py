"""What the routes that take events answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from serving.api.errors import ErrorDetail


class RejectedEvent(ErrorDetail):
    """One mistake of one item that was rejected."""

    index: int = Field(description="the item's place in the call, from 0")


class IngestResponse(BaseModel):
    """What became of the items of a call. What was accepted is durable, and in the customers' states."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "success": True,
                "request_id": "9f86d081884c4d659a2feaa0c55ad015",
                "accepted": 1,
                "duplicates": 0,
                "rejected_events": 0,
                "rejected": [],
                "unplanned": [],
                "clamped": [],
            }
        },
    )

    success: Literal[True] = Field(description="for clients of Segment: the call was taken")
    request_id: str
    accepted: int
    duplicates: int = Field(description="items that were known before")
    rejected_events: int
    rejected: list[RejectedEvent] = Field(description="their mistakes, the first 100")
    unplanned: list[int] = Field(description="places of events that the tracking plan does not name; they are kept")
    clamped: list[int] = Field(description="places of events ahead of our clock, moved to their arrival")
