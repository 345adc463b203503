"""Erasure: nothing of a customer is left in what the product wrote, and everybody else keeps what is theirs.

An intention is written first, with all that is needed to go on without the identity map. Whatever runs next, this
command or a service that starts, goes on from it until a search of every file finds nothing. Each step can be
repeated. Meanwhile no live event is taken, no file ingested and no state built; they wait, or are told to come again.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec

from feature_repo.state.storage import StoredState, grave, stored_state
from pipelines.access import AuditLog
from pipelines.events.customer_log import CustomerLog
from pipelines.events.exclusion import exclusive, nothing_taken
from pipelines.events.journal import Journal, NewEvent, StoredEvent, row_of
from pipelines.events.live import open_customer_log
from pipelines.events.live_states import building
from pipelines.events.moments import fold_moments, kept_of
from pipelines.events.opening import event_store, may_have_states, open_moments, open_states
from pipelines.events.store import EventStore
from pipelines.identity.catch_up import catch_up
from pipelines.identity.graph import Node
from pipelines.identity.review import ReviewQueue
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.identity.vocabulary import Form
from pipelines.outbox.opening import erase_messages
from pipelines.privacy.kept_decisions import erase_decisions
from pipelines.privacy.kept_files import erase_from_files, files_below, files_of, stores_of
from pipelines.privacy.kept_lines import QuarantineReader
from pipelines.privacy.kept_vectors import KeptVectors, texts_in
from pipelines.privacy.mentioned import events_mentioning
from pipelines.privacy.person import Mentions, Person, find_person, made_person
from pipelines.privacy.report import refuse_named_reason
from pipelines.privacy.traces import Trace, TraceSearch
from pipelines.privacy.uses import PERSON
from pipelines.served_log import log_files
from pipelines.settings import Settings
from pipelines.settings.workspace import Workspace

NOT_REACHED = (
    "files that were ingested, and exports of other systems",
    "backups, snapshots and copies of this workspace",
    "PostgreSQL's archive of its write-ahead log, and its replicas until they caught up",
    "Redis's replicas until they caught up, and its files where it does not let us write them anew",
    "freed blocks of the disk, until they are written over; erase those with the disk's own means",
    "what trained models have learnt from the customer among others; train anew to leave it out",
)


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """What an erasure would remove now."""

    customer_id: str
    identifiers: dict[str, int]
    events: int

    def text(self) -> str:
        """The plan for a person."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.identifiers.items())
        return (
            f"Customer {self.customer_id}: {self.events} events and all identifiers ({kinds}) will go, with their "
            "states, consents,\nlinks, quarantined lines, logged predictions and rows of data sets. Older versions of "
            "the lake go too."
        )


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What was removed. `found` is empty unless a file still names the person; `subject` is who in the audit log.

    `altered` events are of other customers and had an identifier of this one; they stand without it.
    """

    subject: str
    events: int
    altered: int
    identifiers: int
    quarantined: int
    served: int
    files: dict[str, int]
    found: list[dict[str, str]]
    not_reached: list[str]
    seconds: float

    def text(self) -> str:
        """The summary for a person."""
        lines = [
            f"Erased {self.subject}: {self.events} events, {self.identifiers} identifiers, "
            f"{self.quarantined} quarantined lines, {self.served} logged predictions, "
            f"{sum(self.files.values())} rows and passages of {len(self.files)} files in {self.seconds:.1f} s",
            f"  {self.altered} events of other customers lost an identifier of theirs" if self.altered else "",
            "  a search of every file finds nothing of them" if not self.found else "  STILL FOUND:",
            *(f"    {trace['file']} ({trace['where']})" for trace in self.found),
            "  not reached:",
            *(f"    {place}" for place in self.not_reached),
        ]
        return "\n".join(filter(None, lines))


@dataclass(frozen=True, slots=True)
class Intention:
    """An erasure that was begun. `events` are (source, event id, position).

    `others` are customers whose events mention the person.
    """

    customer_id: str
    forms: tuple[tuple[str, str], ...]
    nodes: tuple[tuple[str, str], ...]
    events: tuple[tuple[str, str, int], ...]
    actor: str
    reason: str
    others: tuple[str, ...] = ()
    begun_at: int = field(default_factory=lambda: time.time_ns() // 1000)

    def save(self, file: Path) -> None:
        """Written whole and on the disk, for its owner alone."""
        fresh = file.with_name(file.name + "-new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(msgspec.json.encode(asdict(self)))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
        _sync(file.parent)

    @classmethod
    def load(cls, file: Path) -> Intention | None:
        return msgspec.json.decode(file.read_bytes(), type=cls) if file.exists() else None

    def person(self, settings: Settings) -> Person:
        return made_person(
            settings, self.customer_id, [Form(*form) for form in self.forms], [Node(*node) for node in self.nodes]
        )


def plan_erasure(settings: Settings, identifier: str, kind: str | None = None) -> ErasurePlan:
    """What `erase` would remove. Raises UnknownCustomer."""
    with event_store(settings) as store:
        identity = open_identity(settings)
        catch_up(identity, settings.workspace.lake, store.journal)
        person = find_person(settings, identity, kind, identifier)
        kinds: dict[str, int] = {}
        for name, _ in person.plain:
            kinds[name] = kinds.get(name, 0) + 1
        log = CustomerLog(store.journal, settings.workspace.lake, identity, frozenset)
        return ErasurePlan(person.customer_id, kinds, len(log.raw(person.customer_id)))


def erase(
    settings: Settings,
    identifier: str,
    kind: str | None = None,
    *,
    reason: str,
    actor: str,
    journal: Journal | None = None,
) -> ErasureReport:
    """Erase the customer that `identifier` names. `journal` stands in for the workspace's own.

    Audited before it begins and after it ended. What another process left unfinished is finished first.

    Raises:
        UnknownCustomer: it names nobody.
        UserError: the reason names them; or others kept the workspace busy.
        EncryptionKeyMissing: their identifiers cannot be opened, so nobody could find them all.
    """
    with _alone(settings.workspace), _stores(settings, journal) as stores:
        unfinished = Intention.load(settings.workspace.erasure)
        if unfinished is not None:
            mentions = Mentions(unfinished.person(settings), settings.identity)
            report = _finish(settings, stores, unfinished)
            if mentions.is_value(identifier):
                return report
        catch_up(stores.identity, settings.workspace.lake, stores.journal)
        person = find_person(settings, stores.identity, kind, identifier)
        refuse_named_reason(reason, Mentions(person, settings.identity))
        owned = stores.log.raw(person.customer_id)
        intention = _intention(person, owned, actor, reason)
        intention.save(settings.workspace.erasure)
        return _finish(settings, stores, intention)


def unfinished_is_of(settings: Settings, identifier: str) -> bool:
    """Whether there is an unfinished erasure, and it is of whom this names."""
    intention = Intention.load(settings.workspace.erasure)
    return intention is not None and Mentions(intention.person(settings), settings.identity).is_value(identifier)


def finish_erasure(settings: Settings) -> ErasureReport | None:
    """Finish what a process that died left behind, if it did. Raises as `erase`."""
    if not settings.workspace.erasure.exists():
        return None
    with _alone(settings.workspace):
        intention = Intention.load(settings.workspace.erasure)
        if intention is None:
            return None
        with _stores(settings, None) as stores:
            return _finish(settings, stores, intention)


@dataclass(frozen=True, slots=True)
class _Stores:
    journal: Journal
    identity: IdentityStore
    log: CustomerLog


@contextmanager
def _stores(settings: Settings, journal: Journal | None) -> Iterator[_Stores]:
    workspace = settings.workspace
    identity = open_identity(settings)
    if journal is not None:
        EventStore.open(workspace.lake, journal)
        yield _Stores(journal, identity, CustomerLog(journal, workspace.lake, identity, frozenset))
        return
    with event_store(settings) as store:
        yield _Stores(store.journal, identity, CustomerLog(store.journal, workspace.lake, identity, frozenset))


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    """Nobody ingests, keeps live events or builds states within."""
    with exclusive(workspace.ingest_lock), nothing_taken(workspace.erasure_lock), building(workspace.state_lock):
        yield


def _intention(person: Person, owned: Iterable[StoredEvent], actor: str, reason: str) -> Intention:
    events = tuple((stored.event.source, stored.event.event_id, stored.position) for stored in owned)
    forms = tuple((form.kind, form.stored) for form in person.forms)
    return Intention(person.customer_id, forms, tuple((n.kind, n.key) for n in person.nodes), events, actor, reason)


def _finish(settings: Settings, stores: _Stores, intention: Intention) -> ErasureReport:
    began = time.monotonic()
    workspace = settings.workspace
    intention = _with_others(settings, stores, _with_newer(settings, stores, intention))
    person = intention.person(settings)
    mentions = Mentions(person, settings.identity)
    audit = AuditLog(workspace.audit)
    subject = audit.pseudonym(PERSON, person.customer_id)
    audit.append(
        "privacy.erase", intention.actor, subject, {"reason": intention.reason, "events": len(intention.events)}
    )
    altered = _erase_events(settings, stores, intention, person, mentions)
    _erase_from_stores(settings, stores, intention, person)
    quarantined = QuarantineReader(settings).remove(mentions)
    served = KeptVectors(workspace, person, mentions).remove()
    shutil.rmtree(workspace.staging, ignore_errors=True)
    files = erase_from_files(files_of(workspace, stores_of(workspace)), person, mentions)
    found = [*_search(workspace, stores.identity, person), *_search_states(settings, person)]
    report = ErasureReport(
        subject, len(intention.events), altered, len(person.forms), quarantined, served, _relative(files, workspace),
        [asdict(trace) for trace in found], _not_reached(workspace, person), round(time.monotonic() - began, 2),
    )  # fmt: skip
    outcome = {
        "events": report.events,
        "altered": altered,
        "quarantined": quarantined,
        "served": served,
        "found": len(found),
    }
    audit.append("privacy.erased", intention.actor, subject, outcome)
    if not found:
        workspace.erasure.unlink()
        _sync(workspace.erasure.parent)
    return report


def _with_newer(settings: Settings, stores: _Stores, intention: Intention) -> Intention:
    """With what came in after a process had died over it: that is part of the same erasure."""
    catch_up(stores.identity, settings.workspace.lake, stores.journal)
    known = intention.person(settings).customer_ids
    members = [member for who in known for member in stores.identity.members(who) if member.node]
    query = "SELECT kind, key FROM identity_nodes WHERE customer_id = ?"
    rows = [row for who in known for row in stores.identity.rows(query, (who,))]
    owned = [stored for who in known for stored in stores.log.raw(who)]
    fresh = [(stored.event.source, stored.event.event_id, stored.position) for stored in owned]
    grown = replace(
        intention,
        forms=tuple(dict.fromkeys([*intention.forms, *((m.form.kind, m.form.stored) for m in members)])),
        nodes=tuple(dict.fromkeys([*intention.nodes, *((kind, key) for kind, key in rows)])),
        events=tuple(dict.fromkeys([*intention.events, *fresh])),
    )
    if grown != intention:
        grown.save(settings.workspace.erasure)
    return grown


def _with_others(settings: Settings, stores: _Stores, intention: Intention) -> Intention:
    """With those whose events mention the person, kept before any of them is altered."""
    mentioning = events_mentioning(stores.journal, settings.workspace.lake, intention.person(settings))
    owners = [owner.customer_id for stored in mentioning if (owner := stores.identity.owner(stored.event)) is not None]
    known = intention.person(settings).customer_ids
    others = tuple(dict.fromkeys([*intention.others, *(who for who in owners if who not in known)]))
    grown = replace(intention, others=others)
    if grown != intention:
        grown.save(settings.workspace.erasure)
    return grown


def _erase_events(settings: Settings, stores: _Stores, intention: Intention, person: Person, mentions: Mentions) -> int:
    """Their events go; of others' events, the identifiers of theirs. How many of the latter there were."""
    # Engines that take long to import, and a service that starts has none of it to do.
    from pipelines.events.lake_erase import erase_from_lake

    lake = settings.workspace.lake
    positions = [position for _, _, position in intention.events]
    gone = set(positions)
    candidates = [stored for stored in events_mentioning(stores.journal, lake, person) if stored.position not in gone]
    altered = [new for stored in candidates if (new := _without(stored, mentions)) is not None]
    stores.journal.erase([_husk(*event) for event in intention.events], altered)
    erase_from_lake(lake, positions, [row_of(stored) for stored in altered])
    return len(altered)


