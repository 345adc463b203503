"""Which sources were collected under a purpose: mappings say it of files, keys of what clients send."""

from __future__ import annotations

import time

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
    """`sources_under` for a service that runs: a key that is made meanwhile counts a second later."""

    def __init__(self, settings: Settings, purpose: str) -> None:
        self._settings = settings
        self._purpose = purpose
        self._read_at = float("-inf")
        self._found: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        now = time.monotonic()
        if now - self._read_at > _SECONDS:
            self._found, self._read_at = sources_under(self._settings, self._purpose), now
        return self._found


_SECONDS = 1.0
