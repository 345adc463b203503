"""Who there is to decide on, and the purposes that hold for each: all customers in two looks at the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from feature_repo.event_table import register_customer_events
from pipelines.events.opening import event_store
from pipelines.identity.current import current_membership
from pipelines.identity.permissions import sources_under
from pipelines.identity.publish import permissions_table
from pipelines.identity.store import open_identity
from pipelines.settings import Settings

Flags = NDArray[np.bool_]

_CUSTOMERS = """
SELECT customer_id, list(DISTINCT source) AS sources FROM customer_events GROUP BY customer_id ORDER BY customer_id
"""


@dataclass(frozen=True, slots=True)
class Customers:
    """n customers with events, in the order of their ids; `consents` says of each purpose for whom it holds, (n,)."""

    ids: tuple[str, ...]
    consents: dict[str, Flags]

    def slice(self, begin: int, end: int) -> Customers:
        """Those from `begin` up to `end`."""
        flags = {purpose: held[begin:end] for purpose, held in self.consents.items()}
        return Customers(self.ids[begin:end], flags)


def customers_of(settings: Settings, purposes: Sequence[str]) -> Customers:
    """Every customer of lake and journal who may be profiled and predicted, with the `purposes` that hold.

    A purpose holds by a customer's own last word, else where a source of their events was collected under it; else it
    is denied. Whoever denied features or predictions is not among them.
    """
    membership = current_membership(settings)
    with event_store(settings) as store, duckdb.connect() as connection:
        now = store.snapshot()
        connection.execute("SET temp_directory = ?", [str(settings.workspace.root / "spill")])
        register_customer_events(connection, now.lake_path, now.version, now.tail, membership)
        found = connection.sql(_CUSTOMERS).to_arrow_table()
        ids = np.asarray(found.column("customer_id").to_pylist(), dtype=object)
        said = {purpose: _said(settings, purpose, ids) for purpose in dict.fromkeys([*purposes, *_uses(settings)])}
        kept = np.ones(len(ids), dtype=bool)
        for use in _uses(settings):
            kept &= said[use] != 0
        sourced = {purpose: _sourced(connection, found, sources_under(settings, purpose)) for purpose in purposes}
    consents = {
        purpose: np.where(said[purpose] == _NOTHING, sourced[purpose], said[purpose] == 1)[kept]
        for purpose in purposes
    }
    return Customers(tuple(ids[kept].tolist()), consents)


_NOTHING = -1


def _uses(settings: Settings) -> tuple[str, ...]:
    uses = settings.consent.uses
    return tuple(dict.fromkeys((uses.features, uses.predictions)))


def _said(settings: Settings, purpose: str, ids: NDArray[np.object_]) -> NDArray[np.int8]:
    """The customers' own last words, shape (n,): 1 yes, 0 no, -1 nothing."""
    found = np.full(len(ids), _NOTHING, dtype=np.int8)
    if not settings.workspace.identity.exists() or not len(ids):
        return found
    told = permissions_table(open_identity(settings), purpose)
    granted = dict(zip(told["customer_id"].to_pylist(), told["granted"].to_pylist(), strict=True))
    if granted:
        found[:] = [granted.get(customer, _NOTHING) for customer in ids.tolist()]
    return found


def _sourced(connection: duckdb.DuckDBPyConnection, found: object, sources: frozenset[str]) -> Flags:
    """Of whom an event came from one of `sources`, shape (n,)."""
    connection.register("found_customers", found)
    asked = "SELECT list_has_any(sources, ?::VARCHAR[]) AS held FROM found_customers ORDER BY customer_id"
    held = connection.execute(asked, [sorted(sources)]).to_arrow_table().column("held")
    return np.asarray(held.to_numpy(), dtype=bool)
