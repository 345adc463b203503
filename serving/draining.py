"""How a worker ends: it says that it does, answers for a while, lets what is under way end, and is gone in time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import bentoml

logger = logging.getLogger("bentoml.twin")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
FORCED = 1
# A supervisor that tells all of its processes tells a worker twice: itself, and by the one that started it.
_ONE_WORD_SECONDS = 2.0


class Drain:
    """`begun` as soon as this process was told to end."""

    def __init__(self) -> None:
        self.begun = False
        self._told_at = 0.0
        self._end: Callable[[int, FrameType | None], Any] | None = None
        self._seconds = 0.0
        self._most_seconds = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def take_over(self, seconds: float, most_seconds: float) -> None:
        """Stand before the server's own handlers, which close sockets at once. To be called on the loop, in a worker.

        Requests are answered for `seconds` after the first signal; `most_seconds` later the process is gone, whatever
        hangs. A second signal ends it at once, if it is not the first one told twice. Outside of a worker nothing is
        done.
        """
        end = signal.getsignal(signal.SIGTERM)
        if bentoml.server_context.worker_index is None or not callable(end):
            return
        self._end, self._seconds, self._most_seconds = end, seconds, most_seconds
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            signal.signal(number, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        if self.begun:
            if time.monotonic() - self._told_at < _ONE_WORD_SECONDS:
                return
            # What was acknowledged is durable.
            os._exit(FORCED)
        self.begun, self._told_at = True, time.monotonic()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        logger.info("the service ends: it is not ready any more, and answers for %g seconds", self._seconds)
        gone = threading.Timer(self._seconds + self._most_seconds, _give_up)
        gone.daemon = True
        gone.start()
        if self._loop is not None and self._end is not None:
            self._loop.call_later(self._seconds, self._end, number, None)


def _give_up() -> None:
    logger.error("something hangs: the service ends without it; what was acknowledged is durable")
    os._exit(FORCED)


# Of this process, which has one server.
DRAIN = Drain()
