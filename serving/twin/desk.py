"""Who is asked for, whether they said no, and what is read of them: now from the states, the past from the log."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pipelines.events.customer_log import CustomerLog, Theirs
from pipelines.events.live import open_customer_log
from pipelines.identity.desk import OpenFiles
from pipelines.identity.store import IdentityStore, Member
from pipelines.identity.vocabulary import Form
from pipelines.privacy import sealer_of
from pipelines.settings import Settings
from pipelines.twin.as_of import Past, Word, counted, members_at, words_at
from pipelines.twin.fold import TwinFold
from pipelines.twin.masking import Mask
from pipelines.twin.state import Twin
from pipelines.twin.timeline import Page, Place, page_of
from serving.api.answers import unknown_customer
from serving.api.errors import ApiError, ErrorDetail
from serving.connection import Connection
from serving.consent_gate import ConsentGate
from serving.ingestion import Ingestion
from serving.twin.present import Present
from serving.twin.replayed import Replayed, find_decision, replayed
from serving.twin.threads import ReadThreads


@dataclass(frozen=True, slots=True)
class Answer:
    """A twin, the revision it was read at, and what the customer had said and who they were by then."""

    twin: Twin
    revision: int
    words: Mapping[str, Word]
    members: Sequence[Member]


def connect(connection: Connection, gate: ConsentGate, ingestion: Ingestion) -> TwinDesk:
    """The desk of a service."""
    return TwinDesk(connection.settings, gate, ingestion.files)


class TwinDesk:
    """Reads of one workspace. Everything but `threads` is for the threads of that; thread-safe."""

    def __init__(self, settings: Settings, gate: ConsentGate, files: Callable[[], OpenFiles]) -> None:
        """`files` gives what a service has open. Opens nothing yet."""
        self.settings = settings
        self.threads = ReadThreads()
        self._gate = gate
        self._files = files

    def close(self) -> None:
        """Finish what runs."""
        self.threads.close()

    def customer(self, customer_id: str | None, form: Form | None, derived: bool = True) -> str:
        """The customer that an id or an identifier names.

        Raises:
            ApiError: 400 unless there is exactly one of the two; 403 for who denied profiling, where what is asked for
                is `derived` of their events; 503 as the gate.
            UnknownIdentifier, UserError: it is nobody's, or unusable.
        """
        if (customer_id is None) == (form is None):
            got = "neither" if customer_id is None else "both"
            detail = ErrorDetail(field="customer_id", expected="either this or identifier", got=got)
            raise ApiError(400, "invalid_request", "1 mistake in the request", [detail])
        asked = customer_id if form is None else self.identity.customer_with(form)
        if asked is None:
            raise unknown_customer("identifier")
        field = "customer_id" if form is None else "identifier"
        return self._gate.permitted(asked, field) if derived else self._gate.ask(asked).customer_id

    @cached_property
    def _fold(self) -> TwinFold:
        return TwinFold(self.settings.twin, self.settings.features)

    @cached_property
    def _past(self) -> Past:
        return Past(self._fold, self.settings.features)

    @cached_property
    def _present(self) -> Present:
        return Present(self.settings, self._fold)

    @property
    def identity(self) -> IdentityStore:
        """Raises as the files are opened."""
        return self._files().identity

    @property
    def log(self) -> CustomerLog:
        """The events of single customers. Raises as the files are opened."""
        files = self._files()
        return open_customer_log(self.settings, files.journal, files.identity)

    def mask(self, plain: bool) -> Mask:
        """How personal values are shown."""
        return Mask(self.settings.identity, lambda: sealer_of(self.settings.workspace), plain)

    def check_declared(self) -> None:
        """Raises ApiError (503) with every mistake in what is declared of twins: without it nothing can be said."""
        problems = self.settings.twin_problems
        if problems:
            details = [
                ErrorDetail(
                    field=f"{p.file}: {p.field}" if p.file else p.field, expected=p.expected, got=p.got, hint=p.hint
                )
                for p in problems
            ]
            raise ApiError(503, "twin_unusable", "what is declared of twins has mistakes", details)

    def now(self, customer_id: str) -> Answer:
        """The twin of now. Raises ApiError: 404 where nothing is known of the customer, 503 as `Present.of`."""
        seen = self._present.of(customer_id)
        if seen is None:
            raise unknown_customer("customer_id")
        return Answer(seen.twin, seen.revision, self._words_now(customer_id), self.identity.members(customer_id))

    def at(self, customer_id: str, as_of: int) -> Answer:
        """The twin of an instant (microseconds UTC) up to now, from the log.

        Raises ApiError: 400 for an instant to come, 404 where nothing of the customer was known then, 503.
        """
        self._check_past(as_of)
        identity = self.identity
        revision = identity.revision(customer_id)
        events = self.log.theirs(customer_id)
        twin = self._past.twin(customer_id, as_of, counted(events))
        if twin is None:
            raise _not_known_then() if events else unknown_customer("customer_id")
        words = words_at(events, as_of, identity.vocabulary, self.settings.consent)
        members = members_at(identity.members(customer_id), events, as_of, identity.vocabulary)
        return Answer(twin, revision, words, members)

    def timeline(self, customer_id: str, before: Place | None, limit: int, names: Collection[str] | None) -> Page:
        """A page of all events of the customer. Raises ApiError (404) where there is none."""
        events: list[Theirs] = self.log.theirs(customer_id)
        if not events:
            raise unknown_customer("customer_id")
        return page_of(events, before, limit, names)

    def replay(self, decision_id: str) -> Replayed:
        """A logged decision made again. Raises ApiError: 404, 410, and 403 for one on who denied profiling since."""
        files = self._files()
        one, properties = find_decision(self.settings, files, decision_id)
        self._gate.permitted(one.decision.customer_id, "decision_id")
        return replayed(self.settings, self.log, files.identity, one, properties)

    def _words_now(self, customer_id: str) -> dict[str, Word]:
        said = {name: self.identity.permission(customer_id, name) for name in self.settings.consent.purposes}
        return {name: Word(name, one.granted, one.at, one.source) for name, one in said.items() if one is not None}

    def _check_past(self, as_of: int) -> None:
        if as_of > self._present.instant():
            hint = "leave it out for now; `clock` of the profile says what now is"
            detail = ErrorDetail(field="as_of", expected="an instant up to now", got="one to come", hint=hint)
            raise ApiError(400, "future_as_of", "the future is not in the log", [detail])


def _not_known_then() -> ApiError:
    detail = ErrorDetail(
        field="as_of",
        expected="an instant at which events of the customer were known",
        got="one before that",
        hint="an event is known from its arrival on; the timeline tells both times",
    )
    return ApiError(404, "unknown_customer", "nothing of this customer was known then", [detail])
