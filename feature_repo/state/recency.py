"""What is kept by when it was last so: values of distinct counts, active days, the newest values.

A window ends at the as-of instant, so whoever is in it is newer than whoever is not: of each kind only
the newest up to a cap have to be kept, for a window that held an older one would hold the cap already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from feature_repo.quotients import deviation

Key = TypeVar("Key", str, int)
Item = str | int


def keep_latest(latest: dict[Key, int], keys: Iterable[Key], at: int, cap: int) -> None:
    """Note that each of `keys` was seen at `at`; the `cap` seen last are kept."""
    for key in keys:
        known = latest.get(key)
        if known is None or known < at:
            latest[key] = at
    if len(latest) > cap:
        kept = sorted(latest.items(), key=lambda item: (item[1], item[0]), reverse=True)[:cap]
        latest.clear()
        latest.update(kept)


def keep_newest(newest: list[tuple[int, Any]], items: Iterable[Item], at: int, cap: int) -> None:
    """Put values of one instant among the newest, which stand in descending order; `cap` are kept."""
    newest.extend((at, item) for item in items)
    newest.sort(reverse=True)
    del newest[cap:]


def count_since(latest: Mapping[Any, int], start: int) -> int:
    """How many were seen at `start` or later."""
    # A comparison bound to its left side: half the time of a generator.
    return sum(map(start.__le__, latest.values()))


def top_since(newest: Sequence[tuple[int, Any]], start: int) -> Item | None:
    """The most frequent value from `start` on; of several the one seen last, then the greatest."""
    times: Counter[Item] = Counter()
    seen: dict[Item, int] = {}
    for at, item in newest:
        if at < start:
            break
        times[item] += 1
        seen.setdefault(item, at)
    return max(times, key=lambda item: (times[item], seen[item], item), default=None)


def latest_since(newest: Sequence[tuple[int, Any]], start: int) -> Item | None:
    """The newest value from `start` on; of several of one instant the greatest."""
    return newest[0][1] if newest and newest[0][0] >= start else None


def days_since(days: Mapping[int, int], start: int) -> list[int]:
    """Numbers of the days with an event at `start` or later, ascending; `days` map a day to its last event."""
    return sorted(day for day, last in days.items() if last >= start)


def streaks(days: Sequence[int], today: int) -> tuple[int, int]:
    """Length of the run of consecutive days that reaches today or yesterday (else 0), and of the longest run."""
    longest = run = 0
    previous: int | None = None
    for day in days:
        run = run + 1 if previous == day - 1 else 1
        longest = max(longest, run)
        previous = day
    current = run if previous is not None and previous >= today - 1 else 0
    return current, longest


def deviation_between(days: Sequence[int]) -> float | None:
    """Sample standard deviation of the days between one active day and the next; empty below two gaps."""
    gaps = [later - earlier for earlier, later in pairwise(days)]
    return deviation(len(gaps), sum(gaps), sum(gap * gap for gap in gaps))
