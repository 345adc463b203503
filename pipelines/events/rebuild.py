"""Build the states of single customers anew, from everything that lake and journal hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.configuration import Problem
from feature_repo.membership import Membership, revisions_of
from feature_repo.spec import FeatureSpec
from feature_repo.state.build import events_by_customer
from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StateStorage, StoredState, grave, stored_state
from feature_repo.state.tiles import LoggedEvent, fold
from pipelines.console import UserError
from pipelines.events.live_states import building
from pipelines.events.moments import kept_of
from pipelines.events.moments_build import moments_by_customer
from pipelines.events.opening import event_store, may_have_states, open_moments, open_states
from pipelines.events.specs_in_use import find_spec
from pipelines.events.store import Snapshot
from pipelines.identity.current import current_membership
from pipelines.identity.store import open_identity
from pipelines.settings import Settings


@dataclass(frozen=True, slots=True)
class RebuiltCustomers:
    """Customers whose states were built anew; `changed` are those of whom a stored state was another one."""

    customers: tuple[str, ...]
    changed: tuple[str, ...]
    events: int
    spec_hashes: tuple[str, ...]

    def text(self) -> str:
        """The summary for a person."""
        changed = f"{len(self.changed)} were others before" if self.changed else "all were the same before"
        return (
            f"States of {len(self.customers)} customers from {self.events:,} events"
            f" (spec {', '.join(self.spec_hashes)}): {changed}"
            + "".join(f"\n  {customer}" for customer in self.changed)
        )


def rebuild_customers(settings: Settings, user_ids: Sequence[str]) -> RebuiltCustomers:
    """Replace the states of the customers that `user_ids` are of, for every spec that has states. Live events wait.

    Raises:
        UserError: there are no states yet, or somebody has neither events nor a state.
        StateUnavailable: the states cannot be stored.
    """
    specs = _built(settings)
    if not specs:
        problem = Problem("--customer", "states of all customers", "none", "build all first: twin state rebuild")
        raise UserError("Single customers are rebuilt among the states of all.", [problem])
    storage = open_states(settings)
    with event_store(settings) as store, building(settings.workspace.state_lock):
        membership = current_membership(settings)
        now = store.snapshot()
        identity = open_identity(settings)
        customers = list(dict.fromkeys(identity.customer_of(user_id) for user_id in user_ids))
        changed: dict[str, None] = {}
        for spec in specs:
            logged, replaced = _rebuilt(spec, storage, now, membership, customers)
            changed |= dict.fromkeys(replaced)
        _rebuild_moments(settings, now, membership, customers)
    events = sum(map(len, logged.values()))
    return RebuiltCustomers(tuple(customers), tuple(changed), events, tuple(spec.hash for spec in specs))


def _rebuild_moments(settings: Settings, now: Snapshot, membership: Membership, customers: Sequence[str]) -> None:
    storage, revisions = open_moments(settings), revisions_of(membership)
    for key in storage.built_specs():
        kept_of_each = kept_of(key)
        if kept_of_each is None:
            continue
        before = storage.as_found().get_many(key, customers)
        made = moments_by_customer(kept_of_each, now.lake_path, now.version, now.tail, membership, customers)
        rows = [stored_state(who, data, revisions.get(who, 0)) for who, data in made.items()]
        rows += [grave(who, row.position, revisions.get(who, 0)) for who, row in before.items() if who not in made]
        storage.replace_many(key, rows)


def _built(settings: Settings) -> list[FeatureSpec]:
    if not may_have_states(settings):
        return []
    found = (find_spec(settings, spec) for spec in open_states(settings).built_specs())
    return [spec for spec in found if spec is not None]


def _rebuilt(
    spec: FeatureSpec, storage: StateStorage, now: Snapshot, membership: Membership, customers: Sequence[str]
) -> tuple[dict[str, list[LoggedEvent]], list[str]]:
    """The events of each customer, and whose stored state was another one."""
    before = storage.as_found().get_many(spec.hash, customers)
    plan, revisions = plan_state(spec), revisions_of(membership)
    logged = dict(events_by_customer(plan, now.lake_path, now.version, now.tail, membership, customers))
    _check_known(customers, logged.keys() | before.keys())
    built: list[StoredState] = []
    for who in customers:
        revision = revisions.get(who, 0)
        if who in logged:
            built.append(stored_state(who, fold(plan, None, logged[who]), revision))
        else:
            built.append(grave(who, before[who].position, revision))
    storage.replace_many(spec.hash, built)
    return logged, [state.customer_id for state in built if before.get(state.customer_id) != state]


def _check_known(customers: Sequence[str], known: set[str]) -> None:
    hint = "check it, letter by letter; nothing was changed"
    unknown = [who for who in customers if who not in known]
    if unknown:
        problems = [Problem("--customer", "a customer with events", repr(who), hint) for who in unknown]
        raise UserError("No event is of theirs.", problems)
