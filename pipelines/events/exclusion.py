"""Who keeps out whom: an erasure waits for what runs and lets nothing new begin, in any process of the host.

The operating system frees these locks when their process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from feature_repo.configuration import Problem
from pipelines.console import UserError

WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ErasureRuns(Exception):
    """A customer is being erased; nothing was kept. Try again in a moment."""


class WorkspaceBusy(UserError):
    """Another process works on the workspace and does not pause."""


@contextmanager
def taking_events(lock: Path) -> Iterator[None]:
    """Around everything that keeps live data. Raises ErasureRuns."""
    with ExitStack() as held:
        try:
            with _opened(lock) as door:
                fcntl.flock(door, fcntl.LOCK_SH | fcntl.LOCK_NB)
                inside = held.enter_context(_opened(_inside(lock)))
                fcntl.flock(inside, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ErasureRuns from None
        yield


@contextmanager
def nothing_taken(lock: Path) -> Iterator[None]:
    """Around an erasure. The door is shut first, so that it does not wait for ever under load."""
    with exclusive(lock), exclusive(_inside(lock)):
        yield


@contextmanager
def lake_commit(lake: Path) -> Iterator[None]:
    """Around a commit to the lake; commits do not keep each other out. Waits for an erasure."""
    with _opened(lake.with_name(f"{lake.name}.lock")) as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def lake_rewrite(lake: Path) -> Iterator[None]:
    """Around the removal of files that a commit could still want."""
    with exclusive(lake.with_name(f"{lake.name}.lock")):
        yield


@contextmanager
def exclusive(lock: Path, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """The lock file held alone. Raises WorkspaceBusy where somebody held it for all of `wait_seconds`."""
    until = time.monotonic() + wait_seconds
    with _opened(lock) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    problem = Problem(
                        lock.name, "nobody else at work", f"somebody for {wait_seconds:.0f} s", "try later"
                    )
                    raise WorkspaceBusy("another process works on this workspace", [problem]) from None
                time.sleep(_POLL_SECONDS)
        yield


def _inside(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.inside")


@contextmanager
def _opened(lock: Path) -> Iterator[IO[str]]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        yield file
