"""The customer's own clock: time zones, quiet hours, and the first instant at which a contact may be made.

Instants are int64 microseconds UTC; minutes of a day are 0 to 1439 on the customer's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import chain
from zoneinfo import ZoneInfo

from pipelines.catalogue import QuietHours

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo | None:
    """The time zone of that IANA name; None where there is none, as a client may send any text."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def customer_zone(said: object, otherwise: str) -> ZoneInfo:
    """The zone that the customer said, else the catalogue's.

    Raises:
        ValueError: the catalogue's zone is none.
    """
    zone = (zone_named(said) if isinstance(said, str) else None) or zone_named(otherwise)
    if zone is None:
        raise ValueError(f"no time zone is called {otherwise!r}")
    return zone


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """Microseconds that the zone is east of UTC at an instant."""
    offset = datetime.fromtimestamp(instant // SECOND, zone).utcoffset()
    return 0 if offset is None else (offset.days * 86_400 + offset.seconds) * SECOND


def is_quiet(quiet: QuietHours, minute: int) -> bool:
    """Whether a minute of the day is within quiet hours; there are none where they end as they begin."""
    if quiet.begins <= quiet.ends:
        return quiet.begins <= minute < quiet.ends
    return minute >= quiet.begins or minute < quiet.ends


@dataclass(frozen=True, slots=True)
class CustomerClock:
    """The customer's clock in the 24 hours from `as_of` on, `offset` microseconds east of UTC when they begin.

    `is_changed` is whether it is put forward or back within them.
    """

    zone: ZoneInfo
    as_of: int
    offset: int
    is_changed: bool

    def minute_of_day(self, instant: int) -> int:
        """The minute of the day, 0 to 1439, that the clock shows at an instant of these hours."""
        offset = offset_at(self.zone, instant) if self.is_changed else self.offset
        return (instant + offset) % DAY // MINUTE

    def first_allowed(self, until: int, hour: int | None, quiet: QuietHours | None) -> int | None:
        """When to contact: the first instant before `until`, in the customer's `hour` and outside quiet hours.

        Where no such instant is, or no hour is known, the first one outside quiet hours; None where there is none
        either. Instants are `as_of` and the beginnings of minutes after it, for at most 24 hours.
        """
        first: int | None = None
        for instant in self._instants(hour, quiet):
            if instant >= until:
                break
            minute = self.minute_of_day(instant)
            if quiet is not None and is_quiet(quiet, minute):
                continue
            if hour is None or minute // 60 == hour:
                return instant
            if first is None:
                first = instant
        return first

    def _instants(self, hour: int | None, quiet: QuietHours | None) -> Iterable[int]:
        """Instants, in order, among which the first allowed one is."""
        local = (self.as_of + self.offset) % DAY
        if self.is_changed:
            begins = self.as_of - local % MINUTE
            return chain((self.as_of,), range(begins + MINUTE, self.as_of + DAY, MINUTE))
        # What is not allowed becomes allowed only where the hour begins or quiet hours end.
        found = [self.as_of]
        if hour is not None:
            found.append(self.as_of + (hour * HOUR - local) % DAY)
        if quiet is not None:
            found.append(self.as_of + (quiet.ends * MINUTE - local) % DAY)
        found.sort()
        return found


def clock_of(zone: ZoneInfo, as_of: int) -> CustomerClock:
    """The clock of a customer in that zone."""
    offset = offset_at(zone, as_of)
    return CustomerClock(zone, as_of, offset, offset != offset_at(zone, as_of + DAY))
