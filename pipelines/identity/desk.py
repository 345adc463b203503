"""The open files that acts on identity and consent need: journal, identity store and states.

A service and a command may each have them open at once: journal and identity store are shared, and states
are guarded by position and revision (see `live_states`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.access import AuditLog
from pipelines.events.journal import Appended, Journal, NewEvent, StoredEvent
from pipelines.events.live import open_customer_log, open_live_states
from pipelines.events.live_states import LiveStates, StatesBusy
from pipelines.events.opening import event_store
from pipelines.identity import consenting, manual
from pipelines.identity.catch_up import catch_up
from pipelines.identity.clock import decided_at
from pipelines.identity.consenting import Allowed, Said
from pipelines.identity.review import ReviewPair, ReviewQueue
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.identity.vocabulary import Form
from pipelines.privacy import carries_personal, seal_event, sealer_of
from pipelines.settings import Settings
from pipelines.settings.identity import USER_ID

if TYPE_CHECKING:
    from pipelines.identity.rebuild import Rebuilt

_BUSY_SECONDS = 0.1
_PATIENCE_SECONDS = 600.0


class OpenFiles(Protocol):
    """What a running service has open."""

    @property
    def journal(self) -> Journal: ...

    @property
    def identity(self) -> IdentityStore: ...

    @property
    def states(self) -> LiveStates: ...

    def keep(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append, take in what they say of identity and consent, and fold."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of purposes, whose it is, and what holds now. `duplicate`: it had been said before."""

    customer_id: str
    duplicate: bool
    permissions: list[Allowed]


