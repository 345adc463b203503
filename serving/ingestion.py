"""The walk of a live event: checked, appended to the journal, folded into its customer's state, acknowledged."""

from __future__ import annotations

import fcntl
import json
import logging
import mmap
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from feature_repo.configuration import ConfigurationError, Problem
from feature_repo.state.storage import StatesLost, StateUnavailable
from pipelines.console import UserError
from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.events.journal import Appended, Journal, JournalUnavailable, NewEvent, StoredEvent
from pipelines.events.live import open_live_states
from pipelines.events.live_states import LiveStates, StatesBusy
from pipelines.events.opening import may_have_journal, open_journal
from pipelines.identity.desk import Desk, OpenFiles
from pipelines.identity.store import open_identity
from pipelines.privacy import EncryptionKeyMissing
from pipelines.settings import Settings
from serving.api.authorisation import Access
from serving.api.errors import ApiError, ErrorDetail, state_unavailable
from serving.api.ingest.body import Envelope
from serving.api.ingest.segment import Refused, Rules, Sender, Taken
from serving.compactor import Compactor
from serving.observing import measures
from serving.observing.tracing import span
from serving.off_loop import OffLoop
from serving.sealing_door import SealingDoor
from serving.settings import service_settings
from serving.state_keeper import StateKeeper

logger = logging.getLogger("bentoml.twin")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Rejected:
    """An item that was refused; `index` is its place in the call."""

    index: int
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a call's items. All that was accepted is durable and in the states."""

    accepted: int
    duplicates: int
    rejected: list[Rejected] = field(default_factory=list)
    unplanned: list[int] = field(default_factory=list)
    clamped: list[int] = field(default_factory=list)


def connect() -> Ingestion:
    """Live ingestion of the workspace that the environment names."""
    return Ingestion(service_settings())


