"""Before anything is read of a customer: who it is that was asked for, and whether they said no."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.identity.denial import denied, purposes_needed
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings
from serving.api.errors import ApiError, ErrorDetail
from serving.settings import service_settings

# Ids between two turns of the event loop: as long as the reads of one slice of features take.
SLICE = 64


@dataclass(frozen=True, slots=True)
class Asked:
    """The customer that an id is of now; `denied` is the purpose that they refused, which forbids to go on."""

    customer_id: str
    denied: str | None


def connect() -> ConsentGate:
    """The gate of the workspace that the environment names."""
    return ConsentGate(service_settings())


class ConsentGate:
    """Looks at identity and consent as they are at the moment of the call (about 15 µs an id). Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing yet: before anybody wrote of identity or consent every id is its own customer."""
        self._settings = settings
        self._purposes = purposes_needed(settings)
        self._identity: IdentityStore | None = None

    def ask(self, customer_id: str) -> Asked:
        """Raises ApiError (503) where it cannot be told whether the customer said no."""
        try:
            identity = self._opened()
            if identity is None:
                return Asked(customer_id, None)
            resolved = identity.customer_of(customer_id)
            return Asked(resolved, denied(identity, resolved, self._purposes))
        except sqlite3.Error as error:
            detail = ErrorDetail(field="identity.db", expected="a file that can be read", got=type(error).__name__)
            raise ApiError(503, "identity_unavailable", "consent cannot be read now", [detail]) from error

    async def ask_many(self, customer_ids: Sequence[str]) -> list[Asked]:
        """`ask` of each, in order, with turns for others in between. Raises ApiError as `ask`."""
        found: list[Asked] = []
        for start in range(0, len(customer_ids), SLICE):
            found += [self.ask(customer_id) for customer_id in customer_ids[start : start + SLICE]]
            await asyncio.sleep(0)
        return found

    def permitted(self, customer_id: str, field: str) -> str:
        """The customer of an id, who did not say no. Raises ApiError: 403 where they did, 503 as `ask`."""
        asked = self.ask(customer_id)
        if asked.denied is not None:
            raise consent_denied(asked.denied, field)
        return asked.customer_id

    def _opened(self) -> IdentityStore | None:
        if self._identity is None and self._settings.workspace.identity.exists():
            self._identity = open_identity(self._settings)
        return self._identity


def consent_denied(purpose: str, field: str) -> ApiError:
    """The customer refused what the answer needs."""
    detail = ErrorDetail(
        field=field,
        expected=f"a customer who did not deny {purpose}",
        got=f"one who denied {purpose}",
        hint="only the customer can change that; what they say counts from the next request on",
    )
    return ApiError(403, "consent_denied", f"this customer denied the purpose {purpose}", [detail])
