"""What a model predicts and how it may be used, in words for a reviewer."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Fixed digits with a true minus sign; a dash where there is no value."""
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "−")


def day(instant: int) -> str:
    """Calendar day in UTC of int64 microseconds, as `2011-09-01`."""
    return datetime.fromtimestamp(instant / 1_000_000, UTC).strftime("%Y-%m-%d")
