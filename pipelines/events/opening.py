"""Open the event store of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.store import EventStore
from pipelines.settings.workspace import Workspace


@contextmanager
def event_store(workspace: Workspace) -> Iterator[EventStore]:
    """Lake and journal, both made if there are none; closed at the end. Raises JournalUnavailable."""
    journal = SQLiteJournal(workspace.journal)
    try:
        yield EventStore.open(workspace.lake, journal)
    finally:
        journal.close()
