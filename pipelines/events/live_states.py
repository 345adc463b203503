"""States that follow the journal: what it holds of a customer is folded into that customer's state.

A state says up to which position it has a customer's events, and positions become visible in their order.
So whoever folds a customer reads all that came after the state's position, those of others included, and
two that do so at once write states of which the later one holds all that the earlier one does.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_repo.spec import FeatureSpec
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StateStorage, stored_state
from feature_repo.state.tiles import LoggedEvent, fold
from pipelines.events.journal import Journal, StoredEvent
from pipelines.events.state_lock import StatesBusy, release, share

__all__ = ["LiveStates", "StatesBusy", "building", "logged"]

_ROWS_A_PAGE = 5_000


class LiveStates:
    """States of one spec over one journal. Thread-safe; several processes may each have one."""

    def __init__(self, spec: FeatureSpec, storage: StateStorage, journal: Journal, lock: Path) -> None:
        """`lock` is the file that keeps bulk builds and this apart (see `building`)."""
        self._hash = spec.hash
        self._plan = plan_state(spec)
        self._storage = storage
        self._journal = journal
        self._folding = threading.Lock()
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._file = lock.open("a")

    @property
    def built(self) -> bool:
        """Whether there are states that history was folded into."""
        return self._storage.newest(self._hash) is not None

    def update(self, customers: Iterable[str]) -> None:
        """Fold what the journal holds of `customers` and their states lack.

        Raises StatesBusy, JournalUnavailable and sqlite3.Error.
        """
        wanted = list(dict.fromkeys(customers))
        with self._folding, self._no_build():
            self._update(wanted)

    def catch_up(self) -> int:
        """Fold all that the journal holds and states lack; how many customers had something. Raises as `update`."""
        changed = after = 0
        while rows := self._journal.read(after, _ROWS_A_PAGE):
            after = rows[-1].position
            last = {row.event.user_id: row.position for row in rows if row.event.user_id is not None}
            known = self._storage.get_many(self._hash, list(last))
            behind = [who for who, position in last.items() if who not in known or known[who].position < position]
            self.update(behind)
            changed += len(behind)
        return changed

    def others_behind(self, until: int) -> list[str]:
        """Hashes of other specs whose states lack an event up to position `until` that the journal holds."""
        others = [spec for spec in self._storage.spec_hashes() if spec != self._hash]
        return [spec for spec in others if self._is_behind(spec, until)]

    def drop_others(self) -> None:
        """Remove the states of all other specs."""
        for spec in self._storage.spec_hashes():
            if spec != self._hash:
                self._storage.remove_spec(spec)

    def _is_behind(self, spec: str, until: int) -> bool:
        after = 0
        while after < until and (rows := self._journal.read(after, _ROWS_A_PAGE)):
            after = rows[-1].position
            last = {r.event.user_id: r.position for r in rows if r.event.user_id is not None and r.position <= until}
            known = self._storage.get_many(spec, list(last))
            if any(who not in known or known[who].position < position for who, position in last.items()):
                return True
        return False

    def close(self) -> None:
        self._file.close()

    def _update(self, customers: list[str]) -> None:
        known = self._storage.get_many(self._hash, customers)
        changed = []
        for customer in customers:
            state = known.get(customer)
            events = self._journal.read_customer(customer, state.position if state else 0)
            if events:
                data = fold(self._plan, state.data if state else None, map(logged, events))
                changed.append(stored_state(customer, data))
        if changed:
            self._storage.put_many(self._hash, changed)

    @contextmanager
    def _no_build(self) -> Iterator[None]:
        share(self._file)
        try:
            yield
        finally:
            release(self._file)


@contextmanager
def building(lock: Path) -> Iterator[None]:
    """Keep live events out of the states while they are built; waits for folds that run."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def logged(stored: StoredEvent) -> LoggedEvent:
    """The part of an event that states read."""
    event = stored.event
    return LoggedEvent(
        stored.position,
        event.event,
        event.event_time,
        event.available_at,
        event.channel,
        event.value,
        event.properties,
    )
