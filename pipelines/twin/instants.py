"""Instants as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

AN_INSTANT = "an instant in ISO 8601 with its zone, such as 2026-03-04T12:00:00+07:00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_instant(text: str) -> int:
    """Int64 microseconds UTC. Raises ValueError, which says what came: other text, or a time without zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("text that is none") from None
    if read.tzinfo is None:
        raise ValueError("a time without zone")
    return (read - _EPOCH) // timedelta(microseconds=1)
