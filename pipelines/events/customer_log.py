"""The events of customers as features see them: whose they are, since when, and whether they count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from feature_repo.state.tiles import LoggedEvent
from pipelines.events.journal import Identifier, Journal, StoredEvent
from pipelines.identity.graph import FROM_THE_BEGINNING
from pipelines.identity.store import IdentityStore, Member, Permission, forms_of

Logged = dict[str, list[LoggedEvent]]
"""Events by customer, ascending by position; who has none is missing."""


@dataclass(frozen=True, slots=True)
class Theirs:
    """An event of a customer as it is stored.

    It was there, and known to be theirs, from `known_at` on (microseconds UTC). `counted` is what features and the twin
    read of it; None where it does not count.
    """

    stored: StoredEvent
    known_at: int
    counted: LoggedEvent | None


class CustomerLog:
    """Reads events of customers from journal and lake. Thread-safe.

    It says of an event what the view `customer_events` says of it in SQL; a test holds the two equal.
    """

    def __init__(
        self, journal: Journal, lake: Path, identity: IdentityStore, sources: Callable[[], Collection[str]]
    ) -> None:
        """`sources` gives those whose events count unless their customer said no."""
        self.lake = lake
        self._journal = journal
        self._identity = identity
        self._sources = sources
        self._end = _LakeEnd(lake)

    def after(self, positions: Mapping[str, int]) -> Logged:
        """Of each customer the events of the journal after the position given for them."""
        members = self._identity.members_of(list(positions))
        wanted: dict[Identifier, int] = {m.form: positions[who] for who, mine in members.items() for m in mine}
        return self._counting(positions, self._journal.read_identifiers(wanted))

    def joined(self, customer_id: str, position: int, added: Collection[int]) -> list[LoggedEvent]:
        """Events of the journal after `position`, and of journal and lake all that are theirs by the nodes `added`."""
        members = self._identity.members(customer_id)
        events = self._journal.read_identifiers(dict.fromkeys(forms_of(members), position))
        fresh = [member for member in members if member.node in added]
        mine = set(forms_of(fresh))
        for event in self._everywhere(fresh):
            owner = self._identity.owner(event.event)
            if owner is not None and owner.form in mine:
                events.append(event)
        return self._counting([customer_id], events).get(customer_id, [])

    def everything(self, customer_id: str) -> list[LoggedEvent]:
        """All events of the customer, ascending by position."""
        events = self._everywhere(self._identity.members(customer_id))
        return self._counting([customer_id], events).get(customer_id, [])

    def raw(self, customer_id: str) -> list[StoredEvent]:
        """All events of the customer as they are stored, those that do not count included, ascending by position."""
        found = self._everywhere(self._identity.members(customer_id))
        owners = ((event, self._identity.owner(event.event)) for event in found)
        return [event for event, owner in owners if owner is not None and owner.customer_id == customer_id]

    def theirs(self, customer_id: str) -> list[Theirs]:
        """All events of the customer, `raw` and `everything` in one read, ascending by position."""
        found = self._everywhere(self._identity.members(customer_id))
        counted = {e.position: e for e in self._counting([customer_id], found).get(customer_id, [])}
        owners = ((event, self._identity.owner(event.event)) for event in found)
        return [
            Theirs(event, max(event.event.available_at, owner.joined_at), counted.get(event.position))
            for event, owner in owners
            if owner is not None and owner.customer_id == customer_id
        ]

    def lake_is_empty(self) -> bool:
        """Whether no event is in the lake."""
        return self._end.now()[1] == 0

    def counts_for(self, stored: StoredEvent) -> str | None:
        """The customer whose features read an event; None where nobody's do."""
        owner = self._identity.owner(stored.event)
        return next(iter(self._counting([owner.customer_id], [stored])), None) if owner is not None else None

    def _everywhere(self, members: Sequence[Member]) -> list[StoredEvent]:
        """Events of journal and lake that hold an identifier of `members`, each once, ascending by position.

        The journal is read first: a row that leaves it meanwhile is in the lake by then (see `store`).
        """
        if not members:
            return []
        events = {e.position: e for e in self._journal.read_identifiers(dict.fromkeys(forms_of(members), -1))}
        first = min(member.first_position for member in members)
        version, newest = self._end.now()
        if version is not None and first <= newest:
            # Engines that take long to import: for whom there is something to find.
            from pipelines.events.lake_search import events_of

            in_lake = events_of(self.lake, version, forms_of(members), first)
            events = {**events, **{e.position: e for e in in_lake}}
        return [events[position] for position in sorted(events)]

    def _counting(self, customers: Collection[str], events: Iterable[StoredEvent]) -> Logged:
        """Those of `events` that are of `customers` and count, each once."""
        permissions = self._identity.permissions(list(customers), self._identity.consent.uses.features)
        sources = self._sources()
        found: dict[str, dict[int, LoggedEvent]] = defaultdict(dict)
        for stored in events:
            owner = self._identity.owner(stored.event)
            if owner is None or owner.customer_id not in customers:
                continue
            since = counts_since(permissions.get(owner.customer_id), stored.event.source in sources)
            if since is not None:
                found[owner.customer_id][stored.position] = logged(stored, max(owner.joined_at, since))
        return {who: [mine[position] for position in sorted(mine)] for who, mine in found.items()}


class _LakeEnd:
    """The newest version of the lake and the highest position in it, read again only when there is a newer one."""

    def __init__(self, lake: Path) -> None:
        self._lake = lake
        self._known: tuple[int | None, int] = (None, 0)

    def now(self) -> tuple[int | None, int]:
        """(None, 0) where there is no lake."""
        version, _ = self._known
        log = self._lake / "_delta_log"
        if version is None or (log / f"{version + 1:020}.json").exists() or not (log / f"{version:020}.json").exists():
            if version is None and not log.exists():
                return None, 0
            # An engine that takes long to import.
            from pipelines.events.lake import newest_position

            self._known = newest_position(self._lake)
        return self._known


def counts_since(permission: Permission | None, source_allowed: bool) -> int | None:
    """The instant (microseconds UTC) from which an event counts, beside its arrival; None where it does not."""
    if permission is None:
        return FROM_THE_BEGINNING if source_allowed else None
    if not permission.granted:
        return None
    return FROM_THE_BEGINNING if source_allowed else permission.at


def logged(stored: StoredEvent, since: int = FROM_THE_BEGINNING) -> LoggedEvent:
    """The part of an event that states read; it is not available before `since`."""
    event = stored.event
    return LoggedEvent(
        stored.position,
        event.event,
        event.event_time,
        max(event.available_at, since),
        event.channel,
        event.value,
        event.properties,
        event.source,
        event.event_id,
    )
