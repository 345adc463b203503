"""Work in threads beside the event loop, counted until it has really ended.

A request whose time is up is answered at once, but what its thread does cannot be stopped: until it ends it takes the
place of another call, and operators see how much of it there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from serving.observing.measures import gauge
from serving.observing.tally import Gauge

Result = TypeVar("Result")


class OffLoop:
    """A pool of threads; `name` is of the threads."""

    def __init__(self, threads: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._waiting: set[Future[Any]] = set()
        self._abandoned: set[Future[Any]] = set()
        gauge(Gauge("twin_calls_in_threads", "Calls that a thread works on or has still to.", lambda: self.waiting))
        gauge(
            Gauge(
                "twin_calls_abandoned",
                "Those of them that nobody waits for any more, such as after a 504.",
                lambda: len(self._abandoned),
            )
        )

    @property
    def waiting(self) -> int:
        """Calls that have not ended."""
        return len(self._waiting)

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, from a thread, with the context of this request. Raises as it."""
        future = self._pool.submit(copy_context().run, work)
        # Sets, for adding to and taking from them is atomic.
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._abandoned.add(future)
            future.add_done_callback(self._abandoned.discard)
            raise

    def close(self) -> None:
        """Let what runs end."""
        self._pool.shutdown()
