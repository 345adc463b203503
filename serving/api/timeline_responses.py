"""What `POST /v1/timeline` answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from serving.api.responses import ResolvedCustomer


class TimelineItem(BaseModel):
    """One event as it is stored. What names a person is masked."""

    model_config = ConfigDict(frozen=True)

    event: str
    event_time: str = Field(description="when it happened")
    arrived_at: str = Field(description="when it was there")
    channel: str
    source: str
    event_id: str
    position: int = Field(description="in the log")
    value: int | None = Field(description="in minor units of `currency`")
    currency: str | None
    counts: bool = Field(description="whether features and the twin read it")
    identifiers: dict[str, JsonValue] = Field(description="those it came with, by kind")
    properties: dict[str, JsonValue] = Field(description="of a decision without its `record`")


_EXAMPLE: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "customer_id": "17850",
    "events": [
        {
            "event": "Order Completed",
            "event_time": "2026-03-04T04:58:00.000000Z",
            "arrived_at": "2026-03-04T04:58:00.120000Z",
            "channel": "web",
            "source": "web",
            "event_id": "m-7732",
            "position": 81_443,
            "value": 125_000,
            "currency": "THB",
            "counts": True,
            "identifiers": {"user_id": "17850", "email": "s•••@e•••"},
            "properties": {"order_id": "o-118"},
        }
    ],
    "before": "MTc3MjYwMDI4MDAwMDAwMC44MTQ0Mw",
}


class TimelineResponse(BaseModel):
    """A page of events, newest first; `before` asks for the next one, and is null on the last."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"example": _EXAMPLE})

    request_id: str
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    events: list[TimelineItem]
    before: str | None
