"""When to try again."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SECOND = 1_000_000
# What a receiver may ask for at most.
LONGEST_WAIT_SECONDS = 24 * 3600.0


def delay_seconds(failures: int, first: float, longest: float, chance: float) -> float:
    """After so many failures in a row, the next attempt is that much later; `chance` is in [0, 1)."""
    # Powers beyond this are longer than any limit, and at some point no float.
    whole = min(first * 2.0 ** min(failures - 1, 60), longest)
    return whole * (1.0 - chance / 2.0)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """What `Retry-After` asks for: seconds or an HTTP date; None where it says nothing that can be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        # More digits than any wait has.
        return min(float(text[:12]), LONGEST_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)
