"""The walk of a decision: whom it is for, what is known of them, what was before, what follows, and that it is kept.

    resolve and consent -> features at the clock's instant -> effects -> ledger (one transaction: contacts, what was
    spent, consents, `decide`) -> journal and state -> answer

All of it is on one thread, and no erasure runs meanwhile: what was read of a customer is kept before theirs begins.
A decision is acknowledged once the journal has it. One that died on the way there stands in the ledger, counts, and is
appended by the next call or start.
"""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from importlib import import_module

import msgspec

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StateUnavailable
from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.console import UserError
from pipelines.decisions.decide import decide
from pipelines.decisions.ledger import (
    SOURCE,
    Before,
    Kept,
    Ledger,
    LedgerUnavailable,
    OtherQuestion,
    Period,
    Question,
)
from pipelines.decisions.ledger_event import Origin, Recorded, decision_event, recorded
from pipelines.decisions.ledger_open import may_have_ledger, open_ledger
from pipelines.decisions.situation import Situation
from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.events.live_states import StatesBusy
from pipelines.identity.consenting import spoken_for
from pipelines.identity.desk import OpenFiles
from pipelines.identity.store import IdentityStore
from pipelines.settings import Settings
from pipelines.settings.identity import USER_ID
from serving.api.answers import unknown_customer
from serving.api.context import Context, check_context
from serving.api.errors import ApiError, ErrorDetail
from serving.bootstrap import OpenReader, Wiring
from serving.connection import Connection
from serving.consent_gate import ConsentGate
from serving.decisions.catalogue_watch import CatalogueWatch
from serving.decisions.messages import message_of
from serving.decisions.offered import catalogue_now
from serving.decisions.outbox import Outbox
from serving.decisions.reading import Known, Reading
from serving.decisions.readings import Readings
from serving.decisions.reasons import Explained, explained, unit_of
from serving.observing.tracing import span

logger = logging.getLogger("bentoml.twin")

