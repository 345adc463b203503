"""Open the journal and the event store of a workspace, in the backend that the profile names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.events.journal import Journal
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.events.store import EventStore


def open_journal(settings: Settings) -> Journal:
    """The journal of the workspace, made if there is none.

    PostgreSQL keeps each workspace in a schema of its own, `customer_twin_<workspace>`.

    Raises:
        UserError: PostgreSQL is wanted, and its driver or its address is missing.
        JournalUnavailable: it cannot be used now.
    """
    if settings.profile.journal == "sqlite":
        return SQLiteJournal(settings.workspace.journal)
    check_journal(settings)
    from pipelines.events.journal_postgres import PostgresJournal

    return PostgresJournal(schema=f"customer_twin_{settings.workspace.name}")


def check_journal(settings: Settings) -> None:
    """Raises UserError where the profile wants PostgreSQL, and its driver or its address is missing; asks no server."""
    if settings.profile.journal == "sqlite":
        return
    try:
        # An extra, which an installation without PostgreSQL does not have.
        from pipelines.events.journal_postgres import url_from_environment
    except ImportError as error:
        hint = "pip install 'customer-twin[server]', or choose a profile with `journal: sqlite`"
        wanted = Problem("journal", "psycopg, the driver of PostgreSQL", "none that can be imported", hint)
        raise UserError("this profile keeps live events in PostgreSQL", [wanted]) from error
    url_from_environment()


def may_have_journal(settings: Settings) -> bool:
    """Whether there may be a journal already; without asking a server."""
    return settings.profile.journal != "sqlite" or settings.workspace.journal.exists()


@contextmanager
def event_store(settings: Settings) -> Iterator[EventStore]:
    """Lake and journal, both made if there are none; closed at the end. Raises as `open_journal`."""
    # Engines that take long to import, which the service needs only once events come.
    from pipelines.events.store import EventStore

    journal = open_journal(settings)
    try:
        yield EventStore.open(settings.workspace.lake, journal)
    finally:
        journal.close()
