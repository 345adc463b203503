"""Group commit: appends that wait at the same time share one transaction, and so one wait for the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from pipelines.events.journal import Appended, EncodedEvent, JournalUnavailable


@dataclass(frozen=True, slots=True)
class _Waiting:
    events: Sequence[EncodedEvent]
    answer: Future[list[Appended]] = field(default_factory=Future)


class GroupCommit:
    """One thread that stores whatever has queued up while it stored the last group."""

    def __init__(self, store: Callable[[Sequence[EncodedEvent]], list[Appended]], most_events: int = 10_000) -> None:
        """`store` writes a group in one durable transaction, all or nothing; a group ends once it has `most_events`."""
        self._store = store
        self._most_events = most_events
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._closed = False
        # A daemon, so that a program that ends without `close` ends: nothing it waits for is acknowledged.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def submit(self, events: Sequence[EncodedEvent]) -> Future[list[Appended]]:
        """Queue events; the future has the answer, in their order, once they are durable."""
        waiting = _Waiting(events)
        with self._closing:
            if self._closed:
                raise JournalUnavailable("the journal is closed")
            self._queue.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Store what is queued, then end the thread."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next_group()
            # From here on `cancel` has no effect, so that every answer finds its future waiting.
            self._settle([waiting for waiting in group if waiting.answer.set_running_or_notify_cancel()])

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """The waiting appends, at least one, and whether they are the last ones."""
        group: list[_Waiting] = []
        size = 0
        waiting = self._queue.get()
        while waiting is not None:
            group.append(waiting)
            size += len(waiting.events)
            if size >= self._most_events:
                return group, False
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _settle(self, group: list[_Waiting]) -> None:
        if not group:
            return
        try:
            answers = self._store([event for waiting in group for event in waiting.events])
        except BaseException as error:  # noqa: BLE001 (it is the callers', who wait for it)
            for waiting in group:
                waiting.answer.set_exception(error)
            return
        begin = 0
        for waiting in group:
            end = begin + len(waiting.events)
            waiting.answer.set_result(answers[begin:end])
            begin = end