_DAY = 24 * 3_600_000_000
# Contacts are kept this long where no cap or budget asks for more, so that one that is made longer finds them.
_KEEP_CONTACTS = 90 * _DAY
_PRUNE_EVERY_SECONDS = 3_600.0
_SAID = """SELECT c.purpose, c.granted FROM identity_nodes n JOIN identity_consents c ON c.node = n.id
  WHERE n.customer_id = ? ORDER BY c.at, c.granted DESC"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants decided. Without `decision_id` each call is its own.

    `offer` are the actions to choose among, beside no action; all of the catalogue where it is empty.
    """

    customer_id: str
    decision_id: str | None = None
    context: Context = field(default_factory=dict)
    reasons: bool = False
    offer: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision for the customer that was asked for. `explained` is None where nobody asked, or it was made before."""

    customer_id: str
    recorded: Recorded
    is_known: bool
    explained: Explained | None


def connect(connection: Connection, gate: ConsentGate, watch: CatalogueWatch) -> DecisionDesk:
    """The desk of a service."""
    catalogue = partial(catalogue_now, watch)
    return DecisionDesk(connection.settings, catalogue, connection.wiring, gate, connection.open_features)


class DecisionDesk:
    """Decides for customers of one workspace. Thread-safe; several processes may each have one."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Callable[[], Catalogue],
        wiring: Callable[[], Wiring],
        gate: ConsentGate,
        open_features: OpenReader | None = None,
    ) -> None:
        """`catalogue` and `wiring` give those of now; the former raises ApiError (503). Opens nothing yet."""
        self._settings = settings
        self._catalogue = catalogue
        self._wiring = wiring
        self._gate = gate
        self._readings = Readings(settings, open_features)
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None
        self._outbox: Outbox | None = None
        self._pruned_at = time.monotonic()

    def decide(self, asked: Asked, files: OpenFiles) -> Decided:
        """Decide, or give the decision that was made with this id before; durable when this returns.

        Raises:
            ApiError: 400 for a context that is not read, 403 where the customer said no, 404 for an unknown one, 409
                where the id is that of another question, 503 without catalogue or states.
            LedgerUnavailable, JournalUnavailable, StateUnavailable, StatesBusy, ErasureRuns, sqlite3.Error: nothing
                can be kept now; repeating the call is safe.
        """
        catalogue = self._catalogue()
        with taking_events(self._settings.workspace.erasure_lock):
            ledger, outbox = self._opened()
            outbox.take_up(files, self._arrives_at())
            customer = self._gate.permitted(asked.customer_id, "customer_id")
            reading = self._readings.reading(catalogue, self._wiring())
            if asked.context:
                check_context(asked.context, reading.inputs, catalogue.model)
            with span("features.read"):
                known = reading.of(customer, asked.context)
            if known is None:
                raise unknown_customer("customer_id")
            question = _question(asked, ids_of(files.identity, customer), known.as_of, catalogue)
            _check_not_old(asked, ledger, files)
            make = partial(self._kept, files.identity, reading, known, question, asked)
            try:
                with span("decision"):
                    answered = ledger.decide(question, make)
            except OtherQuestion:
                raise _taken("the id of a decision on another question") from None
            outbox.keep(files, answered.kept.event)
        self._prune(ledger, catalogue, known.as_of)
        made = recorded(answered.kept.event.properties)
        of_now = asked.reasons and not answered.is_known
        told = explained(reading.model, known, made.decision, self._unit(catalogue)) if of_now else None
        return Decided(customer, made, answered.is_known, told)

    def recover(self, files: Callable[[], OpenFiles]) -> None:
        """Append what a process that died had decided. A failure is logged: the next call tries again."""
        if not may_have_ledger(self._settings):
            return
        try:
            with taking_events(self._settings.workspace.erasure_lock):
                self._opened()[1].take_up(files(), self._arrives_at())
        except (
            UserError, ConfigurationError, StatesBusy, StateUnavailable, ErasureRuns, sqlite3.Error, OSError
        ) as error:  # fmt: skip
            logger.error("decisions of a process that died are not in the journal yet: %s", type(error).__name__)

    def warm(self) -> None:
        """Import in the background what the first decision or event needs, so that neither waits for it.

        Only where there is a catalogue to decide by: who but predicts needs none of these engines.
        """
        try:
            self._catalogue()
        except ApiError:
            return
        threading.Thread(target=_import_engines, name="warm", daemon=True).start()

    def close(self) -> None:
        """Write what is noted, and let go of files."""
        if self._ledger is not None:
            self._ledger.close()

    def _opened(self) -> tuple[Ledger, Outbox]:
        with self._opening:
            if self._ledger is None or self._outbox is None:
                self._ledger = open_ledger(self._settings)
                self._outbox = Outbox(self._ledger)
            return self._ledger, self._outbox

    def _kept(
        self,
        identity: IdentityStore,
        reading: Reading,
        known: Known,
        question: Question,
        asked: Asked,
        before: Before,
    ) -> Kept:
        """What follows from what is known and what was before, as it is kept."""
        catalogue, customer = reading.catalogue, question.customer_id
        situation = Situation(
            decision_id=question.decision_id,
            customer_id=customer,
            as_of=known.as_of,
            basis=reading.basis,
            features=known.features,
            # Within the ledger's transaction: what was said by now counts.
            consents=granted(identity, customer, self._settings.consent.purposes),
            contacts=before.contacts,
            predicted=known.predicted,
            spent=before.spent,
            shadow_price=catalogue.shadow_price,
            offer=asked.offer,
        )
        decision = decide(catalogue, situation)
        message = message_of(catalogue, decision, known.language)
        model, version = reading.champion
        origin = Origin(known.read, catalogue.currency, model, version, known.model_read, dict(asked.context), message)
        arrives_at = self._arrives_at()
        available_at = known.as_of if arrives_at is None else arrives_at
        who = spoken_for(identity, customer)
        event = decision_event(decision, situation, origin, who, available_at)
        # A contact reaches the customer when it is sent, and caps count it there.
        at = known.as_of if decision.send_at is None else decision.send_at
        is_contact = decision.action != NO_ACTION
        return Kept(decision.action, decision.channel, is_contact, decision.cost, known.as_of, at, event)

    def _arrives_at(self) -> int | None:
        """When an event of now is there. None with files of the past: then it is there at its own time."""
        return None if self._settings.profile.clock == "data_end" else time.time_ns() // 1000

    def _prune(self, ledger: Ledger, catalogue: Catalogue, as_of: int) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_EVERY_SECONDS:
            return
        self._pruned_at = time.monotonic()
        per = catalogue.budget.per if catalogue.budget else 0
        longest = max([_KEEP_CONTACTS, per, *(cap.within for cap in catalogue.caps)])
        try:
            ledger.prune(as_of - longest, as_of - max(_DAY, per))
        except LedgerUnavailable as error:
            # The decision is kept, and whoever asked is to hear it.
            logger.error("old decisions are not pruned now, but in an hour: %s", error)

    def _unit(self, catalogue: Catalogue) -> str:
        model = self._settings.action_models.get(catalogue.model)
        return "" if model is None else unit_of(model.label.reward)


