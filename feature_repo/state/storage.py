"""The place for states: one row per customer and spec, guarded by revision and position. The port.

The revision says which events belong to the customer: it grows when identifiers are joined or parted, and
when consent changes. The position says up to where of the log they are folded.

States follow from the log, so a store may be one that forgets. What must never happen is that a customer whose
state is gone, or an older one, is taken for one without events. So a store keeps beside the states of a spec how
far all of them are (`Progress`); nobody serves or folds states without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from feature_repo.state.tiles import head_of


class StateUnavailable(Exception):
    """The states cannot be read or written now (server gone, or hanging). Nothing is half-written; try again later."""


class StatesLost(StateUnavailable):
    """The store has lost states, or may have. Those that it holds are not served until they were made whole again."""


@dataclass(frozen=True, slots=True)
class StoredState:
    """One customer's encoded state; `newest` is its latest instant (event or arrival), microseconds UTC.

    Without `data` it is a grave: no event belongs to the customer any more, and no older state may come back.
    """

    customer_id: str
    position: int
    newest: int
    data: bytes
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far all states of a spec are: up to `position` of the log, and to `version` of the identity map.

    `build` names the bulk build that they go back to; "" where live events alone made them.
    """

    position: int
    version: int = 0
    build: str = ""


NEVER = -(2**63)
"""`newest` of a grave."""


def stored_state(customer_id: str, data: bytes, revision: int = 0) -> StoredState:
    """The row to keep for an encoded state, or for whatever else begins as `tiles.Head`."""
    head = head_of(data)
    return StoredState(customer_id, head.position, max(head.newest_event, head.newest_arrival), data, revision)


def grave(customer_id: str, position: int, revision: int) -> StoredState:
    """The row to keep of a customer who has no events any more."""
    return StoredState(customer_id, position, NEVER, b"", revision)


class StateStorage(Protocol):
    """A place for states. States of several specs stand side by side, told apart by the spec's hash.

    Thread-safe, and any number of processes may use the same place. All calls raise StateUnavailable.
    """

    def get_many(self, spec_hash: str, customer_ids: Sequence[str]) -> dict[str, StoredState]:
        """The rows that exist, graves included, by customer.

        Raises StatesLost where the store knows that it may have forgotten some since the last `note`.
        """

    def put_many(self, spec_hash: str, states: Iterable[StoredState]) -> list[str]:
        """Store all in one transaction, and say whose row stayed, because it stands at a later (revision, position)."""

    def replace_many(self, spec_hash: str, states: Iterable[StoredState]) -> None:
        """Store all in one transaction, whatever stood there: for a build while nobody else writes."""

    def newest(self, spec_hash: str) -> int | None:
        """The latest instant in any state, microseconds UTC; None where there is no state."""

    def count(self, spec_hash: str) -> int:
        """Number of customers with a state; graves are none."""

    def keep_only(self, spec_hash: str, customer_ids: Iterable[str]) -> None:
        """Remove the rows of all other customers."""

    def begin(self, spec_hash: str) -> str:
        """To be called before work that ends in a `note`: the life of the store in which the work is done."""

    def note(self, spec_hash: str, position: int, version: int, life: str, build: str | None = None) -> None:
        """Keep how far all states of a spec are now. The position never falls; without `build` it stays as it is.

        Raises StatesLost where the store may have forgotten something since `begin` gave `life`.
        """

    def noted(self, spec_hash: str) -> Progress | None:
        """What was noted last; None where nothing was. It says nothing of what the store forgot since."""

    def as_found(self) -> StateStorage:
        """The same place for who makes states whole again: its `get_many` gives whatever is there."""

    def built_specs(self) -> list[str]:
        """Specs that have a note: their states were made to the end. Others may have rows of a build that was cut off.

        Asked at every fold, so it has to be cheap.
        """

    def remove_spec(self, spec_hash: str) -> None:
        """Drop all states of one spec, its note first; others may be read and written meanwhile."""

    def spec_hashes(self) -> list[str]:
        """Specs that have states."""

    def erase(self, customer_ids: Sequence[str]) -> None:
        """Remove the rows of customers, graves too, of every spec, and leave nothing of them in the files."""
