"""One identifier in a request."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from serving.api.requests import CustomerId, KindName

AN_IDENTIFIER: Mapping[str, str] = {
    "identifier": "an object {kind, value}",
    "identifier.item": "a kind of configs/identity.yaml, and a value of 1 to 256 characters",
}


class IdentifierBody(BaseModel):
    """A kind of `configs/identity.yaml`, and a value as people write it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: KindName
    value: CustomerId
