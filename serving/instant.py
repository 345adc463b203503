"""The instant of an answer where the machine's clock has stepped back behind what has arrived.

Everything that was acknowledged counts in the next answer, so that one is as of the clock or, where that is later, just
after the customer's newest arrival. A clock that lags by more than a day is wrong: then there is no answer.
"""

from __future__ import annotations

from serving.api.errors import ApiError, ErrorDetail

CLOCK_MAY_LAG = 24 * 3_600_000_000
"""Microseconds."""


def check_instant(as_of: int, now: int) -> int:
    """`as_of`; all int64 microseconds UTC. Raises ApiError (503) where it is too far ahead of the clock `now`."""
    if as_of - now <= CLOCK_MAY_LAG:
        return as_of
    detail = ErrorDetail(
        field="clock",
        expected="an instant at most a day before the newest arrival",
        got="an earlier one",
        hint="check the machine's clock, and `clock` in the profile",
    )
    raise ApiError(503, "state_ahead", "the state of customers is ahead of the clock", [detail])


def after(newest: int | None, now: int) -> int:
    """`now`, or just after `newest` where the clock has stepped back behind it."""
    return newest + 1 if newest is not None and 0 <= newest - now <= CLOCK_MAY_LAG else now
