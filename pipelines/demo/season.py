"""The calendar's pull on ordering: weekday, payday, month, Songkran, 11.11 and 12.12. Known to everyone."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

_WEEKDAY = (0.92, 0.90, 0.94, 0.97, 1.08, 1.14, 1.05)
_MONTH = (0.95, 0.93, 1.0, 1.04, 0.96, 0.97, 1.0, 0.98, 0.97, 1.0, 1.1, 1.2)
_SALES = {(11, 11): 2.4, (11, 10): 0.8, (12, 12): 2.2, (9, 9): 1.5, (6, 6): 1.4}
_PAYDAY_FROM, _PAYDAY = 25, 1.12
_BEFORE_SONGKRAN, _SONGKRAN = 1.35, 0.65


def factor(day: date) -> float:
    """What a day multiplies the rates of ordering and browsing by; about 1 on average."""
    songkran = 1.0
    if day.month == 4 and 8 <= day.day <= 12:
        songkran = _BEFORE_SONGKRAN
    elif day.month == 4 and 13 <= day.day <= 16:
        songkran = _SONGKRAN
    payday = _PAYDAY if day.day >= _PAYDAY_FROM else 1.0
    return _WEEKDAY[day.weekday()] * _MONTH[day.month - 1] * _SALES.get((day.month, day.day), 1.0) * songkran * payday


def factors(start: date, days: int) -> NDArray[np.float64]:
    """`factor` of each of `days` days from `start`; shape (days,)."""
    return np.array([factor(start + timedelta(days=index)) for index in range(days)])
