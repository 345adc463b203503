"""The log of served vectors: what each prediction was made from, kept beside the requests.

A request only appends to a queue in memory. A thread writes the queue to a file every quarter of a second: a process
that is killed loses that much, and perhaps leaves one line torn, which readers skip. What cannot be kept, because the
queue is full or the disk is, is counted; no request waits for it or fails.

Nothing of an erased customer may be written after them. Nothing is written while an erasure runs; and after one
everything that was read before it ended is dropped, for nobody can tell any more of whom it was.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

from feature_repo.served import FeatureList, ServedVector, feature_list
from pipelines.events.exclusion import ErasureRuns, taking_events
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings
from serving.api import request_id
from serving.api.error_log import described
from serving.champion import Champion
from serving.predictor import Prediction
from serving.served_file import ServedFile
from serving.settings import service_settings

logger = logging.getLogger("bentoml.twin")

_WRITE_EVERY_SECONDS = 0.25
_TELL_EVERY_SECONDS = 60.0


class Moment(NamedTuple):
    """An instant by two clocks: int64 microseconds UTC, and nanoseconds that never go back."""

    utc: int
    monotonic: int


def now() -> Moment:
    return Moment(time.time_ns() // 1000, time.monotonic_ns())


def connect() -> ServedLog:
    """The log of the workspace that the environment names."""
    return ServedLog(service_settings())


class ServedLog:
    """The log of one process. `add` is for one thread; once started, a thread of its own writes."""

    def __init__(self, settings: Settings) -> None:
        self._workspace = settings.workspace
        profile = settings.profile.served_log
        self._threshold = int(profile.share * 2**32)
        self._most = profile.maximum_waiting
        self._file = ServedFile(settings.workspace.served, profile.keep_days)
        self._lists: dict[tuple[str, str, str], FeatureList] = {}
        self._waiting: deque[tuple[int, ServedVector]] = deque()
        # Counted by one thread each: of the first, how many the other has taken over.
        self._refused = 0
        self._refused_known = 0
        self.lost = 0
        self._erasures = _Erasures(settings)
        self._told, self._told_at = 0, float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)

    def start(self) -> None:
        """Begin to write, unless the profile has nothing logged."""
        if self._threshold:
            self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def add(self, champion: Champion, began: Moment, as_of: int, predictions: Iterable[Prediction]) -> None:
        """Keep the predictions that answer the current request; `began` is before their features were read."""
        request = request_id.current.get()
        if crc32(request.encode()) >= self._threshold:
            return
        reads = self._list_of(champion).id
        for prediction in predictions:
            read, score = prediction.read, prediction.probability
            if read is None or score is None:
                continue
            if len(self._waiting) >= self._most:
                self._refused += 1
                continue
            of = (began.utc, as_of, read.position, read.revision)
            vector = ServedVector(request, prediction.customer_id, *of, reads, read.values, score)
            self._waiting.append((began.monotonic, vector))

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
            return

    def _write(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            not_before = self._erasures.over_by()
            vectors = [vector for began, vector in taken if began > not_before]
            self._file.append(vectors, {known.id: known for known in list(self._lists.values())}, self.lost)
        except BaseException:
            self.lost += len(taken)
            raise
        self.lost += len(taken) - len(vectors)

    def _list_of(self, champion: Champion) -> FeatureList:
        key = (champion.model, champion.version, champion.spec_hash)
        known = self._lists.get(key)
        if known is None:
            known = self._lists[key] = feature_list(*key, champion.features)
        return known

    def _run(self) -> None:
        while not self._stopping.wait(_WRITE_EVERY_SECONDS):
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