class Ingestion:
    """Takes calls for one workspace. Opened when it is first needed: a service that gets no events makes no files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workspace = settings.workspace
        self.limits = settings.profile.ingestion
        self._rules = Rules(settings.tracking_plan, self.limits, settings.identity)
        self._door = SealingDoor(settings.workspace, settings.identity)
        self._threads = OffLoop(self.limits.threads, "ingest")
        self._opening = threading.Lock()
        self._access = Access(settings.workspace.access)
        self._store: _Store | None = None
        # Told after each call that kept events; must not wait.
        self.on_kept: Callable[[], None] = lambda: None
        self._compactor = Compactor(settings, self._opened_if_any)
        self._keeper = StateKeeper(settings, self._mend)

    def recover(self) -> None:
        """Fold what a process that died had appended and not folded. A failure is logged: the next call tries again.

        From here on the journal moves into the lake whenever it holds enough.
        """
        self._compactor.start()
        self._keeper.start()
        if self._workspace.erasure.exists():
            self._finish_erasure()
        try:
            self._opened_if_any()
        except (UserError, ConfigurationError, StatesBusy, StateUnavailable, sqlite3.Error, OSError) as error:
            logger.error("live events are not in the states yet: %s", error)

    def _finish_erasure(self) -> None:
        """Go on with what a process that died had begun. A failure is logged: the next start tries again."""
        # Engines that take long to import: for whom there is something to erase.
        from pipelines.privacy.erase import finish_erasure

        try:
            finish_erasure(self._settings)
        except (UserError, ConfigurationError, StateUnavailable, sqlite3.Error, OSError) as error:
            logger.error("a customer is not wholly erased yet: %s", type(error).__name__)

    async def ingest(self, envelope: Envelope, write_key: str | None, kind: str | None) -> Ingested:
        """Take the items of a call; `kind` is None for a batch.

        Raises:
            ApiError: 401 for a key that is not known, 403 for one that may not ingest; 503 where the items cannot
                be kept now, name a person and there is no key to encrypt them with, or too many calls wait.
                Repeating the call is safe.
        """
        done = await self._off_the_loop(lambda: self._ingest(envelope, write_key, kind))
        measures.taken_in(done)
        return done

    async def at_desk(self, act: Callable[[Desk], Result]) -> Result:
        """Do an act on identity or consent. Raises ApiError (503) as `ingest`, and what `act` raises."""
        return await self._off_the_loop(lambda: act(Desk(self._settings, self._opened())))

    async def with_files(self, act: Callable[[OpenFiles], Result]) -> Result:
        """Do an act on the open files, such as a decision. Raises as `at_desk`."""
        return await self._off_the_loop(lambda: act(self._opened()))

    def files(self) -> OpenFiles:
        """The open files, for the calling thread. Raises as they are opened."""
        return self._opened()

    def journal(self) -> Journal | None:
        """The open journal; None before it is first needed."""
        return None if self._store is None else self._store.journal

    async def _off_the_loop(self, work: Callable[[], Result]) -> Result:
        if self._threads.waiting >= self.limits.maximum_waiting:
            raise unavailable("overloaded", "too many calls are waiting", "fewer calls at a time", "one too many")
        try:
            return await self._threads.run(work)
        except StateUnavailable as error:
            logger.error("live events cannot be folded now: %s", error)
            self._keeper.look_again()
            raise state_unavailable(isinstance(error, StatesLost)) from error
        except (JournalUnavailable, OSError, sqlite3.Error) as error:
            logger.error("live events cannot be kept now: %s", error)
            message = "events cannot be kept now"
            raise unavailable("journal_unavailable", message, "a journal that can be written", "none") from error
        except (UserError, ConfigurationError) as error:
            raise store_closed(error) from None
        except StatesBusy:
            message = "the states of customers are being built; events wait until that is done"
            raise unavailable("states_busy", message, "another try in a moment", "a build that runs") from None
        except ErasureRuns:
            message = "a customer is being erased; events wait until that is done"
            raise unavailable("erasure_runs", message, "another try in a moment", "an erasure that runs") from None

    def close(self) -> None:
        """Finish what runs and let go of files."""
        self._threads.close()
        self._keeper.close()
        self._compactor.close()
        if self._store is not None:
            self._store.close()

    def _ingest(self, envelope: Envelope, write_key: str | None, kind: str | None) -> Ingested:
        received_at = time.time_ns() // 1000
        sender = Sender(self._access.check(write_key, "ingest"), received_at, envelope.context, envelope.sent_at)
        taken: list[tuple[int, Taken]] = []
        rejected: list[Rejected] = []
        for index, raw in enumerate(envelope.items):
            try:
                taken.append((index, self._rules.take(raw, sender, kind)))
            except Refused as refused:
                rejected.append(Rejected(index, refused.problems))
        with taking_events(self._workspace.erasure_lock):
            answers = self._kept(envelope, sender, kind, taken, rejected)
        self.on_kept()
        duplicates = sum(answer.duplicate for answer in answers)
        return Ingested(
            len(taken) - duplicates,
            duplicates,
            rejected,
            [index for index, item in taken if not item.planned],
            [index for index, item in taken if item.clamped],
        )

    def _kept(
        self,
        envelope: Envelope,
        sender: Sender,
        kind: str | None,
        taken: Sequence[tuple[int, Taken]],
        rejected: Sequence[Rejected],
    ) -> list[Appended]:
        """What the journal answers for the events, which are durable then, as are the items that were refused."""
        # Before anything is kept: a call that cannot be sealed leaves nothing behind.
        events = self._door.sealed([item.event for _, item in taken])
        kept = [(r, self._door.sealed_text(envelope.items[r.index])) for r in rejected]
        if kept:
            file = self._workspace.quarantine / f"live-{_day(sender.received_at)}.jsonl"
            write_quarantine(file, [_line(text, r, sender, kind) for r, text in kept])
        return self._opened().keep(events) if events else []

    def _opened(self) -> _Store:
        with self._opening:
            if self._store is None:
                self._store = _Store(self._settings)
            return self._store

    def _mend(self) -> None:
        self._opened().mend()

    def _opened_if_any(self) -> tuple[Journal, LiveStates] | None:
        """Journal and states; None while there is no journal."""
        if self._store is None and not may_have_journal(self._settings):
            return None
        store = self._opened()
        return store.journal, store.states


class _Store:
    """The open files: journal, identity and states."""

    def __init__(self, settings: Settings) -> None:
        """Raises JournalUnavailable, StatesBusy, StateUnavailable, EncryptionKeyMissing and sqlite3.Error."""
        self._lake = settings.workspace.lake
        self.journal = open_journal(settings)
        try:
            self.identity = open_identity(settings)
            self.states = open_live_states(settings, self.journal, self.identity)
            # Without states, history that is in the lake would be missing from those that live events make.
            self._folding = self.states.built
            if self._folding:
                self.states.catch_up()
        except BaseException:
            self.journal.close()
            raise
        self._aligning = threading.Lock()
        self._aligned = False

    def keep(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append and fold. A duplicate is folded too: whoever appended it may have died before."""
        self._align()
        with span("journal.append"):
            answers = self.journal.append(events)
        stored = [self._stored(answer, event) for answer, event in zip(answers, events, strict=True)]
        known = [event for event in stored if event is not None]
        self._fold(known)
        return answers

    def mend(self) -> None:
        """Make the states whole again, after their store was away. Raises StatesLost where they have to be built."""
        self.states.catch_up()
        self._folding = True

    def close(self) -> None:
        self.journal.close()
        self.states.close()

    def _fold(self, events: Sequence[StoredEvent]) -> None:
        """Fold events that are in the journal; without whole states they are left to the build that is to come."""
        if self._folding:
            try:
                return self.states.take(events)
            except StatesLost:
                # Those that can be compared with the log are mended in a moment.
                if self.states.can_catch_up:
                    raise
                self._folding = False
        if not self.states.leave(events):
            # They were built meanwhile, from lake and journal: live events go on top from now on.
            self._folding = True
            self.states.take(events)
        return None

    def _stored(self, answer: Appended, event: NewEvent) -> StoredEvent | None:
        """The event as it is stored; None of a duplicate that left the journal, and so was taken in by then."""
        if not answer.duplicate:
            return StoredEvent(answer.position, event)
        first = self.journal.read(answer.position - 1, 1)
        return first[0] if first and first[0].position == answer.position else None

    def _align(self) -> None:
        """Before the first append: the journal's positions go on after those of the lake."""
        with self._aligning:
            if self._aligned:
                return
            # Engines that take long to import: for the first event, not for the start of the service.
            from pipelines.events.store import EventStore

            EventStore.open(self._lake, self.journal)
            self.states.follow_identity()
            if not self._folding and self.states.can_catch_up:
                # The journal holds all there is.
                self.states.catch_up()
                self._folding = True
            self._aligned = True


