"""What the bodies of calls look like, for the API's page. Calls are checked by `segment.py` and `cloudevents.py`.

Fields that are not named here are taken and ignored, as Segment's own clients send more of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.alias_generators import to_camel

from serving.api.requests import MAXIMUM_ID_LENGTH

# No control characters, and not blanks alone.
_VISIBLE = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"
_Id = Annotated[str, StringConstraints(min_length=1, max_length=MAXIMUM_ID_LENGTH, pattern=_VISIBLE)] | int
_MessageId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_VISIBLE)]
_EventName = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_VISIBLE)]
_Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_Object = dict[str, JsonValue]
_WHO: dict[str, JsonValue] = {"anyOf": [{"required": ["userId"]}, {"required": ["anonymousId"]}]}
_EXAMPLE_ORDER: dict[str, JsonValue] = {
    "messageId": "m-1",
    "userId": "17850",
    "event": "Order Completed",
    "timestamp": "2026-03-04T05:00:00Z",
    "properties": {"order_id": "1", "total": 25.0, "currency": "THB"},
}


class Call(BaseModel):
    """Fields that all calls of the Segment protocol have."""

    model_config = ConfigDict(extra="allow", alias_generator=to_camel, json_schema_extra=_WHO)

    message_id: _MessageId | None = Field(default=None, description="counts once for ever within the source of the key")
    user_id: _Id | None = None
    anonymous_id: _Id | None = None
    timestamp: _Instant | None = Field(default=None, description="ISO 8601 with an offset")
    sent_at: _Instant | None = Field(default=None, description="by the client's clock; `timestamp` is corrected by it")
    context: Any = Field(default=None, description="an object, such as `channel`, `traits`, `device`, `consent`")
    write_key: Any = Field(default=None, description="the key, where no header `Authorization` shows it")


class TrackCall(Call):
    """Something that a customer did."""

    model_config = ConfigDict(json_schema_extra={**_WHO, "example": _EXAMPLE_ORDER})

    event: _EventName
    properties: _Object | None = None


class IdentifyCall(Call):
    """Who somebody is."""

    model_config = ConfigDict(
        json_schema_extra={**_WHO, "example": {"messageId": "m-2", "userId": "17850", "traits": {"plan": "gold"}}}
    )

    traits: _Object | None = None


class PageCall(Call):
    """A page or a screen that was viewed."""

    model_config = ConfigDict(
        json_schema_extra={**_WHO, "example": {"messageId": "m-3", "userId": "17850", "name": "Home"}}
    )

    name: Any = None
    category: Any = None
    properties: _Object | None = None


class GroupCall(Call):
    """A group that a customer belongs to."""

    model_config = ConfigDict(
        json_schema_extra={**_WHO, "example": {"messageId": "m-4", "userId": "17850", "groupId": "family-7"}}
    )

    group_id: _Id
    traits: _Object | None = None


class AliasCall(Call):
    """Another id that a customer had before."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"messageId": "m-5", "userId": "17850", "previousId": "visitor-9"}}
    )

    user_id: _Id
    previous_id: _Id


class BatchCall(BaseModel):
    """Many calls at once; `context` and `sentAt` hold for items that have none."""

    model_config = ConfigDict(
        extra="allow",
        alias_generator=to_camel,
        json_schema_extra={"example": {"batch": [{"type": "track", **_EXAMPLE_ORDER}]}},
    )

    batch: list[Any] = Field(
        min_length=1,
        description="each as the body of the call that its `type` says (identify, track, page, screen, group, alias); "
        "what is wrong with one is told beside what became of the others",
    )
    context: Any = None
    sent_at: Any = None
    write_key: Any = None


class CloudEvent(BaseModel):
    """A CloudEvent 1.0 in its JSON format. Who it is about stands in `data` (`userId`, `anonymousId`) or `subject`."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "specversion": "1.0",
                "id": "1",
                "source": "/shop",
                "type": "com.example.order.completed",
                "subject": "17850",
                "time": "2026-03-04T05:00:00Z",
                "data": {"order_id": "2", "total": 25.0},
            }
        },
    )

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, description="counts once for ever together with `source`")
    source: str = Field(min_length=1)
    type: str = Field(min_length=1, description="the event's name, or one that ends with it")
    subject: str | None = Field(default=None, min_length=1, description="the customer, unless `data` names them")
    time: _Instant | None = None
    datacontenttype: str | None = Field(default=None, description="JSON, such as application/json")
    dataschema: str | None = None
    channel: str | None = Field(default=None, description="extension: the channel, where it is one of ours")
    data: _Object | None = None
    data_base64: str | None = Field(default=None, description="the same as bytes, in place of `data`")


CALLS: dict[str, type[BaseModel]] = {
    "track": TrackCall,
    "identify": IdentifyCall,
    "page": PageCall,
    "screen": PageCall,
    "group": GroupCall,
    "alias": AliasCall,
    "batch": BatchCall,
}
