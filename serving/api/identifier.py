"""One identifier in a request."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.config import JsonDict

from serving.api.requests import CustomerId, KindName

AN_IDENTIFIER: Mapping[str, str] = {
    "identifier": "an object {kind, value}",
    "identifier.item": "a kind of configs/identity.yaml, and a value of 1 to 256 characters",
}


def either(*ways: tuple[str, ...]) -> JsonDict:
    """JSON Schema: the fields of exactly one of `ways` are given. A field that is null is not given."""
    names = dict.fromkeys(name for way in ways for name in way)
    choices: list[JsonValue] = []
    for way in ways:
        fields: JsonDict = {name: {"not": {"type": "null"}} if name in way else {"type": "null"} for name in names}
        choices.append({"required": list(way), "properties": fields})
    return {"anyOf": choices}


class IdentifierBody(BaseModel):
    """A kind of `configs/identity.yaml`, and a value as people write it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: KindName
    value: CustomerId
