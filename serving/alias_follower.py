"""The thread that has the model store follow the registry, where somebody moves an alias in MLflow itself.

It reads aliases from the registry's file. Where the store lags behind, a process that ends by itself exports what is
due, so that MLflow stays out of the service; the service then takes it from the store as ever. What cannot be exported
is told by that process (`pipelines.not_exported`), and tried again now and then. Of several processes of a workspace
one follows.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from typing import IO

from pipelines import child_process
from pipelines.champions import due_exports
from pipelines.settings import Settings
from serving.api.error_log import described

logger = logging.getLogger("bentoml.twin")

EXPORTER = "pipelines.register.follow"
AGAIN_SECONDS = 300.0
_POLL_SECONDS = 0.05
_LONGEST_EXPORT_SECONDS = 300.0


class AliasFollower:
    """Looks every `follow_aliases_seconds` of the profile, from `start` to `close`; never where these are 0."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._every = settings.profile.service.follow_aliases_seconds
        self._alone: IO[bytes] | None = None
        self._tried: dict[str, str | None] = {}
        self._again_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alias-follower", daemon=True)

    def start(self) -> None:
        if self._every > 0:
            self._thread.start()

    def close(self) -> None:
        """An export that runs is ended; it is done again from its beginning."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._alone is not None:
            self._alone.close()

    def look(self) -> None:
        """Export what is due, unless another process does, or it could not be done just now.

        Raises:
            sqlite3.Error: the registry cannot be read now.
            OSError: there can be no lock, or no process.
        """
        due = due_exports(self._settings)
        is_new = not due.items() <= self._tried.items()
        if not due or not (is_new or time.monotonic() >= self._again_at) or not self._is_alone():
            return
        self._export()
        # What became due meanwhile was not tried yet.
        self._tried = dict(due.items() & due_exports(self._settings).items())
        self._again_at = time.monotonic() + AGAIN_SECONDS

    def _export(self) -> None:
        root = self._settings.workspace.root
        child = child_process.start(EXPORTER, ["--workspace", self._settings.workspace.name], root / "alias_export.log")
        until = time.monotonic() + _LONGEST_EXPORT_SECONDS
        while child.poll() is None and time.monotonic() < until and not self._stopping.wait(_POLL_SECONDS):
            continue
        if child.poll() is None:
            child.kill()
        child.wait()

    def _is_alone(self) -> bool:
        """Whether no other process of the workspace follows; then none will until this one ends."""
        if self._alone is None:
            file = (self._settings.workspace.root / "alias_follower.lock").open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                return False
            self._alone = file
        return True

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 (the thread has to live on, whatever a look died of)
                logger.error("the registry's aliases are not followed now: %s", described(error))