def _husk(source: str, event_id: str, position: int) -> StoredEvent:
    return StoredEvent(position, NewEvent(source, event_id, "", 0, 0, ""))


def _without(stored: StoredEvent, mentions: Mentions) -> StoredEvent | None:
    """The event of somebody else without the person's identifiers; None where it has none."""
    event = stored.event
    anonymous = event.anonymous_id
    other = replace(
        event,
        anonymous_id=None if anonymous is not None and mentions.is_value(anonymous) else anonymous,
        identifiers={k: v for k, v in event.identifiers.items() if not (isinstance(v, str) and mentions.is_value(v))},
        properties=mentions.without(dict(event.properties)),
    )
    return None if other == event else StoredEvent(stored.position, other)


def _erase_from_stores(settings: Settings, stores: _Stores, intention: Intention, person: Person) -> None:
    if may_have_states(settings):
        open_states(settings).erase(person.customer_ids)
        _erase_records(settings, stores, intention, person)
    erase_decisions(settings, person.customer_ids)
    erase_messages(settings, person.customer_ids)
    ReviewQueue(settings.workspace.identity).forget(person.customer_ids)
    keys = [(source, event_id) for source, event_id, _ in intention.events]
    stores.identity.forget(person.nodes, person.customer_ids, keys)


def _erase_records(settings: Settings, stores: _Stores, intention: Intention, person: Person) -> None:
    """The person's records of moments go, and those of others are made anew, of events without the person."""
    storage = open_moments(settings)
    log = open_customer_log(settings, stores.journal, stores.identity)
    for key in storage.spec_hashes():
        kept = kept_of(key)
        if kept is not None:
            rows = storage.as_found().get_many(key, intention.others).values()
            storage.replace_many(key, [_record(log, row, kept) for row in rows])
    # Last, for it leaves nothing in the files of what rows held before.
    storage.erase(person.customer_ids)


