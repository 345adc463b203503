"""The walk of a decision: whom it is for, what is known of them, what was before, what follows, and that it is kept.

    resolve and consent -> features at the clock's instant -> effects -> ledger (one transaction: contacts, what was
    spent, consents, `decide`) -> journal and state -> answer

All of it is on one thread, and no erasure runs meanwhile: what was read of a customer is kept before theirs begins.
A decision is acknowledged once the journal has it. One that died on the way there stands in the ledger, counts, and is
appended by the next call or start.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StateUnavailable
from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.console import UserError
from pipelines.decisions.decide import decide
from pipelines.decisions.ledger import SOURCE, Before, Kept, Ledger, OtherQuestion, Period, Question
from pipelines.decisions.ledger_catalogues import remember_catalogue
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
from serving.consent_gate import ConsentGate
from serving.decisions.messages import message_of
from serving.decisions.outbox import Outbox
from serving.decisions.reading import Known, Reading
from serving.decisions.readings import Readings
from serving.decisions.reasons import Explained, explained, unit_of

logger = logging.getLogger("bentoml.twin")

_DAY = 24 * 3_600_000_000
# Contacts are kept this long where no cap or budget asks for more, so that one that is made longer finds them.
_KEEP_CONTACTS = 90 * _DAY
_PRUNE_EVERY_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants decided. Without `decision_id` each call is its own."""

    customer_id: str
    decision_id: str | None = None
    context: Context = field(default_factory=dict)
    reasons: bool = False


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision for the customer that was asked for. `explained` is None where nobody asked, or it was made before."""

    customer_id: str
    recorded: Recorded
    is_known: bool
    explained: Explained | None


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
        """`catalogue` and `wiring` give those of now, and raise ApiError (503). Opens nothing yet."""
        self._settings = settings
        self._catalogue = catalogue
        self._wiring = wiring
        self._gate = gate
        self._readings = Readings(settings, open_features)
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None
        self._outbox: Outbox | None = None
        self._remembered: str | None = None
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
            outbox.take_up(files, self._arrival(None))
            customer = self._gate.permitted(asked.customer_id, "customer_id")
            question = self._question(asked, customer, files)
            reading = self._readings.reading(catalogue, self._wiring())
            if asked.context:
                check_context(asked.context, reading.inputs, f"of decisions ({catalogue.model})")
            known = reading.of(customer, asked.context)
            if known is None:
                raise unknown_customer("customer_id")
            walk = _Walk(self, files.identity, catalogue, reading, known, asked, customer)
            answered = _in(ledger, _at(question, known, catalogue), walk.make)
            outbox.keep(files, answered.kept.event)
        self._prune(ledger, catalogue, known.as_of)
        of = recorded(answered.kept.event.properties)
        told = None
        if asked.reasons and not answered.is_known:
            told = explained(reading.model, known, of.decision, self._unit(catalogue))
        return Decided(customer, of, answered.is_known, told)

    def recover(self, files: Callable[[], OpenFiles]) -> None:
        """Append what a process that died had decided and not appended. A failure is logged: the next call tries again."""
        if not may_have_ledger(self._settings):
            return
        try:
            with taking_events(self._settings.workspace.erasure_lock):
                self._opened()[1].take_up(files(), self._arrival(None))
        except (
            UserError, ConfigurationError, StatesBusy, StateUnavailable, ErasureRuns, sqlite3.Error, OSError
        ) as error:  # fmt: skip
            logger.error("decisions of a process that died are not in the journal yet: %s", type(error).__name__)

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def _opened(self) -> tuple[Ledger, Outbox]:
        with self._opening:
            if self._ledger is None or self._outbox is None:
                self._ledger = open_ledger(self._settings)
                self._outbox = Outbox(self._ledger)
            return self._ledger, self._outbox

    def _question(self, asked: Asked, customer: str, files: OpenFiles) -> Question:
        """Raises ApiError (409) for an id whose decision is only in the log by now, which cannot be answered again."""
        if asked.decision_id is not None:
            ledger, _ = self._opened()
            was_made = ledger.find(asked.decision_id) is None and files.journal.contains([(SOURCE, asked.decision_id)])
            if was_made:
                raise _taken("the id of an older decision, which is answered no more")
        decision_id = uuid.uuid4().hex if asked.decision_id is None else asked.decision_id
        body = msgspec.json.encode([asked.customer_id, dict(asked.context)], order="sorted")
        ids = ids_of(files.identity, customer)
        return Question(decision_id, ids, blake2b(body, digest_size=16).hexdigest(), 0)

    def event_of(self, walk: _Walk, decision_id: str, before: Before) -> Kept:
        """The decision that follows from what is known and what was before, as it is kept."""
        catalogue, reading, known = walk.catalogue, walk.reading, walk.known
        situation = Situation(
            decision_id=decision_id,
            customer_id=walk.customer,
            as_of=known.as_of,
            basis=reading.basis,
            features=known.features,
            consents=granted(walk.identity, walk.customer, self._settings.consent.purposes),
            contacts=before.contacts,
            predicted=known.predicted,
            spent=before.spent,
            shadow_price=catalogue.shadow_price,
        )
        decision = decide(catalogue, situation)
        champion = None if reading.model is None else reading.model.champion
        origin = Origin(
            known.read,
            None if champion is None else champion.model,
            None if champion is None else champion.version,
            known.model_read,
            dict(walk.asked.context),
            message_of(catalogue, decision, known.language),
        )
        who = spoken_for(walk.identity, walk.customer)
        arrives_at = self._arrival(known.as_of)
        event = decision_event(decision, situation, origin, catalogue.currency, who, arrives_at)
        self._remember(catalogue)
        at = known.as_of if decision.send_at is None else decision.send_at
        is_contact = decision.action != NO_ACTION
        return Kept(decision.action, decision.channel, is_contact, decision.cost, known.as_of, at, event)

    def _arrival(self, as_of: int | None) -> int | None:
        """When an event of now is there: with files of the past at the instant that is now there."""
        return as_of if self._settings.profile.clock == "data_end" else time.time_ns() // 1000

    def _remember(self, catalogue: Catalogue) -> None:
        """Before the first decision by it is kept, so that every one can be made again."""
        if self._remembered != catalogue.hash:
            remember_catalogue(self._settings.workspace.catalogues, catalogue)
            self._remembered = catalogue.hash

    def _prune(self, ledger: Ledger, catalogue: Catalogue, as_of: int) -> None:
        if time.monotonic() - self._pruned_at < _PRUNE_EVERY_SECONDS:
            return
        self._pruned_at = time.monotonic()
        per = catalogue.budget.per if catalogue.budget else 0
        longest = max([_KEEP_CONTACTS, per, *(cap.within for cap in catalogue.caps)])
        ledger.prune(as_of - longest, as_of - max(_DAY, per))

    def _unit(self, catalogue: Catalogue) -> str:
        model = self._settings.action_models.get(catalogue.model)
        return "" if model is None else unit_of(model.label.reward)