class Desk:
    """Acts of people on one workspace, each in the audit log before it takes effect. Thread-safe."""

    def __init__(self, settings: Settings, files: OpenFiles) -> None:
        self.settings = settings
        self._files = files
        self._audit = AuditLog(settings.workspace.audit)
        self._log = open_customer_log(settings, files.journal, files.identity)

    @property
    def identity(self) -> IdentityStore:
        return self._files.identity

    def bring_up(self, customers: Iterable[str] = ()) -> None:
        """Take in every event that is stored, and bring the states of whom that or `customers` changed up to it.

        Raises StatesBusy, JournalUnavailable, EncryptionKeyMissing and sqlite3.Error. Repeating it is safe.
        """
        caught = catch_up(self.identity, self.settings.workspace.lake, self._files.journal)
        changed = {*caught, *customers}
        if changed and self._files.states.built:
            self._files.states.update(changed)

    # Consent ----------------------------------------------------------------------------------

    def say(self, said: Said, actor: str) -> Answer:
        """Take in what a customer said of their purposes. Raises as `bring_up`, and UserError for an unusable value."""
        self.identity.node_of(said.form)
        who = self._customer(said.form)
        details = {"purposes": dict(said.purposes), "source": consenting.SOURCE}
        self._audit.append("consent.set", actor, self.pseudonym(who), details)
        answers = self._files.keep([self._sealed(event) for event in consenting.consent_events(said)])
        who = self._customer(said.form)
        return Answer(who, all(answer.duplicate for answer in answers), self.permissions(who))

    def permissions(self, customer_id: str) -> list[Allowed]:
        """What holds for a customer, purpose by purpose."""
        sources = {stored.event.source for stored in self._log.raw(customer_id)}
        return consenting.permissions_of(self.settings, self.identity, customer_id, sources)

    # Identity ---------------------------------------------------------------------------------

    def decide(self, wish: manual.Wish, actor: str) -> manual.Decided:
        """Link two identifiers or keep them apart; states follow. Raises as `bring_up`, and UserError."""
        self._ready()
        manual.check(self.identity, wish)
        self._log_decision("identity.merge" if wish.verdict == "link" else "identity.unmerge", actor, wish)
        decided = manual.decide(self.identity, wish, decided_at(self.settings))
        self.follow(decided.changed)
        return decided

    def review(self, pair: str, verdict: manual.Verdict, actor: str, by: str, note: str | None) -> ReviewPair:
        """Decide a pair of the review queue, for ever; states follow. Raises UserError: no such pair waits."""
        self._ready()
        queue = ReviewQueue(self.settings.workspace.identity)
        queue.check_waiting(pair)
        self._audit.append("identity.review", actor, f"pair:{pair}", {"verdict": verdict})
        decided = queue.decide(pair, verdict, by, note, decided_at(self.settings))
        self.follow(queue.tell(self.identity))
        return decided

    def rebuild(self, actor: str) -> Rebuilt:
        """Make the map anew from events and decisions; states follow. Raises as `bring_up`."""
        from pipelines.identity.rebuild import rebuild

        self._ready()
        self._audit.append("identity.rebuild", actor, "identity")
        done = rebuild(self.identity, self.settings.workspace.lake, self._files.journal)
        self.follow(done.changed)
        return done

    def waiting(self) -> list[ReviewPair]:
        """Pairs to be decided, the most probable first."""
        return ReviewQueue(self.settings.workspace.identity).waiting()

    def record(self, action: str, actor: str, subject: str, details: Mapping[str, Any] | None = None) -> None:
        """Log an act that is done elsewhere."""
        self._audit.append(action, actor, subject, details)

    def _ready(self) -> None:
        """Raises StatesBusy where states could not follow now, and as `bring_up`."""
        self.bring_up()
        self._files.states.update(())

    def pseudonym(self, customer_id: str) -> str:
        """How the audit log names a customer."""
        return self._audit.pseudonym("customer", customer_id)

    def follow(self, changed: Iterable[str]) -> None:
        """Bring states up to what was decided, however long they are built. Raises as `bring_up`."""
        # What was decided stands: where a build began meanwhile, states follow once it is over.
        patiently(lambda: self.bring_up(changed))

    def _log_decision(self, action: str, actor: str, wish: manual.Wish) -> None:
        ends = {
            side: self._audit.pseudonym(form.kind, "".join(self.identity.node_of(form)[1:]))
            for side, form in (("left", wish.left), ("right", wish.right))
        }
        subject = self.pseudonym(self._customer(wish.left))
        self._audit.append(action, actor, subject, ends)

    def _customer(self, form: Form) -> str:
        found = self.identity.customer_with(form)
        if found is not None:
            return found
        # Not seen before, or nobody's: named by what it is.
        node = self.identity.node_of(form)
        return node.key if node.kind == USER_ID else f"~{node.kind}:{node.key}"

    def _sealed(self, event: NewEvent) -> NewEvent:
        if not carries_personal(event, self.settings.identity):
            return event
        return seal_event(event, self.settings.identity, sealer_of(self.settings.workspace))


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a command, which lives for one act."""

    journal: Journal
    identity: IdentityStore
    states: LiveStates

    def keep(self, events: Sequence[NewEvent]) -> list[Appended]:
        answers = self.journal.append(events)
        pairs = zip(answers, events, strict=True)
        stored = [StoredEvent(answer.position, event) for answer, event in pairs if not answer.duplicate]
        if self.states.built:
            patiently(lambda: self.states.take(stored))
        else:
            self.identity.apply(stored)
        return answers


@contextmanager
def open_desk(settings: Settings) -> Iterator[Desk]:
    """The desk of a command, with every stored event taken in; a service may run beside it. Raises as `bring_up`."""
    with event_store(settings) as store:
        identity = open_identity(settings)
        states = open_live_states(settings, store.journal, identity)
        try:
            desk = Desk(settings, _Files(store.journal, identity, states))
            patiently(desk.bring_up)
            yield desk
        finally:
            states.close()


def patiently(act: Callable[[], None]) -> None:
    """Do what may be repeated, once states are not built any more. Raises StatesBusy after ten minutes."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return act()
        except StatesBusy:
            if time.monotonic() > until:
                raise
            time.sleep(_BUSY_SECONDS)
