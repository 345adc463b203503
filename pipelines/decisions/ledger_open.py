"""Open the ledger of a workspace, in the backend that keeps the profile's journal."""

from __future__ import annotations

from pipelines.decisions.ledger import Ledger
from pipelines.decisions.ledger_sqlite import SQLiteLedger
from pipelines.events.opening import check_journal
from pipelines.settings import Settings


def open_ledger(settings: Settings) -> Ledger:
    """The ledger, made if there is none; PostgreSQL keeps each workspace in a schema of its own, beside its journal.

    Raises:
        UserError: PostgreSQL is wanted, and its driver or its address is missing.
        LedgerUnavailable: it cannot be used now.
    """
    if settings.profile.journal == "sqlite":
        return SQLiteLedger(settings.workspace.decisions)
    check_journal(settings)
    # An extra, which an installation without PostgreSQL does not have.
    from pipelines.decisions.ledger_postgres import PostgresLedger

    return PostgresLedger(schema=f"customer_twin_{settings.workspace.name}")


def may_have_ledger(settings: Settings) -> bool:
    """Whether there may be a ledger already; without asking a server."""
    return settings.profile.journal != "sqlite" or settings.workspace.decisions.exists()
