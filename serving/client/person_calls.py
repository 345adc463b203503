"""The calls about persons: consent, identity and their rights."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Literal

from serving.api.consent_responses import ConsentReadResponse, ConsentResponse
from serving.api.identity_responses import DecisionResponse, ResolveResponse, ReviewedPair, WaitingPairs
from serving.api.privacy_responses import AccessResponse, EraseResponse
from serving.client.bodies import Identifier, ends, given, person, whom
from serving.client.transport import Transport

# Seconds; what takes long begins to answer before the service's own time-out.
_LONG_TIMEOUT = 600.0


class PersonCalls:
    """Who a customer is, what they allow, and what they may ask for. An identifier is a kind and a value."""

    _calls: Transport

    def consent(
        self,
        purposes: Mapping[str, bool],
        customer_id: str | None = None,
        *,
        identifier: Identifier | None = None,
        note: str | None = None,
        idempotency_key: str | None = None,
    ) -> ConsentResponse:
        """Take in what a customer said; purposes that are left out stay as they are."""
        body = {
            **whom(customer_id, identifier),
            **given(purposes=dict(purposes), note=note, idempotency_key=idempotency_key or str(uuid.uuid4())),
        }
        return self._calls.post("/v1/consent", body, ConsentResponse)

    def consent_read(
        self, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> ConsentReadResponse:
        """What holds for a customer, purpose by purpose."""
        return self._calls.post("/v1/consent/read", whom(customer_id, identifier), ConsentReadResponse)

    def resolve(self, customer_id: str | None = None, *, identifier: Identifier | None = None) -> ResolveResponse:
        """Who somebody is: identifiers, and the links between them with their evidence."""
        return self._calls.post("/v1/identity/resolve", person(customer_id, identifier), ResolveResponse)

    def merge(self, left: Identifier, right: Identifier, note: str | None = None) -> DecisionResponse:
        """Both identifiers are of one customer."""
        return self._calls.post("/v1/identity/merge", ends(left, right, note), DecisionResponse)

    def unmerge(self, left: Identifier, right: Identifier, note: str | None = None) -> DecisionResponse:
        """They are of two."""
        return self._calls.post("/v1/identity/unmerge", ends(left, right, note), DecisionResponse)

    def waiting_pairs(self, limit: int = 100) -> WaitingPairs:
        """The pairs of customers who may be one, and wait for somebody to decide."""
        return self._calls.post("/v1/identity/review", {"limit": limit}, WaitingPairs)

    def review(self, pair: str, verdict: Literal["accept", "reject"], note: str | None = None) -> ReviewedPair:
        """Decide one of them, for ever."""
        return self._calls.post("/v1/identity/review", given(pair=pair, verdict=verdict, note=note), ReviewedPair)

    def privacy_access(
        self, reason: str, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> AccessResponse:
        """Everything that is held about a customer, in the clear. Audited, with `reason`."""
        body = {**person(customer_id, identifier), "reason": reason}
        return self._calls.post("/v1/privacy/access", body, AccessResponse, _LONG_TIMEOUT)

    def privacy_erase(
        self, reason: str, customer_id: str | None = None, *, identifier: Identifier | None = None
    ) -> EraseResponse:
        """Erase a customer for ever. Audited, with `reason`."""
        body = {**person(customer_id, identifier), "reason": reason}
        return self._calls.post("/v1/privacy/erase", body, EraseResponse, _LONG_TIMEOUT)
