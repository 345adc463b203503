"""When to send, of many customers: the hour that suits each, and the first instant that is allowed; as `candidates`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.catalogue import Action, Catalogue
from pipelines.decide_batch.features import Column
from pipelines.decisions.customer_clock import CustomerClock
from pipelines.decisions.decide_many import clocks_of
from pipelines.decisions.obstacles import when_to_send
from pipelines.decisions.send_time import BestHour

NO_HOUR = -1
NEVER = np.iinfo(np.int64).min
_HOURS = 24


@dataclass(frozen=True, slots=True)
class SendTimes:
    """Of n customers and k actions: when to send, microseconds UTC (`NEVER` where nothing is sent), and at which hour.

    send_at: int64 (n, k). hour: int8 (n, k), the hour of the customer's day that suits them, -1 where none is known of.
    """

    send_at: NDArray[np.int64]
    hour: NDArray[np.int8]


def send_times(catalogue: Catalogue, features: dict[str, Column], as_of: int, rows: int) -> SendTimes:
    """Of every action, whether it is open or not."""
    clocks, of_row = clocks_of(catalogue, features, as_of, rows)
    made = SendTimes(
        np.full((rows, len(catalogue.actions)), NEVER, dtype=np.int64),
        np.full((rows, len(catalogue.actions)), NO_HOUR, dtype=np.int8),
    )
    hours = {channel: _best_hours(catalogue, channel, features, clocks, of_row) for channel in _counted(catalogue)}
    for at, action in enumerate(catalogue.actions):
        if action.channel is None:
            continue
        hour = hours.get(action.channel)
        made.hour[:, at] = NO_HOUR if hour is None else hour
        made.send_at[:, at] = _instants(action, clocks, of_row, hour)
    return made


def _counted(catalogue: Catalogue) -> tuple[str, ...]:
    return tuple(catalogue.send_time.counts) if catalogue.send_time else ()


def _best_hours(
    catalogue: Catalogue, channel: str, features: dict[str, Column], clocks: list[CustomerClock],
    of_row: NDArray[np.int64],
) -> NDArray[np.int8]:  # fmt: skip
    """`send_time.best_hour` of every customer, without its confidence; int8 (n,)."""
    send_time = catalogue.send_time
    if send_time is None:
        raise ValueError("the catalogue has no send time")
    counts = np.stack([np.nan_to_num(features[name].astype(np.float64)) for name in send_time.counts[channel]], axis=1)
    counts = counts.astype(np.int64)
    smooth = np.roll(counts, 1, axis=1) + 2 * counts + np.roll(counts, -1, axis=1)
    shifts = np.array([(clock.offset - send_time.utc_offset) // 60_000_000 for clock in clocks], dtype=np.int64)
    hour = (smooth.argmax(axis=1) * 60 + 30 + shifts[of_row]) // 60 % _HOURS
    total = counts.sum(axis=1)
    known = (total >= send_time.at_least) & (total > 0)
    return np.where(known, hour, send_time.fallback_hour).astype(np.int8)


def _instants(
    action: Action, clocks: list[CustomerClock], of_row: NDArray[np.int64], hour: NDArray[np.int8] | None
) -> NDArray[np.int64]:
    """Few pairs of a clock and an hour stand for all customers."""
    if hour is None:
        table = np.array([_instant(action, None, clock) for clock in clocks], dtype=np.int64)
        return table[of_row]
    by_hour = np.array(
        [[_instant(action, BestHour(one, None), clock) for one in range(_HOURS)] for clock in clocks], dtype=np.int64
    )
    return by_hour[of_row, hour]


def _instant(action: Action, best: BestHour | None, clock: CustomerClock) -> int:
    found = when_to_send(action, best, clock)
    return NEVER if found is None else found
