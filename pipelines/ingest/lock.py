"""One ingest at a time in a workspace: a lock that the operating system frees when its process ends."""

from __future__ import annotations

import fcntl
import sys
import time
from pathlib import Path
from typing import IO

from feature_repo.configuration import Problem
from pipelines.console import UserError

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.1


class IngestLock:
    """Held from `acquire` to `release`, or to the end of the process, however it ends."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle

    @classmethod
    def acquire(cls, root: Path, wait_seconds: float = WAIT_SECONDS) -> IngestLock:
        """Take the lock of the workspace at `root`.

        Raises:
            UserError: another ingest held it for all of `wait_seconds`.
        """
        root.mkdir(parents=True, exist_ok=True)
        handle = (root / "ingest.lock").open("a")
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(handle)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    handle.close()
                    raise UserError(
                        "another ingest of this workspace is running",
                        [
                            Problem(
                                "workspace",
                                "no other ingest",
                                f"one for more than {wait_seconds:.0f} s",
                                "wait until it ends, or use another workspace",
                            )
                        ],
                    ) from None
                if not told:
                    print("Another ingest of this workspace is running; waiting ...", file=sys.stderr, flush=True)
                    told = True
                time.sleep(_POLL_SECONDS)

    @property
    def held(self) -> bool:
        return not self._handle.closed

    def release(self) -> None:
        """Free the lock; more than once does no harm."""
        self._handle.close()
