"""Which sources were collected under a purpose: mappings say it of files, keys of what clients send."""

from __future__ import annotations

import time
from pathlib import Path

from pipelines.access import source_purposes
from pipelines.decisions.ledger import SOURCE as DECISIONS
from pipelines.settings import Settings


def sources_under(settings: Settings, purpose: str) -> frozenset[str]:
    """The sources whose events may be used for `purpose` unless their customer said no.

    Decisions are made of customers alone whose other events count for features, so theirs count there too.
    """
    files = {name for name, source in settings.sources.items() if source.consent and purpose in source.consent.purposes}
    stated = source_purposes(settings.workspace.access)
    ours = {DECISIONS} if purpose == settings.consent.uses.features else set()
    return frozenset(files | {source for source, purposes in stated.items() if purpose in purposes} | ours)


class AllowedSources:
    """`sources_under` for a service that runs: a key counts as soon as it is made."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        self._settings = settings
        self._purpose = purpose
        self._read_at = float("-inf")
        self._stamp: object = None
        self._found: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        now, stamp = time.monotonic(), _stamp(self._settings.workspace.access)
        # Two changes within one tick of the file system's clock may look like one.
        if stamp != self._stamp or now - self._read_at > _SECONDS:
            self._found, self._read_at, self._stamp = sources_under(self._settings, self._purpose), now, stamp
        return self._found


_SECONDS = 1.0


def _stamp(file: Path) -> tuple[tuple[int, int] | None, ...]:
    """Another one whenever somebody wrote into the SQLite file, or into the log beside it."""
    return tuple(_written(part) for part in (file, file.with_name(f"{file.name}-wal")))


def _written(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
