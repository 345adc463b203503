"""What the service serves now, and the thread that has it follow the model store without a restart."""

from __future__ import annotations

import gc
import logging
import os
import threading
from pathlib import Path

from pipelines.model_store import challenger_name, latest_file
from pipelines.not_exported import not_exported_file
from pipelines.settings import Settings
from serving.api.error_log import described
from serving.bootstrap import OpenReader, Wiring, wire
from serving.carried import take_carried
from serving.champion import Champion
from serving.predictor import STATE_MISSING
from serving.served_records import ShadowModel
from serving.settings import service_settings

logger = logging.getLogger("bentoml.twin")

LOOK_SECONDS = 1.0
_LAST_LOOK_SECONDS = 10.0
# Stands for the file that says what could not be exported, which is no name of a model.
_NOT_EXPORTED = ""

# What tells one state of a file from the next: the store writes it anew for each version.
_Mark = tuple[int, int, int] | None


def connect() -> Connection:
    """What can be served of the workspace that the environment names."""
    settings = service_settings()
    take_carried(settings)
    return Connection(settings)


class Connection:
    """The wiring in use. A new one is complete before it takes the place of the old one, at once for all requests.

    A request keeps the predictor that it began with, which lives until the last of them has been answered.
    """

    def __init__(self, settings: Settings, open_features: OpenReader | None = None) -> None:
        """`open_features` stands in for the state of the workspace."""
        self.settings = settings
        self.open_features = open_features
        self._seen = self._marks()
        self._wiring = wire(settings, open_features)
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="champions", daemon=True)

    def wiring(self) -> Wiring:
        """What is served now. Where only states were missing it looks once more, which is cheap as long as they are:
        the first event that is acknowledged makes them, and whoever asks next is to be answered from them.
        """
        if any(refusal.code == STATE_MISSING for refusal in self._wiring.refusals.values()):
            self.look()
        return self._wiring

    def shadow_of(self, champion: Champion) -> tuple[ShadowModel, ...]:
        """Who answers in the shadow of a champion that is served now; nobody in that of a former one. Thread-safe."""
        wiring = self._wiring
        predictor, challenger = wiring.predictors.get(champion.model), wiring.challengers.get(champion.model)
        if predictor is None or predictor.champion is not champion or challenger is None or challenger.model is None:
            return ()
        return (ShadowModel(champion.model, challenger.version, challenger.predict),)

    def start(self) -> None:
        """Look once in `LOOK_SECONDS` from now on, in a thread."""
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_LOOK_SECONDS)

    def look(self) -> None:
        """Wire anew where the store has another champion, or where one could not be served yet. Thread-safe."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        # Before the store is read: what changes from here on is seen at the next look.
        seen = self._marks()
        unchanged = {name for name, mark in seen.items() if mark == self._seen[name]}
        if len(unchanged) == len(seen) and self._wiring.is_complete:
            return
        made = wire(self.settings, self.open_features, self._wiring, unchanged)
        served = made.served
        replaced = any(served.get(name) is not former for name, former in self._wiring.served.items())
        self._wiring, self._seen = made, seen
        if replaced:
            # What requests left behind in cycles may refer to the former, and collections are rare here: its states
            # could not be removed. What was there at the start is frozen and costs nothing.
            gc.collect()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a look died of)
                logger.error("what was served before is served still; the next look tries again: %s", described(error))

    def _marks(self) -> dict[str, _Mark]:
        home, models = self.settings.workspace.bentoml_home, tuple(self.settings.models)
        names = (*models, *self.settings.action_models, *map(challenger_name, models))
        marks = {name: _mark(latest_file(home, name)) for name in names}
        return {**marks, _NOT_EXPORTED: _mark(not_exported_file(home))}


def _mark(file: Path) -> _Mark:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
