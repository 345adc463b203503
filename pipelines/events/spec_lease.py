"""Who serves from which states: a process holds a lease on a spec, and its states are not removed meanwhile.

The operating system ends a lease with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from contextlib import AbstractContextManager
from pathlib import Path

from pipelines.events.state_lock import alone


class SpecLease:
    """Held for as long as anything refers to it, a request that is still answered included."""

    def __init__(self, folder: Path, spec_hash: str) -> None:
        """`folder` holds the versions of the spec. Raises BlockingIOError while the states are being removed."""
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_file(folder, spec_hash), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        self._close = weakref.finalize(self, os.close, descriptor)

    def release(self) -> None:
        """End it now, whoever still refers to it."""
        self._close()


def unleased(folder: Path, spec_hash: str) -> AbstractContextManager[bool]:
    """Whether nobody holds a lease on the spec; if so, nobody can take one within the block."""
    return alone(_file(folder, spec_hash))


def _file(folder: Path, spec_hash: str) -> Path:
    return folder / f"{spec_hash}.lock"
