"""The events of one customer as features see them: whose they are, since when, and whether they count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from feature_repo.state.tiles import LoggedEvent
from pipelines.events.journal import Journal, StoredEvent
from pipelines.identity.graph import FROM_THE_BEGINNING
from pipelines.identity.store import IdentityStore, Member, Permission, forms_of


class CustomerLog:
    """Reads events of customers from journal and lake. Thread-safe.

    It says of an event what the view `customer_events` says of it in SQL; a test holds the two equal.
    """

    def __init__(
        self, journal: Journal, lake: Path, identity: IdentityStore, sources: Callable[[], Collection[str]]
    ) -> None:
        """`sources` gives those whose events count unless their customer said no."""
        self._journal = journal
        self.lake = lake
        self._identity = identity
        self._sources = sources

    def after(self, customer_id: str, position: int, added: Collection[int] = ()) -> list[LoggedEvent]:
        """Events that arrived after `position`, and all that hold an identifier of the nodes `added`.

        Ascending by position.
        """
        members = self._identity.members(customer_id)
        events = {e.position: e for e in self._journal.read_identifiers(forms_of(members), position)}
        fresh = [member for member in members if member.node in added]
        if fresh:
            mine = set(forms_of(fresh))
            for event in self._everywhere(fresh):
                owner = self._identity.owner(event.event)
                if owner is not None and owner.form in mine:
                    events[event.position] = event
        return list(self._counting(customer_id, events.values()))

    def everything(self, customer_id: str) -> list[LoggedEvent]:
        """All events of the customer, ascending by position."""
        return list(self._counting(customer_id, self._everywhere(self._identity.members(customer_id))))

    def counts_for(self, stored: StoredEvent) -> str | None:
        """The customer whose features read an event; None where nobody's do."""
        owner = self._identity.owner(stored.event)
        if owner is None:
            return None
        permission = self._identity.permission(owner.customer_id, self._identity.consent.uses.features)
        since = counts_since(permission, stored.event.source in self._sources())
        return None if since is None else owner.customer_id

    def raw(self, customer_id: str) -> list[StoredEvent]:
        """All events of the customer as they are stored, those that do not count included, ascending by position."""
        found = self._everywhere(self._identity.members(customer_id))
        return [event for event in found if self._is_of(customer_id, event)]

    def _is_of(self, customer_id: str, event: StoredEvent) -> bool:
        owner = self._identity.owner(event.event)
        return owner is not None and owner.customer_id == customer_id

    def _everywhere(self, members: Sequence[Member]) -> list[StoredEvent]:
        """Events of journal and lake that hold an identifier of `members`, each once, ascending by position.

        The journal is read first: a row that leaves it meanwhile is in the lake by then (see `store`).
        """
        if not members:
            return []
        events = {e.position: e for e in self._journal.read_identifiers(forms_of(members), -1)}
        first = min(member.first_position for member in members)
        # Engines that take long to import: for whom there is something to find.
        from pipelines.events.lake import newest_position

        version, newest = newest_position(self.lake)
        if version is not None and first <= newest:
            from pipelines.events.lake_search import events_of

            in_lake = events_of(self.lake, version, forms_of(members), first)
            events = {**events, **{e.position: e for e in in_lake}}
        return [events[position] for position in sorted(events)]

    def _counting(self, customer_id: str, events: Iterable[StoredEvent]) -> Iterator[LoggedEvent]:
        permission = self._identity.permission(customer_id, self._identity.consent.uses.features)
        sources = self._sources()
        for stored in sorted(events, key=lambda stored: stored.position):
            owner = self._identity.owner(stored.event)
            if owner is None or owner.customer_id != customer_id:
                continue
            since = counts_since(permission, stored.event.source in sources)
            if since is not None:
                yield logged(stored, max(owner.joined_at, since))


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
    )
