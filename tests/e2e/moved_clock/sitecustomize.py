"""Imported by every Python that finds it: moves the machine's clock by the seconds that a file says, whenever asked.

It is put into the process, for libfaketime breaks the sleep of Python 3.11. The monotonic clock is left, as it is by a
machine whose clock is set.
"""

import os
import time
from pathlib import Path

_time_ns = time.time_ns


def _move(file: Path) -> None:
    def moved_ns() -> int:
        return _time_ns() + int(float(file.read_text()) * 1e9)

    time.time_ns = moved_ns
    time.time = lambda: moved_ns() / 1e9


if "MOVED_CLOCK" in os.environ:
    _move(Path(os.environ["MOVED_CLOCK"]))
