"""States that follow the journal: what it holds of a customer is folded into that customer's state.

A state says up to which position it has a customer's events, and positions become visible in their order.
So whoever folds a customer reads all that came after the state's position, those of others included, and
two that do so at once write states of which the later one holds all that the earlier one does.

Which events are a customer's changes too, with every link between identifiers and with consent. A state
says at which revision of that it was made; where identifiers only came on top, their events are folded on
top, else the state is made anew from all events.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from feature_repo.spec import FeatureSpec
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import Progress, StatesLost, StateStorage, StoredState, grave, stored_state
from feature_repo.state.tiles import LoggedEvent, fold_more
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import Journal, StoredEvent
from pipelines.events.state_builds import last_build
from pipelines.events.state_lock import StatesBusy, release, share
from pipelines.identity.catch_up import catch_up
from pipelines.identity.store import IdentityStore

__all__ = ["LiveStates", "StatesBusy", "building"]

_ROWS_A_PAGE = 5_000
# Each time, somebody else changed a customer meanwhile.
_ATTEMPTS = 20


class LiveStates:
    """States of one spec over one journal. Thread-safe; several processes may each have one."""

    def __init__(
        self,
        spec: FeatureSpec,
        storage: StateStorage,
        journal: Journal,
        identity: IdentityStore,
        log: CustomerLog,
        lock: Path,
        builds: Path | None = None,
    ) -> None:
        """`lock` is the file that keeps bulk builds and this apart (see `building`); `builds` names them."""
        self._hash = spec.hash
        self._plan = plan_state(spec)
        self._storage = storage
        self._journal = journal
        self._identity = identity
        self._log = log
        self._folding = threading.Lock()
        self._builds = builds
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._file = lock.open("a")

    @property
    def built(self) -> bool:
        """Whether the states hold all that left the journal, and go back to the last build. Raises StateUnavailable."""
        noted = self._storage.noted(self._hash)
        return noted is not None and self._is_whole(self._hash, noted)

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Fold events that are in the journal, and whatever they change about whose events are whose.

        Raises StatesBusy, StateUnavailable, JournalUnavailable, EncryptionKeyMissing and sqlite3.Error. Repeating it
        is safe.
        """
        self.update([*self._identity.apply(events), *self._owners(events)])

    def leave(self, events: Sequence[StoredEvent]) -> bool:
        """Leave events to the build that is to come, but for what they say of whose events are whose.

        False where states were built by now, which these events may have missed. Raises as `take`.
        """
        self._identity.apply(events)
        with self._folding, self._no_build():
            return not self.built

    def update(self, customers: Iterable[str]) -> None:
        """Bring the states of `customers` up to the journal and to the identity store. Raises as `take`."""
        wanted = list(dict.fromkeys(customers))
        with self._folding, self._no_build():
            for _ in range(_ATTEMPTS):
                wanted = self._update(wanted)
                if not wanted:
                    return
        raise StatesBusy

    def follow_identity(self) -> None:
        """Take into the identity store whatever lake and journal hold and it lacks. Raises as `take`."""
        catch_up(self._identity, self._log.lake, self._journal)

    def catch_up(self) -> int:
        """Fold all that the journal holds and states lack; how many customers had something.

        That makes states whole again whose store came back as it was a while ago. Raises as `take`, and StatesLost
        where they lack what is in the lake alone: they have to be built.
        """
        mending = copy(self)
        mending._storage = self._storage.as_found()
        return mending._catch_up()

    def _catch_up(self) -> int:
        life = self._storage.begin(self._hash)
        self.follow_identity()
        version, _ = self._identity.head()
        until = self._journal.last_position()
        noted = self._storage.noted(self._hash)
        if not (noted is not None and self._is_whole(self._hash, noted)) and self._has_history():
            raise StatesLost("states lack events that are in the lake alone; build them: twin state build")
        changed = set(self._changed_since(0 if noted is None else noted.version))
        self.update(changed)
        after = 0
        while rows := self._journal.read(after, _ROWS_A_PAGE):
            after = rows[-1].position
            behind = self._behind(rows, self._hash)
            self.update(behind)
            changed |= set(behind)
        self._storage.note(self._hash, until, version, life)
        return len(changed)

    def _is_whole(self, spec: str, noted: Progress) -> bool:
        build = last_build(self._builds, spec) if self._builds is not None else None
        return build in (None, noted.build) and noted.position >= self._left_the_journal()

    def _left_the_journal(self) -> int:
        """The position up to which events may be in the lake alone."""
        if not (self._log.lake / "_delta_log").exists():
            return 0
        # Engines that take long to import: for whom there is a lake.
        from deltalake import DeltaTable

        from pipelines.events.compaction import watermark

        return watermark(DeltaTable(str(self._log.lake)), self._journal.identity)

    def _has_history(self) -> bool:
        if not (self._log.lake / "_delta_log").exists():
            return False
        from pipelines.events.lake import last_position

        return last_position(self._log.lake) > 0

    def others_behind(self, until: int) -> list[str]:
        """Hashes of other specs whose states lack an event up to position `until` that the journal holds."""
        return [spec for spec in self._others() if self._is_behind(spec, until)]

    def note_others(self, until: int) -> None:
        """Keep that the states of the other specs have all up to `until`, as `others_behind` found."""
        for spec in self._others():
            noted = self._storage.noted(spec)
            if noted is not None and self._is_whole(spec, noted):
                self._storage.note(spec, until, noted.version, self._storage.begin(spec))

    def drop_others(self) -> None:
        """Remove the states of all other specs."""
        for spec in self._others():
            self._storage.remove_spec(spec)

    def _others(self) -> list[str]:
        return [spec for spec in self._storage.spec_hashes() if spec != self._hash]

    def _is_behind(self, spec: str, until: int) -> bool:
        after = 0
        while after < until and (rows := self._journal.read(after, _ROWS_A_PAGE)):
            after = rows[-1].position
            if self._behind([row for row in rows if row.position <= until], spec):
                return True
        return False

    def close(self) -> None:
        self._file.close()

    def _changed_since(self, version: int) -> list[str]:
        rows = self._identity.rows(
            "SELECT customer_id, revision FROM identity_customers WHERE revision > ?", (version,)
        )
        known = self._storage.get_many(self._hash, [customer for customer, _ in rows])
        return [who for who, revision in rows if who not in known or known[who].revision != revision]

    def _behind(self, rows: Sequence[StoredEvent], spec: str) -> list[str]:
        """Customers whose states of `spec` lack one of `rows` that counts."""
        counting = ((self._log.counts_for(row), row.position) for row in rows)
        last = {customer: position for customer, position in counting if customer is not None}
        known = self._storage.as_found().get_many(spec, list(last))
        return [who for who, position in last.items() if who not in known or known[who].position < position]

    def _owners(self, events: Iterable[StoredEvent]) -> list[str]:
        found = (self._identity.owner(stored.event) for stored in events)
        return [owner.customer_id for owner in found if owner is not None]

    def _update(self, customers: Sequence[str]) -> list[str]:
        """Those who have to be done again: somebody changed them meanwhile."""
        revisions = self._identity.revisions(customers)
        known = self._storage.get_many(self._hash, customers)
        # Nearly all: nothing came on top but new events, which are read for all of them at once.
        plain = {who: s for who, s in known.items() if s.data and s.revision == revisions[who]}
        fresh = self._log.after({who: state.position for who, state in plain.items()}) if plain else {}
        made: list[StoredState | None] = [self._folded(plain[who], events) for who, events in fresh.items()]
        for who in customers:
            if who not in plain:
                made.append(self._made(who, known.get(who), revisions[who]))
        # What belongs to a customer must not have changed while their events were read.
        now = self._identity.revisions(customers)
        again = [who for who in customers if now[who] != revisions[who]]
        changed = [state for state in made if state is not None and state.customer_id not in again]
        return again + (self._storage.put_many(self._hash, changed) if changed else [])

    def _folded(self, state: StoredState, events: Sequence[LoggedEvent]) -> StoredState:
        return stored_state(state.customer_id, fold_more(self._plan, state.data, events), state.revision)

    def _made(self, customer: str, state: StoredState | None, revision: int) -> StoredState | None:
        """The state of a customer whose events are others now; None where there is nothing to keep."""
        added = self._identity.added_since(customer, state.revision) if state and state.data else None
        if state is not None and added is not None:
            events = self._log.joined(customer, state.position, added)
            return stored_state(customer, fold_more(self._plan, state.data, events), revision)
        events = self._log.everything(customer)
        if events:
            return stored_state(customer, fold_more(self._plan, None, events), revision)
        return None if state is None else grave(customer, state.position, revision)

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