def write_quarantine(file: Path, lines: Sequence[bytes]) -> None:
    """Append lines; when this returns, they are on the disk. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rest = memoryview(b"".join(lines))
    with file.open("a+b", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        end = _end_of_lines(stream.fileno())
        try:
            stream.truncate(end)
            # A disk that fills up takes a part before it refuses.
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(end)
            raise


def _end_of_lines(file: int) -> int:
    """Where the last whole line ends: a process that was killed may have left a part of one, never acknowledged."""
    size = os.fstat(file).st_size
    if size == 0 or os.pread(file, 1, size - 1) == b"\n":
        return size
    with mmap.mmap(file, size, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\n") + 1


def unavailable(code: str, message: str, expected: str, got: str) -> ApiError:
    """An answer that asks to come again."""
    hint = "send the same call again after `Retry-After` seconds; what is stored already counts once"
    return ApiError(503, code, message, [ErrorDetail(field="request", expected=expected, got=got, hint=hint)])


def store_closed(error: UserError | ConfigurationError) -> ApiError:
    """What is stored cannot be gone on with, such as without the key that persons in it are encrypted with."""
    code = "encryption_key_missing" if isinstance(error, EncryptionKeyMissing) else "store_unavailable"
    details = [ErrorDetail(field=p.field, expected=p.expected, got=p.got, hint=p.hint) for p in error.problems]
    return ApiError(503, code, "nothing can be kept now, for what is stored cannot be gone on with", details)


def _line(text: str, rejected: Rejected, sender: Sender, kind: str | None) -> bytes:
    reasons = [{"field": p.field, "expected": p.expected, "got": p.got} for p in rejected.problems]
    told = {
        "received_at": datetime.fromtimestamp(sender.received_at / 1e6, UTC).isoformat(),
        "source": sender.key.source,
        "call": kind or "batch",
        "index": rejected.index,
        "problems": reasons,
        "text": text,
    }
    return json.dumps(told).encode() + b"\n"


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant // 1_000_000, UTC).strftime("%Y-%m-%d")
