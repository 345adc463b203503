"""Who there is to decide on, what they granted, and how they were contacted: all customers in a few looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from feature_repo.event_table import register_customer_events
from pipelines.decisions.situation import Contact
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.identity.publish import permissions_table
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.settings import Settings
from pipelines.settings.identity import USER_ID

Flags = NDArray[np.bool_]
_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Customers:
    """n customers with events, in the order of their ids; `granted` says of each purpose by whom it was, (n,)."""

    ids: tuple[str, ...]
    granted: Mapping[str, Flags]


def customers_of(settings: Settings) -> Customers:
    """Every customer of lake and journal whose events count and who did not deny what a decision needs.

    A purpose is granted by a customer's own last word alone, as for a single decision.
    """
    membership = current_membership(settings)
    with event_store(settings) as store, duckdb.connect() as connection:
        now = store.snapshot()
        connection.execute("SET temp_directory = ?", [str(settings.workspace.root / "spill")])
        register_customer_events(connection, now.lake_path, now.version, now.tail, membership)
        query = "SELECT DISTINCT customer_id FROM customer_events ORDER BY customer_id"
        ids: list[str] = connection.sql(query).to_arrow_table().column("customer_id").to_pylist()
    identity = open_identity(settings)
    said = {purpose: _said(identity, purpose, ids) for purpose in settings.consent.purposes}
    kept = np.ones(len(ids), dtype=bool)
    for use in (settings.consent.uses.features, settings.consent.uses.predictions):
        kept &= said[use] != 0
    granted = {purpose: (answers == 1)[kept] for purpose, answers in said.items()}
    return Customers(tuple(customer for customer, keep in zip(ids, kept.tolist(), strict=True) if keep), granted)


def contacts_by_customer(
    settings: Settings, contacts: Mapping[str, Sequence[Contact]]
) -> dict[str, tuple[Contact, ...]]:
    """Contacts under the id that their customer has now: those of customers who became one stand together."""
    owners = _owners(open_identity(settings)) if contacts else {}
    found: dict[str, list[Contact]] = {}
    for known_as, made in contacts.items():
        found.setdefault(owners.get(known_as, known_as), []).extend(made)
    return {customer: tuple(sorted(made, key=lambda contact: contact.at)) for customer, made in found.items()}


def _said(identity: IdentityStore, purpose: str, ids: Sequence[str]) -> NDArray[np.int8]:
    """The customers' own last words, shape (n,): 1 yes, 0 no, -1 nothing."""
    told = permissions_table(identity, purpose)
    answers = dict(zip(told["customer_id"].to_pylist(), told["granted"].to_pylist(), strict=True))
    if not answers:
        return np.full(len(ids), _NOTHING, dtype=np.int8)
    return np.fromiter((answers.get(customer, _NOTHING) for customer in ids), dtype=np.int8, count=len(ids))


def _owners(identity: IdentityStore) -> dict[str, str]:
    """The customer of each id that decisions may stand under and that is not the customer's own."""
    rows = identity.rows("SELECT kind, key, customer_id FROM identity_nodes WHERE customer_id IS NOT NULL")
    return {key if kind == USER_ID else f"~{kind}:{key}": customer for kind, key, customer in rows}
