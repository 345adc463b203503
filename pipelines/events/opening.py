"""Open the journal, the event store and the states of a workspace, in the backends that the profile names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.configuration import Problem
from feature_repo.state.backends import URL_VARIABLES, open_file, open_server
from feature_repo.state.storage import StateStorage
from pipelines.console import UserError
from pipelines.events.journal import Journal
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.moments import record_key
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


def open_states(settings: Settings) -> StateStorage:
    """The states of the workspace's customers, made if there are none. A server is asked when they are first used.

    Raises:
        UserError: a server is wanted, and its driver or its address is missing.
        StateUnavailable: the file cannot be used now.
    """
    return _opened(settings, settings.workspace.state, settings.workspace.name)


def open_moments(settings: Settings) -> StateStorage:
    """The place for records of moments, beside the states. Raises as `open_states`."""
    # No name of a workspace has a full stop.
    return _opened(settings, settings.workspace.moments, f"{settings.workspace.name}.moments")


def moments_key(settings: Settings) -> str:
    """What records of moments stand under now."""
    return record_key(settings.twin.kept_of_each)


def _opened(settings: Settings, file: Path, name: str) -> StateStorage:
    backend = settings.profile.online_store
    if backend == "sqlite":
        return open_file(file)
    url = os.environ.get(URL_VARIABLES[backend])
    if not url:
        wanted = Problem(URL_VARIABLES[backend], "the address of the server", "nothing", "set it in the environment")
        raise UserError(f"this profile keeps the states of customers in {backend}", [wanted])
    try:
        return open_server(backend, url, name)
    except ImportError as error:
        hint = "pip install 'customer-twin[server]', or choose a profile with `online_store: sqlite`"
        wanted = Problem("online_store", f"the driver of {backend}", "none that can be imported", hint)
        raise UserError(f"this profile keeps the states of customers in {backend}", [wanted]) from error
    except ValueError as error:
        wanted = Problem(URL_VARIABLES[backend], "an address, such as redis://host:6379/0", "something else")
        raise UserError("the address of the states of customers cannot be read", [wanted]) from error


def check_states(settings: Settings) -> None:
    """Raises UserError where the profile wants a server whose driver or address is missing; asks no server."""
    if settings.profile.online_store != "sqlite":
        open_states(settings)


def may_have_states(settings: Settings) -> bool:
    """Whether there may be states already; without asking a server."""
    return settings.profile.online_store != "sqlite" or settings.workspace.state.exists()


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
