"""Memory over time: a sample a second, and whether it grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import psutil
from scipy import stats

_WINDOWS = 20


@dataclass(slots=True)
class Samples:
    """RSS of processes together, in bytes, with the seconds since the start of the sampling."""

    processes: Callable[[], Sequence[int]]
    every: float = 1.0
    taken: list[tuple[float, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Samples:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while True:
            found = sum(psutil.Process(pid).memory_info().rss for pid in self.processes())
            self.taken.append((time.monotonic() - began, found))
            if self._stop.wait(self.every):
                return


@dataclass(frozen=True, slots=True)
class Growth:
    """Megabytes a minute, with a 95 % interval; megabytes at most, and by window, from the begin to the end."""

    slope: float
    low: float
    high: float
    most: float
    windows: tuple[float, ...]


def growth(samples: Sequence[tuple[float, int]], after: float) -> Growth:
    """Of the samples from `after` (seconds) on: a straight line through medians of up to 20 windows.

    Neighbouring samples resemble each other; medians of windows do so much less, so that the interval is honest.
    """
    rows = np.array([row for row in samples if row[0] >= after], dtype=np.float64)
    windows = np.array_split(rows, min(_WINDOWS, max(3, len(rows) // 3)))
    minutes = np.array([np.median(window[:, 0]) for window in windows]) / 60
    megabytes = np.array([np.median(window[:, 1]) for window in windows]) / 1e6
    line = stats.linregress(minutes, megabytes)
    half = float(stats.t.ppf(0.975, len(windows) - 2) * line.stderr)
    slope = float(line.slope)
    return Growth(slope, slope - half, slope + half, float(rows[:, 1].max()) / 1e6, tuple(megabytes.tolist()))
