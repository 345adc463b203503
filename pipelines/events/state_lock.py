"""Locks between processes of one host, first of all the one between what writes states.

Folds of live events share it, a bulk build has it alone.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# A build holds the lock for seconds; `wait_for_folds` for microseconds, which is no reason to send anyone away.
_MOMENT_SECONDS = 0.05
_POLL_SECONDS = 0.002


class StatesBusy(Exception):
    """The states are being built in bulk; nothing was folded. Try again later."""


def share(file: IO[Any]) -> None:
    """Take the lock beside other folds. Raises StatesBusy while a build has it."""
    _take(file, fcntl.LOCK_SH, _MOMENT_SECONDS)


def release(file: IO[Any]) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def shared(path: Path) -> Iterator[IO[Any]]:
    """The lock at `path`, shared, on a file of its own. Raises StatesBusy while a build has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        share(file)
        yield file


def wait_for_folds(file: IO[Any], wait_seconds: float = 10.0) -> None:
    """Wait until all folds that run now have ended, then share the lock again; later folds go on meanwhile.

    A build may begin and end in between. Raises StatesBusy where folds or a build do not end in `wait_seconds`.
    """
    _take(file, fcntl.LOCK_EX, wait_seconds)
    share(file)


def _take(file: IO[Any], kind: int, wait_seconds: float) -> None:
    until = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise StatesBusy from None
            time.sleep(_POLL_SECONDS)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Whether nobody else has the lock at `path`; if so, nobody can take it until the block ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
