"""What `POST /v1/outbox` answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

State = Literal["waiting", "sent", "cancelled", "failed", "kept"]


class MessageItem(BaseModel):
    """A message. Its `payload` is what the endpoint gets."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(description="`webhook-id` of every attempt")
    customer_id: str
    trigger: str
    endpoint: str | None = Field(description="null where no endpoint takes the trigger: it is kept to be read here")
    state: State
    created_at: str
    not_before: str | None = Field(description="it is not sent earlier")
    attempts: int
    next_attempt_at: str | None
    sent_at: str | None
    error: str | None = Field(description="why it was cancelled or failed, or what the last attempt met")
    payload: JsonValue = Field(description="null where the customer denied what it was made for")


class OutboxResponse(BaseModel):
    """`next` is to be asked `after`; null at the end."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": "9f86d081884c4d659a2feaa0c55ad015",
                "messages": [
                    {
                        "id": "msg_0cc175b9c0f1b6a831c399e269772661",
                        "customer_id": "17850",
                        "trigger": "cart_left",
                        "endpoint": "crm",
                        "state": "waiting",
                        "created_at": "2026-03-04T05:00:00.000000Z",
                        "not_before": "2026-03-04T12:00:00.000000Z",
                        "attempts": 0,
                        "next_attempt_at": "2026-03-04T12:00:00.000000Z",
                        "sent_at": None,
                        "error": None,
                        "payload": {"type": "trigger.cart_left"},
                    }
                ],
                "next": None,
            }
        },
    )

    request_id: str
    messages: list[MessageItem]
    next: str | None
