"""Who said no: the purposes that whatever is told of a customer needs, and which of them they denied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.identity.store import IdentityStore
from pipelines.settings import Settings

# Uses that are made of a customer by whatever is told of them: each is denied by its own purpose.
_USES = ("predictions", "features")


def purposes_needed(settings: Settings) -> Sequence[str]:
    """The purposes of which none may be denied by whom something is told of, each once."""
    uses = settings.consent.uses.model_dump()
    return list(dict.fromkeys(uses[use] for use in _USES))


def denied(identity: IdentityStore, customer_id: str, purposes: Sequence[str]) -> str | None:
    """The first of `purposes` that the customer denied; None where they denied none. Raises sqlite3.Error."""
    for purpose in purposes:
        permission = identity.permission(customer_id, purpose)
        if permission is not None and not permission.granted:
            return purpose
    return None


def who_denied(identity: IdentityStore, settings: Settings, customer_ids: Iterable[str]) -> set[str]:
    """Those of these ids, which a customer has or had, of whom nothing may be told now. Raises sqlite3.Error."""
    purposes = purposes_needed(settings)
    return {who for who in set(customer_ids) if denied(identity, identity.customer_of(who), purposes) is not None}