def _record(log: CustomerLog, row: StoredState, kept_of_each: int) -> StoredState:
    events = log.everything(row.customer_id)
    if not events:
        return grave(row.customer_id, row.position, row.revision)
    return stored_state(row.customer_id, fold_moments(None, events, kept_of_each), row.revision)


def _search(workspace: Workspace, identity: IdentityStore, person: Person) -> list[Trace]:
    def longer(text: str) -> list[str]:
        query = "SELECT stored FROM identity_forms WHERE instr(stored, ?) AND stored <> ?"
        return [row[0] for row in identity.rows(query, (text, text))]

    files = files_of(workspace, [workspace.sources, workspace.erasure, workspace.served])
    search = TraceSearch(person, longer)
    found = search.search(files, workspace.checkout)
    for file in log_files(workspace.served):
        found += search.search_texts(texts_in(file), str(file.relative_to(workspace.checkout)))
    return found


def _search_states(settings: Settings, person: Person) -> list[Trace]:
    """States on a server are in no file of ours, so it is asked whether they are gone."""
    if not may_have_states(settings):
        return []
    places = [open_states(settings).as_found(), open_moments(settings).as_found()]
    left = any(place.get_many(key, person.customer_ids) for place in places for key in place.spec_hashes())
    return [Trace("states of customers", "rows")] if left else []


def _not_reached(workspace: Workspace, person: Person) -> list[str]:
    """Where the person may still be: files of the workspace that were read, and what the product cannot know of."""
    inputs = TraceSearch(person).search(files_below(workspace.sources), workspace.checkout)
    named = dict.fromkeys(trace.file for trace in inputs)
    return [*(f"{name}: names the customer; an ingest of it stores nothing of them" for name in named), *NOT_REACHED]


def _relative(files: dict[str, int], workspace: Workspace) -> dict[str, int]:
    return {str(Path(file).relative_to(workspace.checkout)): count for file, count in files.items()}


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
