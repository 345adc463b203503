"""The window rule, stated once.

A window of length W read at an as-of instant covers `[floor(as_of - W, hop(W)), as_of)`: its start
is floored to a hop that grows with W, its end is strict. All times are int64 microseconds UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY}
_LABEL = re.compile(r"^([1-9][0-9]{0,4})([mhd])$")
LIFETIME_LABEL = "lifetime"
SHORTEST = 5 * MINUTE
LONGEST = 3660 * DAY


@dataclass(frozen=True, slots=True)
class Window:
    """A window by its label (`7d`, `lifetime`); `length` in microseconds, None for lifetime."""

    label: str
    length: int | None

    @property
    def hop(self) -> int | None:
        """Width in microseconds of the tiles the window's start is floored to; None for lifetime."""
        return None if self.length is None else hop(self.length)

    def start(self, as_of: int) -> int | None:
        """First instant the window covers at `as_of` (inclusive); None where it has no beginning."""
        return None if self.length is None else floor(as_of - self.length, hop(self.length))


LIFETIME = Window(LIFETIME_LABEL, None)


def hop(length: int) -> int:
    """5 minutes for windows under 12 hours, 1 hour for windows under 12 days, else 1 day."""
    if length < 12 * HOUR:
        return 5 * MINUTE
    if length < 12 * DAY:
        return HOUR
    return DAY


def floor(instant: int, width: int) -> int:
    """The latest multiple of `width` not after `instant` (also before 1970)."""
    return instant // width * width


def day_of(instant: int, utc_offset: int = 0) -> int:
    """Number of the day since 1970 that `instant` falls in, on clocks that are `utc_offset` (microseconds) ahead."""
    return (instant + utc_offset) // DAY


def parse_window(label: str) -> Window:
    """Read `5m`, `12h`, `30d` or `lifetime`.

    Raises:
        ValueError: the label is of another form, or outside 5 minutes to 3660 days.
    """
    if label == LIFETIME_LABEL:
        return LIFETIME
    match = _LABEL.match(label)
    if match is None:
        raise ValueError("a window such as 5m, 12h, 30d or lifetime")
    length = int(match[1]) * _UNITS[match[2]]
    if not SHORTEST <= length <= LONGEST:
        raise ValueError("a window between 5m and 3660d, or lifetime")
    return Window(label, length)
