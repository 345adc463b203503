"""A thread beside the requests that moves the journal into the lake, whenever it holds enough."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pipelines.events.journal import Journal
from pipelines.events.live_states import LiveStates
from pipelines.events.spec_removal import remove_obsolete
from pipelines.settings import Settings
from serving.api.error_log import described
from serving.observing import measures

logger = logging.getLogger("bentoml.twin")

# Longer than a run of usual size. Who dies in the middle of one loses nothing either.
_LAST_RUN_SECONDS = 20.0

OpenStore = Callable[[], tuple[Journal, LiveStates] | None]


class Compactor:
    """Looks every `compact_every_seconds`; several processes may each have one, and one at a time works."""

    def __init__(self, settings: Settings, opened: OpenStore) -> None:
        """`opened` gives journal and states, and None while there is no journal."""
        self._settings = settings
        self._workspace = settings.workspace
        self._limits = settings.profile.ingestion
        self._opened = opened
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="compactor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Let a run that goes on end, and begin no other."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_RUN_SECONDS)

    def _run(self) -> None:
        while not self._stopping.wait(self._limits.compact_every_seconds):
            try:
                self.compact_if_due()
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a run died of)
                logger.error("events stay in the journal for now; the next run tries again: %s", described(error))

    def compact_if_due(self) -> int:
        """Move the journal's rows into the lake if there are enough; how many went. Raises as `compact_folded`."""
        store = self._opened()
        if store is None:
            return 0
        # Engines that take long to import, in this thread and not in one that a request waits for.
        from pipelines.events.live_compaction import compact_folded, holds_rows

        journal, states = store
        for spec in remove_obsolete(self._settings, states.storage):
            logger.info("removed: the states of spec %s, which nobody uses any more", spec)
        if not holds_rows(journal, self._limits.compact_at_rows):
            return 0
        began = time.perf_counter()
        report = compact_folded(self._workspace, journal, states)
        if report is None:
            return 0
        measures.COMPACTIONS.observe(time.perf_counter() - began)
        measures.COMPACTED.add(by=report.moved)
        logger.info("%d live events moved into the lake, now version %d", report.moved, report.lake_version)
        return report.moved
