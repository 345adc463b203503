"""When an event happened, by our clock. All instants are int64 microseconds UTC."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Happened:
    """An event's time; whether it was corrected by the client's clock error, and clamped to the arrival."""

    at: int
    corrected: bool
    ahead: bool


def happened(timestamp: int | None, sent_at: int | None, received_at: int, threshold: int) -> Happened:
    """The time of an event that says `timestamp`, in a call that says `sent_at` and came at `received_at`.

    Both are of one clock. Where that clock is off by more than `threshold`, its error is taken off;
    below it, the difference is mostly the way here. An event without a time happened when it was
    sent. What lies ahead of `received_at` then is moved there (`ahead`).
    """
    said = sent_at if timestamp is None else timestamp
    if said is None:
        return Happened(received_at, False, False)
    error = 0 if sent_at is None else received_at - sent_at
    corrected = abs(error) > threshold
    at = said + error if corrected else said
    return Happened(min(at, received_at), corrected, at > received_at)
