"""States that follow the journal: what it holds of a customer is folded into that customer's states.

A state says up to which position it has a customer's events, and positions become visible in their order.
So whoever folds a customer reads all that came after the state's position, those of others included, and
two that do so at once write states of which the later one holds all that the earlier one does.

Which events are a customer's changes too, with every link between identifiers and with consent. A state
says at which revision of that it was made; where identifiers only came on top, their events are folded on
top, else the state is made anew from all events.

States of several specs follow beside each other: all that were built. Each fold asks which those are, while
builds and removals of states wait. So states that were built meanwhile, from all events up to then, have every
later one before it is acknowledged; and none is put back into states that are being removed.

Records of moments stand in a place of their own, and are kept up in the same way, by the same reads of events.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

from feature_repo.spec import FeatureSpec
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import Progress, StatesLost, StateStorage, StoredState, grave
from feature_repo.state.tiles import LoggedEvent
from pipelines.events.customer_log import CustomerLog, Logged
from pipelines.events.folds import FeatureFold, Fold, MomentFold
from pipelines.events.journal import Journal, StoredEvent
from pipelines.events.moments import kept_of
from pipelines.events.state_builds import last_build
from pipelines.events.state_lock import StatesBusy, release, share
from pipelines.identity.catch_up import catch_up
from pipelines.identity.store import IdentityStore

__all__ = ["LiveStates", "StatesBusy", "building"]

FindSpec = Callable[[str], FeatureSpec | None]
Folds = Mapping[str, Fold]
"""By what they stand under: states by the hash of their spec, records of moments by their key."""
_ROWS_A_PAGE = 5_000
# Each time, somebody else changed a customer meanwhile.
_ATTEMPTS = 20


class LiveStates:
    """States over one journal, of every spec that was built. Thread-safe; several processes may each have one."""

    def __init__(
        self,
        spec: FeatureSpec,
        storage: StateStorage,
        journal: Journal,
        identity: IdentityStore,
        log: CustomerLog,
        lock: Path,
        builds: Path | None = None,
        find: FindSpec = lambda spec_hash: None,
        moments: StateStorage | None = None,
        moments_key: str | None = None,
    ) -> None:
        """`spec` is the current one, and `find` gives others by their hash, None where their content is not known.

        `moments` is the place for records of moments, and `moments_key` what those of now stand under in it.
        `lock` is the file that keeps bulk builds and this apart (see `building`); `builds` names them.
        """
        self._current = spec.hash
        self._known: dict[str, Fold] = {spec.hash: FeatureFold(plan_state(spec))}
        self._find = find
        self.storage = storage
        self._moments = moments
        self._moments_key = moments_key
        self._journal = journal
        self._identity = identity
        self._log = log
        self._folding = threading.Lock()
        self._builds = builds
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._file = lock.open("a")

    @property
    def built(self) -> bool:
        """Whether there are states, and all hold what left the journal and go back to their last build.

        Raises StateUnavailable.
        """
        folds = self._folds()
        return any(kept_of(key) is None for key in folds) and all(map(self._is_whole, folds))

    @property
    def can_catch_up(self) -> bool:
        """Whether all that the states may lack is in the journal. If not, they have to be built."""
        return self.built or self._log.lake_is_empty()

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
        """Bring all states of `customers` up to the journal and to the identity store. Raises as `take`."""
        self._bring_up(customers, ())

    def follow_identity(self) -> None:
        """Take into the identity store whatever lake and journal hold and it lacks. Raises as `take`."""
        catch_up(self._identity, self._log.lake, self._journal)

    def catch_up(self) -> int:
        """Fold all that the journal holds and states lack; how many customers had something.

        That makes states whole again whose store came back as it was a while ago. Where there are no states, and
        the journal holds all events there are, it makes those of the current spec. Raises as `take`, and StatesLost
        where states lack what is in the lake alone: they have to be built.
        """
        if not self._folds() and not self._log.lake_is_empty():
            self._check_never_built()
            return 0
        mending = copy(self)
        mending.storage = self.storage.as_found()
        mending._moments = None if self._moments is None else self._moments.as_found()
        return mending._catch_up()

    def _catch_up(self) -> int:
        folds = self._folds()
        begun = self._to_begin(folds) if self._log.lake_is_empty() else set()
        lives = {key: self._place(key).begin(key) for key in (*folds, *begun)}
        if not self.can_catch_up:
            raise StatesLost("states lack events that are in the lake alone; build them: twin state rebuild")
        self.follow_identity()
        version, _ = self._identity.head()
        until = self._journal.last_position()
        changed = {who for spec in lives for who in self._changed_since(spec)}
        self._bring_up(changed, begun)
        after = 0
        while rows := self._journal.read(after, _ROWS_A_PAGE):
            after = rows[-1].position
            last = self._last_positions(rows)
            behind = {who for spec in lives for who in self._behind(spec, last)}
            self._bring_up(behind, begun)
            changed |= behind
        self._note(lives, begun, until, version)
        return len(changed)

    def _to_begin(self, folds: Folds) -> set[str]:
        """What of now can be made from the journal alone."""
        wanted = set() if any(kept_of(key) is None for key in folds) else {self._current}
        if self._moments_key is not None and self._moments_key not in folds:
            wanted.add(self._moments_key)
        return wanted

    def not_folded_behind(self, until: int) -> list[str]:
        """Hashes of specs that have states, whose content is not known, and that lack an event.

        It is one up to position `until` that the journal holds.
        """
        return [spec for spec in self._not_folded() if self._is_behind(spec, until)]

    def note_not_folded(self, until: int) -> None:
        """Keep that the states of specs whose content is not known have all up to `until`, as was found."""
        for spec in self._not_folded():
            noted = self.storage.noted(spec)
            if noted is not None and self._is_whole(spec):
                self.storage.note(spec, until, noted.version, self.storage.begin(spec))

    def _not_folded(self) -> list[str]:
        return [spec for spec in self.storage.built_specs() if spec not in self._folds()]

    def close(self) -> None:
        self._file.close()

    def _folds(self) -> dict[str, Fold]:
        """Of whatever was built, and whose content is known."""
        built = [*self.storage.built_specs(), *(() if self._moments is None else self._moments.built_specs())]
        return {key: fold for key in built if (fold := self._fold(key)) is not None}

    def _fold(self, key: str) -> Fold | None:
        if key not in self._known:
            kept_of_each = kept_of(key)
            if kept_of_each is not None:
                self._known[key] = MomentFold(kept_of_each)
            elif (found := self._find(key)) is not None:
                self._known[key] = FeatureFold(plan_state(found))
        return self._known.get(key)

    def _place(self, key: str) -> StateStorage:
        return self.storage if self._moments is None or kept_of(key) is None else self._moments

    def _check_never_built(self) -> None:
        """Raises StatesLost where states may be gone: a server that has none cannot tell whether it was emptied."""
        self.storage.get_many(self._current, [])

    def _is_whole(self, spec: str) -> bool:
        noted: Progress | None = self._place(spec).noted(spec)
        build = last_build(self._builds, spec) if self._builds is not None else None
        return noted is not None and build in (None, noted.build) and noted.position >= self._left_the_journal()

    def _left_the_journal(self) -> int:
        """The position up to which events may be in the lake alone."""
        if not (self._log.lake / "_delta_log").exists():
            return 0
        # Engines that take long to import: for whom there is a lake.
        from deltalake import DeltaTable

        from pipelines.events.compaction import watermark

        return watermark(DeltaTable(str(self._log.lake)), self._journal.identity)

    def _note(self, lives: Mapping[str, str], begun: set[str], until: int, version: int) -> None:
        with self._no_build():
            # What another process moved into the lake meanwhile may have been missed in what was begun here.
            complete = begun if begun and self._log.lake_is_empty() else set()
            kept = {*self._folds(), *complete}
            for key, life in lives.items():
                if key in kept:
                    self._place(key).note(key, until, version, life)

    def _is_behind(self, spec: str, until: int) -> bool:
        after = 0
        while after < until and (rows := self._journal.read(after, _ROWS_A_PAGE)):
            after = rows[-1].position
            if self._behind(spec, self._last_positions([row for row in rows if row.position <= until])):
                return True
        return False

    def _changed_since(self, spec: str) -> list[str]:
        noted = self._place(spec).noted(spec)
        version = 0 if noted is None else noted.version
        rows = self._identity.rows(
            "SELECT customer_id, revision FROM identity_customers WHERE revision > ?", (version,)
        )
        known = self._place(spec).get_many(spec, [customer for customer, _ in rows])
        return [who for who, revision in rows if who not in known or known[who].revision != revision]

    def _last_positions(self, rows: Sequence[StoredEvent]) -> dict[str, int]:
        """Of each customer the last of `rows` that counts."""
        counting = ((self._log.counts_for(row), row.position) for row in rows)
        return {customer: position for customer, position in counting if customer is not None}

    def _behind(self, spec: str, last: Mapping[str, int]) -> list[str]:
        """Customers whose states of `spec` do not reach the position given for them."""
        known = self._place(spec).as_found().get_many(spec, list(last))
        return [who for who, position in last.items() if who not in known or known[who].position < position]

    def _owners(self, events: Iterable[StoredEvent]) -> list[str]:
        found = (self._identity.owner(stored.event) for stored in events)
        return [owner.customer_id for owner in found if owner is not None]

    def _bring_up(self, customers: Iterable[str], begun: Iterable[str]) -> None:
        """Bring states of `customers` up, those of the specs `begun` included, which are not built yet."""
        wanted = list(dict.fromkeys(customers))
        with self._folding, self._no_build():
            folds = {**self._folds(), **{key: fold for key in begun if (fold := self._fold(key)) is not None}}
            if not folds:
                self._check_never_built()
            for _ in range(_ATTEMPTS):
                wanted = self._update(wanted, folds)
                if not wanted:
                    return
        raise StatesBusy

    def _update(self, customers: Sequence[str], folds: Folds) -> list[str]:
        """Those who have to be done again: somebody changed them meanwhile."""
        if not (customers and folds):
            return []
        revisions = self._identity.revisions(customers)
        reads = _Reads(self._log, self._identity)
        known = {key: self._place(key).get_many(key, customers) for key in folds}
        # Nearly all: nothing came on top but new events, which are read once for all of them and for all specs.
        plain = {
            key: {who: s for who, s in states.items() if s.data and s.revision == revisions[who]}
            for key, states in known.items()
        }
        fresh = reads.after(plain.values())
        made: dict[str, list[StoredState | None]] = {}
        for key, fold in folds.items():
            mine = plain[key]
            made[key] = [_folded(fold, state, fresh.get(who, ())) for who, state in mine.items()]
            others = [who for who in customers if who not in mine]
            made[key] += [self._made(fold, reads, who, known[key].get(who), revisions[who]) for who in others]
        # What belongs to a customer must not have changed while their events were read.
        now = self._identity.revisions(customers)
        again = {who for who in customers if now[who] != revisions[who]}
        for key, states in made.items():
            changed = [state for state in states if state is not None and state.customer_id not in again]
            again.update(self._place(key).put_many(key, changed) if changed else ())
        return list(again)

    def _made(
        self, fold: Fold, reads: _Reads, customer: str, state: StoredState | None, revision: int
    ) -> StoredState | None:
        """The state of a customer whose events are others now; None where there is nothing to keep."""
        added = self._identity.added_since(customer, state.revision) if state and state.data else None
        if state is not None and added is not None:
            events = reads.joined(customer, state.position, frozenset(added))
            return fold.stored(customer, fold.more(state.data, events), revision)
        events = reads.everything(customer)
        if events:
            return fold.stored(customer, fold.more(None, events), revision)
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


def _folded(fold: Fold, state: StoredState, events: Sequence[LoggedEvent]) -> StoredState | None:
    """The state with those of `events` that it lacks; None where it lacks none."""
    lacking = [event for event in events if event.position > state.position]
    if not lacking:
        return None
    return fold.stored(state.customer_id, fold.more(state.data, lacking), state.revision)


class _Reads:
    """What is read of customers to fold them, once for all specs."""

    def __init__(self, log: CustomerLog, identity: IdentityStore) -> None:
        self._log = log
        self._identity = identity
        self._whole: dict[tuple[str, int, frozenset[int]], list[LoggedEvent]] = {}

    def after(self, states: Iterable[Mapping[str, StoredState]]) -> Logged:
        """Events of customers that one of their states lacks."""
        positions: dict[str, int] = {}
        for mine in states:
            for who, state in mine.items():
                positions[who] = min(state.position, positions.get(who, state.position))
        return self._log.after(positions) if positions else {}

    def joined(self, customer: str, position: int, added: frozenset[int]) -> list[LoggedEvent]:
        key = (customer, position, added)
        if key not in self._whole:
            self._whole[key] = self._log.joined(customer, position, added)
        return self._whole[key]

    def everything(self, customer: str) -> list[LoggedEvent]:
        key = (customer, -1, frozenset[int]())
        if key not in self._whole:
            self._whole[key] = self._log.everything(customer)
        return self._whole[key]
