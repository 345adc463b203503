"""The identity map of a workspace, taken up to what is stored now and published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from feature_repo.membership import Membership
from pipelines.events.opening import event_store
from pipelines.identity.catch_up import catch_up
from pipelines.identity.permissions import sources_under
from pipelines.identity.publish import publish
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings


@contextmanager
def current_identity(settings: Settings) -> Iterator[IdentityStore]:
    """The identity store, with everything that lake and journal hold applied. Raises as `catch_up`."""
    with event_store(settings) as store:
        identity = open_identity(settings)
        catch_up(identity, settings.workspace.lake, store.journal)
        yield identity


def current_membership(settings: Settings) -> Membership:
    """Whose every event is now, published for SQL over the lake. Raises as `catch_up`."""
    with current_identity(settings) as identity:
        sources = sources_under(settings, settings.consent.uses.features)
        return publish(identity, sources, settings.workspace.membership)
