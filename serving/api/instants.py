"""Instants that a client sends."""

from __future__ import annotations

from pipelines.twin.instants import AN_INSTANT, read_instant
from serving.api.errors import ApiError, ErrorDetail


def instant_of(text: str, field: str) -> int:
    """Int64 microseconds UTC. Raises ApiError (400) for another text, and for a time without zone."""
    try:
        return read_instant(text)
    except ValueError as error:
        hint = "add the zone at its end; Z is UTC"
        detail = ErrorDetail(field=field, expected=AN_INSTANT, got=str(error), hint=hint)
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail]) from None
