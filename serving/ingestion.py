"""The walk of a live event: checked, appended to the journal, folded into its customer's state, acknowledged."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from feature_repo.configuration import Problem
from feature_repo.state.storage import SQLiteStateStorage
from pipelines.access import AccessKey, Keys
from pipelines.events.journal import Appended, Journal, JournalUnavailable, NewEvent
from pipelines.events.live_states import LiveStates, StatesBusy
from pipelines.events.opening import may_have_journal, open_journal
from pipelines.settings import Settings, load_settings
from serving.api.errors import ApiError, ErrorDetail
from serving.api.ingest.body import Envelope
from serving.api.ingest.segment import Refused, Rules, Sender, Taken
from serving.compactor import Compactor

logger = logging.getLogger("bentoml.twin")


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
    return Ingestion(load_settings())


class Ingestion:
    """Takes calls for one workspace. Opened when it is first needed: a service that gets no events makes no files."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workspace = settings.workspace
        self.limits = settings.profile.ingestion
        self._rules = Rules(settings.tracking_plan, self.limits)
        self._threads = ThreadPoolExecutor(self.limits.threads, thread_name_prefix="ingest")
        self._opening = threading.Lock()
        self._keys: Keys | None = None
        self._store: _Store | None = None
        self._waiting = 0
        self._compactor = Compactor(settings, self._opened_if_any)

    def recover(self) -> None:
        """Fold what a process that died had appended and not folded. A failure is logged: the next call tries again.

        From here on the journal moves into the lake whenever it holds enough.
        """
        self._compactor.start()
        try:
            self._opened_if_any()
        except (JournalUnavailable, StatesBusy, sqlite3.Error, OSError) as error:
            logger.error("live events are not in the states yet: %s", error)

    async def ingest(self, envelope: Envelope, write_key: str | None, kind: str | None) -> Ingested:
        """Take the items of a call; `kind` is None for a batch.

        Raises:
            ApiError: 401 for a key that is not known; 503 where the items cannot be kept now, or too many
                calls wait. Repeating the call is safe.
        """
        if self._waiting >= self.limits.maximum_waiting:
            raise unavailable("overloaded", "too many calls are waiting", "fewer calls at a time", "one too many")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._ingest, envelope, write_key, kind)
        except (JournalUnavailable, OSError, sqlite3.Error) as error:
            logger.error("live events cannot be kept now: %s", error)
            message = "events cannot be kept now"
            raise unavailable("journal_unavailable", message, "a journal that can be written", "none") from error
        except StatesBusy:
            message = "the states of customers are being built; events wait until that is done"
            raise unavailable("states_busy", message, "another try in a moment", "a build that runs") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what runs and let go of files."""
        self._threads.shutdown()
        self._compactor.close()
        if self._store is not None:
            self._store.close()

    def _key(self, text: str | None) -> AccessKey:
        """The key with this text. Raises ApiError (401) where there is none that may ingest."""
        if self._keys is None and self._workspace.access.exists():
            self._keys = Keys(self._workspace.access)
        found = self._keys.find(text, "ingest") if text and self._keys is not None else None
        if found is None:
            hint = "make one with `twin keys create`; send it as user name of Basic authentication, or as writeKey"
            got = "another" if text else "nothing"
            detail = ErrorDetail(field="writeKey", expected="a write key of this service", got=got, hint=hint)
            raise ApiError(401, "unauthorized", "the write key is not known here", [detail])
        return found

    def _ingest(self, envelope: Envelope, write_key: str | None, kind: str | None) -> Ingested:
        received_at = time.time_ns() // 1000
        sender = Sender(self._key(write_key), received_at, envelope.context, envelope.sent_at)
        taken: list[tuple[int, Taken]] = []
        rejected: list[Rejected] = []
        for index, raw in enumerate(envelope.items):
            try:
                taken.append((index, self._rules.take(raw, sender, kind)))
            except Refused as refused:
                rejected.append(Rejected(index, refused.problems))
        if rejected:
            file = self._workspace.quarantine / f"live-{_day(received_at)}.jsonl"
            write_quarantine(file, [_line(envelope.items[r.index], r, sender, kind) for r in rejected])
        answers = self._opened().keep([item.event for _, item in taken]) if taken else []
        duplicates = sum(answer.duplicate for answer in answers)
        return Ingested(
            len(taken) - duplicates,
            duplicates,
            rejected,
            [index for index, item in taken if not item.planned],
            [index for index, item in taken if item.clamped],
        )

    def _opened(self) -> _Store:
        with self._opening:
            if self._store is None:
                self._store = _Store(self._settings)
            return self._store

    def _opened_if_any(self) -> tuple[Journal, LiveStates] | None:
        """Journal and states; None while there is no journal."""
        if self._store is None and not may_have_journal(self._settings):
            return None
        store = self._opened()
        return store.journal, store.states


class _Store:
    """The open files: journal and states."""

    def __init__(self, settings: Settings) -> None:
        """Raises JournalUnavailable, StatesBusy and sqlite3.Error."""
        workspace = settings.workspace
        self._lake = workspace.lake
        self.journal = open_journal(settings)
        try:
            self.states = LiveStates(
                settings.features, SQLiteStateStorage(workspace.state), self.journal, workspace.state_lock
            )
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
        answers = self.journal.append(events)
        # Where states were built meanwhile, from lake and journal, live events go on top from now on.
        self._folding = self._folding or self.states.built
        if self._folding:
            self.states.update([event.user_id for event in events if event.user_id is not None])
        return answers

    def close(self) -> None:
        self.journal.close()
        self.states.close()

    def _align(self) -> None:
        """Before the first append: the journal's positions go on after those of the lake."""
        with self._aligning:
            if self._aligned:
                return
            # Engines that take long to import: for the first event, not for the start of the service.
            from pipelines.events.lake import last_position
            from pipelines.events.store import EventStore

            EventStore.open(self._lake, self.journal)
            if not self._folding and last_position(self._lake) == 0:
                self.states.catch_up()
                self._folding = True
            self._aligned = True


def write_quarantine(file: Path, lines: Sequence[bytes]) -> None:
    """Append lines; when this returns, they are on the disk. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rest = memoryview(b"".join(lines))
    with file.open("ab", buffering=0) as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        end = stream.seek(0, os.SEEK_END)
        try:
            # A disk that fills up takes a part before it refuses.
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(end)
            raise


def unavailable(code: str, message: str, expected: str, got: str) -> ApiError:
    """An answer that asks to come again."""
    hint = "send the same call again after `Retry-After` seconds; what is stored already counts once"
    return ApiError(503, code, message, [ErrorDetail(field="request", expected=expected, got=got, hint=hint)])


def _line(raw: bytes, rejected: Rejected, sender: Sender, kind: str | None) -> bytes:
    reasons = [{"field": p.field, "expected": p.expected, "got": p.got} for p in rejected.problems]
    told = {
        "received_at": datetime.fromtimestamp(sender.received_at / 1e6, UTC).isoformat(),
        "source": sender.key.source,
        "call": kind or "batch",
        "index": rejected.index,
        "problems": reasons,
        # As text: it may be no JSON that others can read.
        "text": raw.decode("utf-8", "backslashreplace"),
    }
    return json.dumps(told).encode() + b"\n"


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant // 1_000_000, UTC).strftime("%Y-%m-%d")