def _import_engines() -> None:
    """DuckDB, Delta and Arrow, which take long to import: after the service is ready, not before."""
    import_module("pipelines.events.store")
    import_module("pyarrow.dataset")
    # What lives as long as the process stays out of the collector's sight.
    gc.freeze()


def _question(asked: Asked, customer_ids: tuple[str, ...], as_of: int, catalogue: Catalogue) -> Question:
    decision_id = uuid.uuid4().hex if asked.decision_id is None else asked.decision_id
    asks = [asked.customer_id, dict(asked.context), *([asked.offer] if asked.offer else [])]
    body = msgspec.json.encode(asks, order="sorted")
    longest = max((cap.within for cap in catalogue.caps), default=0)
    budget = catalogue.budget
    period = None if budget is None else Period(as_of // budget.per * budget.per, budget.per)
    return Question(decision_id, customer_ids, blake2b(body, digest_size=16).hexdigest(), as_of - longest, period)


def _check_not_old(asked: Asked, ledger: Ledger, files: OpenFiles) -> None:
    """Raises ApiError (409) for an id whose decision the ledger has forgotten, and only the log knows."""
    name = asked.decision_id
    # The ledger has a decision before the journal has it: asked after it, it knows what was decided in between.
    if name is not None and files.journal.contains([(SOURCE, name)]) and ledger.find(name) is None:
        raise _taken("the id of an older decision, which is not answered again")


def ids_of(identity: IdentityStore, customer_id: str) -> tuple[str, ...]:
    """Every id that the customer's decisions may stand under, their own first: those of customers who became one."""
    rows = identity.rows("SELECT kind, key FROM identity_nodes WHERE customer_id = ?", (customer_id,))
    others = (key if kind == USER_ID else f"~{kind}:{key}" for kind, key in rows)
    return tuple(dict.fromkeys([customer_id, *others]))


def granted(identity: IdentityStore, customer_id: str, purposes: Iterable[str]) -> tuple[str, ...]:
    """The purposes that the customer granted in their own words, and did not take back.

    No basis of a source stands in for that: an offer needs the customer's word.
    """
    # The last row of a purpose stays: the newest, and of two at one instant the denial, as in `permission`.
    said = dict(identity.rows(_SAID, (customer_id,)))
    return tuple(sorted(purpose for purpose in set(purposes) if said.get(purpose)))


def _taken(got: str) -> ApiError:
    hint = "choose another one, or leave it out; the same question with the same id gives the same decision"
    detail = ErrorDetail(field="decision_id", expected="an id of its own for each question", got=got, hint=hint)
    return ApiError(409, "decision_id_taken", "there is a decision with this id already", [detail])
