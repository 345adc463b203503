"""The way of a decision from the ledger into the journal, and of those that somebody died over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipelines.decisions.ledger import Ledger
from pipelines.events.journal import NewEvent
from pipelines.identity.desk import OpenFiles

_EVENTS_A_TIME = 500


class Outbox:
    """Appends events of the ledger to the journal, each once: its key is known there for ever. Thread-safe."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        # What a process that died has left is looked for once, and again after each failure.
        self._may_be_left = True

    def keep(self, files: OpenFiles, event: NewEvent) -> None:
        """Into the journal and the customer's state; when this returns, both have it. Raises as `OpenFiles.keep`."""
        try:
            files.keep([event])
        except BaseException:
            self._may_be_left = True
            raise
        self._ledger.journaled([event.event_id])

    def take_up(self, files: OpenFiles, arrives_at: int | None) -> int:
        """Append what may have been left; how many events. `arrives_at`: they were not there before that instant.

        Cheap where there cannot be any. Raises as `OpenFiles.keep`, and LedgerUnavailable.
        """
        if not self._may_be_left:
            return 0
        # Before the look: what fails from here on is looked for again.
        self._may_be_left = False
        count = 0
        try:
            while left := self._left():
                files.keep([event if arrives_at is None else _arrived(event, arrives_at) for event in left])
                self._ledger.journaled([event.event_id for event in left])
                self._ledger.settle()
                count += len(left)
        except BaseException:
            self._may_be_left = True
            raise
        return count

    def _left(self) -> Sequence[NewEvent]:
        return self._ledger.waiting(_EVENTS_A_TIME)


def _arrived(event: NewEvent, at: int) -> NewEvent:
    """Nobody could see it before it is appended."""
    return replace(event, available_at=max(event.available_at, at))
