"""The log of served predictions: what each was made from and what it said, kept beside the requests.

A request only appends to a queue in memory. A thread writes the queue to a file every quarter of a second: a process
that is killed loses that much, and perhaps leaves one line torn, which readers skip. What cannot be kept, because the
queue is full or the disk is, is counted; no request waits for it or fails. Where the profile wants the log durable, a
request waits until its predictions are on disk, many requests for one write, and is refused where they cannot be.

Nothing of an erased customer may be written after them. Nothing is written while an erasure runs; and after one
everything that was read before it ended is dropped, for nobody can tell any more of whom it was.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from zlib import crc32

from feature_repo.served import FeatureList, ServedVector
from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings
from serving.api import request_id
from serving.api.context import Context
from serving.api.error_log import described
from serving.api.errors import RETRY_AFTER_SECONDS, ApiError, ErrorDetail
from serving.champion import Champion
from serving.predictor import NO_CONTEXT, Prediction
from serving.served_file import ServedFile
from serving.served_records import Answered, Moment, Records, ShadowOf, no_shadow
from serving.settings import service_settings

logger = logging.getLogger("bentoml.twin")

_WRITE_EVERY_SECONDS = 0.25
_TELL_EVERY_SECONDS = 60.0


def now() -> Moment:
    return Moment(time.time_ns() // 1000, time.monotonic_ns())


def connect(shadow_of: ShadowOf = no_shadow) -> ServedLog:
    """The log of the workspace that the environment names; `shadow_of` says who answers in whose shadow."""
    return ServedLog(service_settings(), shadow_of)


class ServedLog:
    """The log of one process. `add` is for one thread; once started, a thread of its own writes.

    `written` and `lost` count predictions since the start, `shadow_failed` shadow scores that could not be made.
    """

    def __init__(self, settings: Settings, shadow_of: ShadowOf = no_shadow) -> None:
        self._workspace = settings.workspace
        profile = settings.profile.served_log
        self._threshold = int(profile.share * 2**32)
        self._most = profile.maximum_waiting
        self._durable = profile.durable
        self._file = ServedFile(settings.workspace.served, profile.keep_days, profile.durable)
        self._records = Records(shadow_of)
        self._waiting: deque[Answered] = deque()
        # Counted by one thread each: predictions that came into the queue or did not, and that were taken out of it.
        self._added = self._refused = 0
        self._taken = self._refused_known = 0
        self.written = self.lost = 0
        self._erasures = _Erasures(settings)
        self._told, self._told_at = 0, float("-inf")
        self._due = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)

    @property
    def shadow_failed(self) -> int:
        return self._records.shadow_failed

    def start(self) -> None:
        """Begin to write, unless the profile has nothing logged."""
        if self._threshold:
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    async def keep(
        self,
        champion: Champion,
        began: Moment,
        as_of: int,
        predictions: Iterable[Prediction],
        context: Context = NO_CONTEXT,
    ) -> None:
        """`add`, and wait until it is on disk where the profile wants that.

        Raises:
            ApiError: 503, it is wanted and cannot be.
        """
        kept = self.add(champion, began, as_of, predictions, context)
        if kept is not None:
            await asyncio.wrap_future(kept)

    def add(
        self,
        champion: Champion,
        began: Moment,
        as_of: int,
        predictions: Iterable[Prediction],
        context: Context = NO_CONTEXT,
    ) -> Future[None] | None:
        """Keep the predictions that answer the current request; `began` is before their features were read.

        Where the log is durable, what is returned is done once they are on disk, or has the ApiError that says why not.
        """
        request = request_id.current.get()
        if crc32(request.encode()) >= self._threshold:
            return None
        given = [(p, p.read, p.probability) for p in predictions if p.read is not None and p.probability is not None]
        if not given:
            return None
        fits = given[: max(0, self._most - (self._added - self._taken))]
        kept = _unfinished() if self._durable else None
        if kept is not None and len(fits) < len(given):
            fits = []
            kept.set_exception(not_kept())
        self._refused += len(given) - len(fits)
        self._added += len(fits)
        if fits:
            self._waiting.append(Answered(request, champion, began, as_of, fits, context, kept))
        if kept is not None:
            self._due.set()
        return kept

    def write(self) -> None:
        """Write what waits now, but not while an erasure runs. What fails is lost, and counted. Raises as it failed."""
        refused = self._refused
        self.lost += refused - self._refused_known
        self._refused_known = refused
        if not self._waiting and not self._file.is_due(self.lost):
            return
        try:
            with taking_events(self._workspace.erasure_lock):
                self._write()
        except ErasureRuns:
            # What waits was read before the erasure is over, so it will be dropped: whoever waits is told at once.
            if self._durable:
                self._lose(self._take())

    def _write(self) -> None:
        taken = self._take()
        try:
            not_before = self._erasures.over_by()
            answers = [answer for answer in taken if answer.began.monotonic > not_before]
            self._append(answers)
        except BaseException:
            self._lose(taken)
            raise
        self._lose([answer for answer in taken if answer.began.monotonic <= not_before])
        self.written += sum(len(answer.predictions) for answer in answers)
        for answer in answers:
            if answer.kept is not None and not answer.kept.done():
                answer.kept.set_result(None)

    def _append(self, answers: Sequence[Answered]) -> None:
        vectors: list[ServedVector] = []
        lists: dict[str, FeatureList] = {}
        for reads, some in self._records.of(answers):
            lists[reads.id] = reads
            vectors += some
        self._file.append(vectors, lists, self.lost)

    def _take(self) -> list[Answered]:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        self._taken += sum(len(answer.predictions) for answer in taken)
        return taken

    def _lose(self, answers: Sequence[Answered]) -> None:
        self.lost += sum(len(answer.predictions) for answer in answers)
        for answer in answers:
            if answer.kept is not None and not answer.kept.done():
                answer.kept.set_exception(not_kept())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._due.wait(_WRITE_EVERY_SECONDS)
            self._due.clear()
            self._try_to_write()
        self._try_to_write()

    def _try_to_write(self) -> None:
        why = "too many waited to be written, or a customer was erased meanwhile"
        try:
            self.write()
        except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a write died of)
            why = described(error)
        if self.lost > self._told and (time.monotonic() - self._told_at > _TELL_EVERY_SECONDS):
            logger.warning(
                "%d served vectors are not in the log, %d in all: %s", self.lost - self._told, self.lost, why
            )
            self._told, self._told_at = self.lost, time.monotonic()


def not_kept() -> ApiError:
    """The refusal of a prediction that has to be in the log and cannot be."""
    detail = ErrorDetail(
        field="served_log",
        expected="a log that can be written, and no erasure meanwhile",
        got="neither, or one of them",
        hint="send the same call again after `Retry-After` seconds; `served_log.durable` of the profile asks for this",
    )
    headers = {"Retry-After": RETRY_AFTER_SECONDS}
    return ApiError(503, "prediction_not_logged", "the prediction could not be logged", [detail], headers)


def _unfinished() -> Future[None]:
    future: Future[None] = Future()
    # A request that is cancelled meanwhile must not take it away from the thread that writes.
    future.set_running_or_notify_cancel()
    return future


class _Erasures:
    """Notices that a customer was erased, by the count that the identity store keeps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._identity: IdentityStore | None = None
        self._over_by = -1
        try:
            self._known: int | None = self._count()
        except sqlite3.Error:
            self._known = None

    def over_by(self) -> int:
        """When (monotonic nanoseconds) every erasure so far was over; for calls while none can run.

        Raises sqlite3.Error where that cannot be told.
        """
        count = self._count()
        if count != self._known:
            self._over_by, self._known = time.monotonic_ns(), count
        return self._over_by

    def _count(self) -> int:
        if self._identity is None and self._settings.workspace.identity.exists():
            self._identity = open_identity(self._settings)
        return 0 if self._identity is None else self._identity.erasures
