"""States that follow the journal, wired for one workspace."""

from __future__ import annotations

from feature_repo.state.storage import StateStorage
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import Journal
from pipelines.events.live_states import LiveStates
from pipelines.events.opening import open_states
from pipelines.identity.permissions import AllowedSources
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings


def open_customer_log(settings: Settings, journal: Journal, identity: IdentityStore) -> CustomerLog:
    """The events of single customers, in the workspace's journal and lake."""
    allowed = AllowedSources(settings, settings.consent.uses.features)
    return CustomerLog(journal, settings.workspace.lake, identity, allowed)


def open_live_states(
    settings: Settings,
    journal: Journal,
    identity: IdentityStore | None = None,
    storage: StateStorage | None = None,
) -> LiveStates:
    """The workspace's states over `journal`. Raises as `open_states`, and sqlite3.Error if a file is no database."""
    known = identity or open_identity(settings)
    log = open_customer_log(settings, journal, known)
    states = storage or open_states(settings)
    workspace = settings.workspace
    return LiveStates(settings.features, states, journal, known, log, workspace.state_lock, workspace.state_builds)
