"""A thread that makes the states of customers whole again, after the server that has them was away or forgot some."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from feature_repo.state.storage import StatesLost, StateUnavailable
from pipelines.events.opening import open_states
from pipelines.settings import Settings
from serving.api.error_log import described

logger = logging.getLogger("bentoml.twin")

_LOOK_EVERY_SECONDS = 0.5


class StateKeeper:
    """Looks twice a second whether the states can be read; states in a file of this host need nobody to look."""

    def __init__(self, settings: Settings, mend: Callable[[], None]) -> None:
        """`mend` compares the states with the log. It raises StatesLost where they have to be built."""
        self._settings, self._mend = settings, mend
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="state keeper", daemon=True)
        self._behind = False
        self._told = False

    def start(self) -> None:
        if self._settings.profile.online_store != "sqlite":
            self._thread.start()

    def look_again(self) -> None:
        """A call could not be folded: compare the states with the log once they can be read."""
        self._behind = True

    def close(self) -> None:
        """Look no more; what runs now ends by itself."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_SECONDS):
            try:
                self._look()
            except StatesLost as error:
                self._tell("%s", error)
            except StateUnavailable:
                # The next look finds out more, and whoever calls is told.
                self._behind = True
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a look died of)
                self._behind = True
                self._tell("states of customers are not mended yet: %s", described(error))
            else:
                self._told = False

    def _look(self) -> None:
        try:
            open_states(self._settings).get_many(self._settings.features.hash, [])
        except StatesLost:
            self._behind = True
        if self._behind:
            # Also what was appended to the journal and could not be folded while the server was away.
            self._mend()
            self._behind = False

    def _tell(self, text: str, what: object) -> None:
        """Once for each time that something is wrong."""
        if not self._told:
            logger.error(text, what)
        self._told = True
