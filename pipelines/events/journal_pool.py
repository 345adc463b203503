"""Connections kept open for whoever needs one next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from pipelines.events.journal import JournalUnavailable


class Closable(Protocol):
    """A connection."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class ConnectionPool(Generic[C]):
    """At most `most` connections at a time, opened when needed; one that saw an error is never used again."""

    def __init__(self, connect: Callable[[], C], most: int = 8) -> None:
        self._connect = connect
        self._idle: deque[C] = deque()
        self._places = threading.BoundedSemaphore(most)
        self._closed = False

    @contextmanager
    def taken(self) -> Iterator[C]:
        """A connection for the caller alone. Raises what opening one raises."""
        with self._places:
            if self._closed:
                raise JournalUnavailable("the journal is closed")
            connection = self._from_idle() or self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                # What broke one (a server that went away) has most likely broken all.
                self._close_idle()
                raise
            self._idle.append(connection)
            if self._closed:
                self._close_idle()

    def close(self) -> None:
        """Close all; those in use when their users are done."""
        self._closed = True
        self._close_idle()

    def _from_idle(self) -> C | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _close_idle(self) -> None:
        while (connection := self._from_idle()) is not None:
            connection.close()
