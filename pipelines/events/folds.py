"""What is made of a customer's events and kept in a place for states: features' tiles, and moments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from feature_repo.state.plan import StatePlan
from feature_repo.state.storage import StoredState, stored_state
from feature_repo.state.tiles import LoggedEvent, fold_more
from pipelines.events import moments


class Fold(Protocol):
    """One way to keep a customer's events. A pure function of their set, whatever order they came in."""

    def more(self, data: bytes | None, events: Iterable[LoggedEvent]) -> bytes:
        """What is kept after `events`, none of which is in `data` (None: nothing yet)."""

    def stored(self, customer_id: str, data: bytes, revision: int) -> StoredState:
        """The row to keep."""


@dataclass(frozen=True, slots=True)
class FeatureFold:
    """The state that features of one spec are read from."""

    plan: StatePlan

    def more(self, data: bytes | None, events: Iterable[LoggedEvent]) -> bytes:
        return fold_more(self.plan, data, events)

    def stored(self, customer_id: str, data: bytes, revision: int) -> StoredState:
        return stored_state(customer_id, data, revision)


@dataclass(frozen=True, slots=True)
class MomentFold:
    """The newest events of each kind."""

    kept_of_each: int

    def more(self, data: bytes | None, events: Iterable[LoggedEvent]) -> bytes:
        return moments.fold_moments(data, events, self.kept_of_each)

    def stored(self, customer_id: str, data: bytes, revision: int) -> StoredState:
        return stored_state(customer_id, data, revision)
