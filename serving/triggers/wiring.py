"""Triggers of a service: the thread that looks at customers, the threads that deliver, and what they share."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StateStorage, StateUnavailable
from pipelines.console import UserError
from pipelines.events.live import open_customer_log
from pipelines.events.live_states import StatesBusy
from pipelines.events.moments import Moment, decode, moments_of
from pipelines.events.opening import may_have_journal, moments_key, open_moments
from pipelines.identity.desk import OpenFiles
from pipelines.identity.store import IdentityStore
from pipelines.outbox import Outbox, may_have_outbox, open_outbox
from pipelines.settings import Settings
from pipelines.twin.rules import Trigger
from serving.api.error_log import described
from serving.connection import Connection
from serving.consent_gate import ConsentGate
from serving.decisions.catalogue_watch import CatalogueWatch
from serving.decisions.desk import DecisionDesk
from serving.decisions.offered import catalogue_now
from serving.ingestion import Ingestion
from serving.observing.watched import forget_outbox, watch_outbox
from serving.served_log import ServedLog
from serving.triggers.consult import Consultant, index_of, read_by
from serving.triggers.delivery import Delivery
from serving.triggers.firing import Firing
from serving.triggers.reading import Known, TriggerReader, wall
from serving.triggers.watch import Watch

logger = logging.getLogger("bentoml.twin")


class EventsOf:
    """The newest events of each kind of a customer, as they are kept; out of the log where those are not what the
    features are of: none are kept yet, or a fold has come to the features alone.
    """

    def __init__(self, settings: Settings, files: Callable[[], OpenFiles]) -> None:
        self._settings, self._files = settings, files
        self._kept: StateStorage | None = None

    def __call__(self, customer_id: str, known: Known) -> Sequence[Moment]:
        if self._kept is None:
            self._kept = open_moments(self._settings)
        key = moments_key(self._settings)
        record = self._kept.get_many(key, [customer_id]).get(customer_id) if key in self._kept.built_specs() else None
        wanted = (known.position, known.revision)
        if record is not None and record.data and (record.position, record.revision) == wanted:
            return decode(record.data).moments
        files = self._files()
        return moments_of(open_customer_log(self._settings, files.journal, files.identity).everything(customer_id))


class Triggers:
    """What a service does about triggers. Without any, and without messages from before, it makes no file."""

    def __init__(
        self,
        connection: Connection,
        gate: ConsentGate,
        ingestion: Ingestion,
        desk: DecisionDesk,
        catalogues: CatalogueWatch,
        triggers: Sequence[Trigger],
    ) -> None:
        """Opens nothing yet."""
        self._connection, self._gate, self._ingestion = connection, gate, ingestion
        self._desk, self._catalogues, self._triggers = desk, catalogues, triggers
        self._settings: Settings = connection.settings
        # A log of its own: the service's takes from one thread.
        self.served = ServedLog(self._settings, connection.shadow_of)
        self._outbox: Outbox | None = None
        self._watch: Watch | None = None
        self._delivery: Delivery | None = None

    def start(self) -> None:
        """Look and deliver from now on. What cannot be opened is logged: then neither is done."""
        if not (self._triggers or may_have_outbox(self._settings)):
            return
        try:
            self._outbox = open_outbox(self._settings)
        except (sqlite3.Error, OSError) as error:
            logger.error("triggers fire nothing, and nothing is delivered: %s", described(error))
            return
        watch_outbox(self._outbox, self._settings.profile.webhooks.endpoints)
        if self._triggers:
            self._watch = self._watching(self._outbox)
        looked = None if self._watch is None else self._watch.looked
        self._delivery = Delivery(self._settings, self._outbox, self._gate, self._identity, looked)
        self._delivery.start()
        if self._watch is not None:
            self.served.start()
            self._begin(self._watch)
            self._watch.start()

    def wake(self) -> None:
        """There are new events. Never waits."""
        if self._watch is not None:
            self._watch.wake()

    def close(self) -> None:
        """Let what goes on end, and let go of files."""
        for part in (self._watch, self._delivery):
            if part is not None:
                part.close()
        self.served.close()
        if self._outbox is not None:
            forget_outbox()
            self._outbox.close()

    def _watching(self, outbox: Outbox) -> Watch:
        settings, connection = self._settings, self._connection
        firing = Firing(
            endpoints=settings.profile.webhooks.endpoints,
            wiring=connection.wiring,
            catalogue=partial(catalogue_now, self._catalogues),
            desk=self._desk,
            files=self._ingestion.files,
            served=self.served,
            wall=wall,
        )
        consultant = Consultant(
            triggers=self._triggers,
            index=index_of(self._triggers, settings.features),
            outbox=outbox,
            gate=self._gate,
            reader=TriggerReader(settings, read_by(self._triggers), connection.open_features),
            events_of=EventsOf(settings, self._ingestion.files),
            firing=firing,
        )
        return Watch(settings, consultant, outbox, self._files, self._wake_delivery)

    def _begin(self, watch: Watch) -> None:
        try:
            watch.begin()
        except (
            UserError, ConfigurationError, StatesBusy, StateUnavailable, sqlite3.Error, OSError
        ) as error:  # fmt: skip
            logger.error("triggers wait: %s", type(error).__name__)

    def _wake_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.wake()

    def _files(self) -> OpenFiles | None:
        return self._ingestion.files() if may_have_journal(self._settings) else None

    def _identity(self) -> IdentityStore:
        return self._ingestion.files().identity
