"""States that follow the journal, wired for one workspace."""

from __future__ import annotations

from functools import partial

from feature_repo.state.storage import StateStorage
from pipelines.events.customer_log import CustomerLog
from pipelines.events.journal import Journal
from pipelines.events.live_states import LiveStates
from pipelines.events.opening import moments_key, open_moments, open_states
from pipelines.events.specs_in_use import find_spec
from pipelines.identity.permissions import AllowedSources
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions


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
    """The workspace's states over `journal`, of all specs, and its records of moments.

    Raises as `open_states`, and sqlite3.Error if a file is no database.
    """
    workspace = settings.workspace
    # From here on events go into states of this spec, also while another one is current.
    SpecVersions(workspace.specs).remember(settings.features.hash, settings.spec_file)
    known = identity or open_identity(settings)
    log = open_customer_log(settings, journal, known)
    states = storage or open_states(settings)
    find = partial(find_spec, settings)
    return LiveStates(
        settings.features,
        states,
        journal,
        known,
        log,
        workspace.state_lock,
        workspace.state_builds,
        find,
        open_moments(settings),
        moments_key(settings),
    )
