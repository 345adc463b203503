"""Bangkok's clock: days begin at 00:00 local time, UTC+7 all year. Instants are int64 microseconds UTC."""

from __future__ import annotations

from datetime import date
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feature_repo.windows import DAY, HOUR, MINUTE, SECOND

__all__ = ["DAY", "HOUR", "MINUTE", "OFFSET", "SECOND", "day_start", "hours", "instants", "local", "utc"]

OFFSET = 7 * HOUR
_EPOCH = date(1970, 1, 1)
# Noon and evening, when people shop: weight, mean hour and its spread.
_NOON, _NOON_SPREAD, _EVENING, _EVENING_SPREAD, _EVENING_SHARE = 12.5, 1.8, 19.3, 1.6, 0.6


def day_start(day: date) -> int:
    """The instant at which a day begins in Bangkok."""
    return (day - _EPOCH).days * DAY - OFFSET


def hours(rng: np.random.Generator, count: int, opens: float = 7.1, closes: float = 22.8) -> NDArray[np.int64]:
    """Times of day as microseconds after midnight, around noon and evening, never outside the hours given.

    No order falls before 07:00, so that a day of UTC and a day of Bangkok hold the same orders.
    """
    evening = rng.random(count) < _EVENING_SHARE
    centre, spread = np.where(evening, _EVENING, _NOON), np.where(evening, _EVENING_SPREAD, _NOON_SPREAD)
    return (np.clip(rng.normal(centre, spread), opens, closes) * HOUR).astype(np.int64)


def instants(values: NDArray[np.int64]) -> pa.Array:
    """Microseconds as Arrow timestamps, UTC."""
    return pa.array(np.asarray(values, dtype=np.int64)).cast(pa.timestamp("us", tz="UTC"))


def utc(values: NDArray[np.int64], unit: Literal["s", "ms"] = "ms") -> list[str]:
    """ISO text in UTC without an offset, such as `2025-03-01T02:03:04.123`."""
    moments: NDArray[np.datetime64] = np.asarray(values, dtype=np.int64).astype("datetime64[us]")
    return [str(text) for text in np.datetime_as_string(moments, unit=unit)]


def local(values: NDArray[np.int64], unit: Literal["s", "ms"] = "s") -> list[str]:
    """ISO text of Bangkok's clock without an offset."""
    return utc(np.asarray(values, dtype=np.int64) + OFFSET, unit)
