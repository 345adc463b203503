"""What is sent, made of the arguments of methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Identifier = tuple[str, str]
Context = Mapping[str, int | str | None]


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None: the service has its own defaults."""
    return {name: value for name, value in fields.items() if value is not None}


def listed(items: Sequence[str] | None) -> list[str] | None:
    return None if items is None else list(items)


def instant(at: datetime | None) -> str | None:
    """Raises ValueError for one without an offset: it could be any of 24 hours."""
    if at is not None and at.tzinfo is None:
        raise ValueError("as_of: expected an instant with an offset, got one without; use tzinfo=UTC")
    return None if at is None else at.isoformat()


def form(identifier: Identifier) -> dict[str, str]:
    return {"kind": identifier[0], "value": identifier[1]}


def whom(customer_id: str | None, identifier: Identifier | None) -> dict[str, Any]:
    return given(customer_id=customer_id, identifier=None if identifier is None else form(identifier))


def person(customer_id: str | None, identifier: Identifier | None) -> dict[str, Any]:
    return given(customer_id=customer_id, **({} if identifier is None else form(identifier)))


def ends(left: Identifier, right: Identifier, note: str | None) -> dict[str, Any]:
    return given(left=form(left), right=form(right), note=note)
