"""The audit of states: those that are stored against those built anew from all events, byte for byte."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from feature_repo.configuration import Problem
from feature_repo.event_table import register_customer_events
from feature_repo.membership import Membership, revisions_of
from feature_repo.state.build import events_by_customer
from feature_repo.state.plan import StatePlan, plan_state
from feature_repo.state.storage import StateStorage, StoredState, stored_state
from feature_repo.state.tiles import LoggedEvent, fold
from pipelines.console import UserError, progress
from pipelines.events.opening import event_store, may_have_states, open_states
from pipelines.events.store import Snapshot
from pipelines.identity.current import current_membership
from pipelines.settings import Settings

_MOST_TOLD = 20
# Live events move states while they are compared; whose state moved is looked at again.
_SETTLE_SECONDS = 5.0
_POLL_SECONDS = 0.25

OTHER_BYTES = "other bytes than the same events give"
BEHIND = "lacks events that are stored"
MISSING = "no state, though there are events"
LEFT_OVER = "a state, though no event is theirs"


@dataclass(frozen=True, slots=True)
class StateDifference:
    """One customer whose stored state is not what a build gives; positions are -1 where there is none."""

    customer_id: str
    what: str
    stored_position: int
    built_position: int

    def text(self) -> str:
        return (
            f"{self.customer_id}: {self.what} (stored at position {self.stored_position}, built {self.built_position})"
        )


@dataclass(frozen=True, slots=True)
class StateAudit:
    """States of `compared` of the `customers` that are known against a build; `left_over` are of nobody known."""

    customers: int
    compared: int
    left_over: int
    differences: tuple[StateDifference, ...]
    spec_hash: str
    seed: int

    @property
    def passed(self) -> bool:
        return self.compared > 0 and not self.left_over and not self.differences

    def text(self) -> str:
        """The result for a person."""
        lines = [
            f"States of {self.compared:,} of {self.customers:,} customers (seed {self.seed}, spec {self.spec_hash})"
            f" built anew: {len(self.differences):,} different"
        ]
        if self.left_over:
            lines.append(f"  {self.left_over:,} states are of customers that no event is of: twin state rebuild")
        lines += [f"  {difference.text()}" for difference in self.differences[:_MOST_TOLD]]
        if len(self.differences) > _MOST_TOLD:
            lines.append(f"  and {len(self.differences) - _MOST_TOLD:,} more: --json has all")
        return "\n".join(lines)


def audit_states(settings: Settings, sample: int, seed: int) -> StateAudit:
    """Build the states of `sample` customers, drawn at random, anew from lake and journal, and compare.

    Live events may go on: a state that moves meanwhile is looked at again.

    Raises:
        UserError: there are no states of these features.
    """
    storage = _states(settings)
    stored = storage.count(settings.features.hash)
    known = _known_customers(*_stored_events(settings))
    # A sample, no secret.
    chosen = sorted(random.Random(seed).sample(known, min(sample, len(known))))  # noqa: S311
    until = time.monotonic() + _SETTLE_SECONDS
    with progress("Building states anew", float(len(chosen))) as advance:
        found = _differences(settings, storage, chosen)
        while any(difference.what != OTHER_BYTES for difference in found) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)
            found = _differences(settings, storage, [difference.customer_id for difference in found])
        advance(float(len(chosen)))
    left_over = max(0, stored - len(known))
    return StateAudit(len(known), len(chosen), left_over, tuple(found), settings.features.hash, seed)


def _states(settings: Settings) -> StateStorage:
    if may_have_states(settings):
        storage = open_states(settings)
        if settings.features.hash in storage.built_specs():
            return storage
    problem = Problem("state", f"states of spec {settings.features.hash}", "none", "build them: twin state rebuild")
    raise UserError(f"Workspace {settings.workspace.name!r} has no states of these features.", [problem])


def _stored_events(settings: Settings) -> tuple[Snapshot, Membership]:
    with event_store(settings) as store:
        membership = current_membership(settings)
        return store.snapshot(), membership


def _known_customers(snapshot: Snapshot, membership: Membership) -> list[str]:
    """Who has events that count, and who ever was known as something else than one user id."""
    with duckdb.connect() as connection:
        register_customer_events(connection, snapshot.lake_path, snapshot.version, snapshot.tail, membership)
        rows = connection.execute("SELECT DISTINCT customer_id FROM customer_events").fetchall()
    return sorted({row[0] for row in rows} | revisions_of(membership).keys())


def _differences(settings: Settings, storage: StateStorage, customers: Sequence[str]) -> list[StateDifference]:
    """How states differ from a build. They are read first, so that no event of theirs is missing from the build."""
    states = storage.get_many(settings.features.hash, customers)
    snapshot, membership = _stored_events(settings)
    revisions = revisions_of(membership)
    plan = plan_state(settings.features)
    of_all = events_by_customer(plan, snapshot.lake_path, snapshot.version, snapshot.tail, membership, customers)
    events = dict(of_all)
    judged = (_judged(plan, who, states.get(who), events.get(who, ()), revisions.get(who, 0)) for who in customers)
    return [difference for difference in judged if difference is not None]


def _judged(
    plan: StatePlan, customer: str, stored: StoredState | None, events: Sequence[LoggedEvent], revision: int
) -> StateDifference | None:
    built = stored_state(customer, fold(plan, None, events), revision) if events else None
    if stored is None or not stored.data:
        return None if built is None else StateDifference(customer, MISSING, -1, built.position)
    if built is None:
        return StateDifference(customer, LEFT_OVER, stored.position, -1)
    if stored == built:
        return None
    # The state of a revision and a position is one: whoever has other bytes there did not fold what the log says.
    at_its_own = [event for event in events if event.position <= stored.position]
    is_behind = stored.revision != revision or stored.data == fold(plan, None, at_its_own)
    what = BEHIND if is_behind else OTHER_BYTES
    return StateDifference(customer, what, stored.position, built.position)
