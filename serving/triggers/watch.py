"""The thread that looks at whom events set something off for. The journal is its queue.

Kept is up to which position events were looked at. So nothing that was acknowledged is missed, whatever dies when, and
nothing has to be written beside an event, nor can a queue be full: an event only wakes the thread. One process of a
workspace at a time looks, under a lock that the operating system frees with its process.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from feature_repo.windows import HOUR
from pipelines.events.exclusion import taking_events
from pipelines.events.journal import StoredEvent
from pipelines.identity.desk import OpenFiles
from pipelines.outbox import Outbox, Sweep
from pipelines.outbox.moved import moved, until_in_lake
from pipelines.settings import Settings
from serving.api.error_log import described
from serving.api.errors import ApiError
from serving.triggers.consult import Consultant

logger = logging.getLogger("bentoml.twin")

LOOK_EVERY_SECONDS = 0.5
_EVENTS_A_TIME = 2_000
_CUSTOMERS_A_TIME = 200
# Of the sweep, between two waits: requests want the processor too.
_CUSTOMERS_A_ROUND = 100
_NEXT = "SELECT DISTINCT customer_id FROM identity_nodes WHERE customer_id > ? ORDER BY customer_id LIMIT ?"
_AGAIN_AFTER_SECONDS = 10.0
_AFTER_FAILURE_SECONDS = 1.0
# Stands for a journal that was not there when the first service looked.
ANY_JOURNAL = ""
_LAST_LOOK_SECONDS = 10.0


class Watch:
    """Looks at customers of new events and at those with a trigger that is due. `woke` is called after each round."""

    def __init__(
        self,
        settings: Settings,
        consultant: Consultant,
        outbox: Outbox,
        files: Callable[[], OpenFiles | None],
        woke: Callable[[], None] = lambda: None,
    ) -> None:
        """`files` gives None while there is no journal."""
        self._settings = settings
        self._consultant = consultant
        self._outbox = outbox
        self._files = files
        self._woke = woke
        self._every = int(settings.profile.triggers.look_again_hours * HOUR)
        self._triggers = [trigger.rule.name for trigger in consultant.triggers]
        self._waking = threading.Event()
        # Set after the first whole round.
        self.looked = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="triggers", daemon=True)
        # Whose looks failed, and when to look again (on the monotonic clock).
        self._again: dict[str, float] = {}
        self._told = ""

    def start(self) -> None:
        """Look from now on. What was there before the first time that a service looked is the past, and sets off
        nothing by itself.
        """
        self._thread.start()

    def wake(self) -> None:
        """There are new events. Never waits."""
        self._waking.set()

    def close(self) -> None:
        """Let a look that goes on end."""
        self._stopping.set()
        self._waking.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_LOOK_SECONDS)

    def begin(self) -> None:
        """Before the first event is taken: events up to now are the past. Raises as the journal and the outbox."""
        files = self._files()
        self._outbox.watched(self._triggers, self._consultant.reader.begins())
        if files is None:
            # The journal that is to come has nothing but the future.
            self._outbox.note_consulted(ANY_JOURNAL, 0)
        else:
            self._consulted(files)

    def _consulted(self, files: OpenFiles) -> int:
        journal = files.journal
        known = self._outbox.consulted(journal.identity)
        if known is None:
            known = self._outbox.consulted(ANY_JOURNAL)
            known = journal.last_position() if known is None else known
            self._outbox.note_consulted(journal.identity, known)
        return known

    def round(self) -> None:
        """Look at all there is to look at now. Raises what stands in the way; another round goes on from there."""
        files = self._files()
        if files is None:
            return
        with _alone(self._settings.workspace.outbox_lock, self._stopping.is_set) as is_mine:
            if is_mine:
                while self._some_events(files) and not self._stopping.is_set():
                    pass
                while self._some_due(files) and not self._stopping.is_set():
                    pass
                for customer in list(self._again):
                    self._look(files, customer)
                self._some_of_all(files)

    def _some_events(self, files: OpenFiles) -> bool:
        """Look at the customers of the next events; whether there may be more."""
        journal = files.journal
        after, last = self._consulted(files), journal.last_position()
        if last <= after:
            return False
        events = self._next(files, after)
        for customer, position in self._customers(files, events).items():
            self._look(files, customer, lambda: files.states.take(events), position)
        # All rows up to the last position were visible before they were read; those without one are of bulk loads.
        is_all = len(events) < _EVENTS_A_TIME
        newest = events[-1].position if events else 0
        self._outbox.note_consulted(journal.identity, max(last, newest) if is_all else newest)
        return not is_all

    def _next(self, files: OpenFiles, after: int) -> Sequence[StoredEvent]:
        """The next events, wherever they are by now. A row that leaves the journal meanwhile is in the lake by then."""
        rows = files.journal.read(after, _EVENTS_A_TIME)
        if rows and rows[0].position == after + 1:
            # Rows leave in their order.
            return rows
        lake = self._settings.workspace.lake
        until = until_in_lake(lake, files.journal.identity)
        if until <= after:
            return rows
        gone = moved(lake, after, until, self._settings.sources, _EVENTS_A_TIME)
        by_position = {event.position: event for event in (*rows, *gone)}
        return [by_position[position] for position in sorted(by_position)][:_EVENTS_A_TIME]

    def _customers(self, files: OpenFiles, events: Sequence[StoredEvent]) -> dict[str, int]:
        """Whose events they are, with the newest position of each."""
        owners = [files.identity.owner(event.event) for event in events]
        if None in owners:
            # Of nobody, or whoever appended them died before that was taken in.
            with taking_events(self._settings.workspace.erasure_lock):
                files.states.take(events)
            owners = [files.identity.owner(event.event) for event in events]
        pairs = zip(owners, events, strict=True)
        return {owner.customer_id: event.position for owner, event in pairs if owner is not None}

    def _look(
        self, files: OpenFiles, customer: str, fold: Callable[[], None] = lambda: None, position: int = -1
    ) -> None:
        """One look, in which no erasure runs. What only this customer's looks die of holds up nobody else.

        `fold` brings their state up where it lacks the event at `position`, which may not count either.
        """
        if self._again.get(customer, 0.0) > time.monotonic():
            return
        self._again.pop(customer, None)
        try:
            with taking_events(self._settings.workspace.erasure_lock):
                if not self._consultant.look(customer, files.identity, position):
                    fold()
                    self._consultant.look(customer, files.identity)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            self._again[customer] = time.monotonic() + _AGAIN_AFTER_SECONDS
            logger.error("triggers of a customer cannot be looked at now: %s", described(error))

    def _some_due(self, files: OpenFiles) -> bool:
        now = self._consultant.reader.now()
        if now is None:
            return False
        due = self._outbox.due(self._triggers, now, _CUSTOMERS_A_TIME)
        for customer in due:
            self._look(files, customer)
        return len(due) == _CUSTOMERS_A_TIME and not self._again

    def _some_of_all(self, files: OpenFiles) -> bool:
        """Look at the next customers of the sweep, where it is time for one; whether it came to the last."""
        now = self._consultant.reader.now()
        if now is None:
            return True
        sweep = self._outbox.sweep()
        if sweep is None or sweep.customer_id is None:
            watched = self._outbox.watched(self._triggers, now).values()
            if sweep is not None and now < sweep.began_at + self._every and all(each.is_swept for each in watched):
                return True
            sweep = Sweep(now, "")
        customers = [row[0] for row in files.identity.rows(_NEXT, (sweep.customer_id, _CUSTOMERS_A_ROUND))]
        for customer in customers:
            self._look(files, customer)
        if len(customers) == _CUSTOMERS_A_ROUND:
            self._outbox.note_sweep(Sweep(sweep.began_at, customers[-1]))
            return False
        self._outbox.swept(sweep.began_at, self._triggers)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._waking.wait(LOOK_EVERY_SECONDS)
            self._waking.clear()
            if self._stopping.is_set():
                return
            try:
                self.round()
                self.looked.set()
                self._tell("")
            except ApiError as error:
                self._tell(error.code)
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a round died of)
                self._tell(described(error))
            self._woke()
            if self._told:
                # Whoever is away is not asked more often than requests ask.
                self._stopping.wait(_AFTER_FAILURE_SECONDS)

    def _tell(self, what: str) -> None:
        """Once for each time that something else stands in the way."""
        if what and what != self._told:
            logger.error("triggers wait; the next look goes on: %s", what)
        self._told = what


@contextmanager
def _alone(lock: Path, given_up: Callable[[], bool]) -> Iterator[bool]:
    """The lock held alone; False where it was given up to wait for it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if given_up():
                    yield False
                    return
                time.sleep(0.02)
        yield True
