"""Whether a log of decisions keeps caps, quiet hours, consent and the budget: counted the slow, obvious way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipelines.catalogue import NO_ACTION, Cap, Catalogue
from pipelines.decisions.ledger_event import Recorded
from tests.reference.decisions import local_minute, quiet_minutes, zone_of


def broken(catalogue: Catalogue, log: Sequence[Recorded], refused: Iterable[str] = ()) -> list[str]:
    """What is broken, in words. `refused` are decisions asked for after their customer's no was answered."""
    contacts = [one for one in log if one.decision.action != NO_ACTION]
    return [
        *_twice(log),
        *_caps(catalogue, contacts),
        *_quiet(catalogue, contacts),
        *_consent(catalogue, contacts, set(refused)),
        *_budget(catalogue, log),
    ]


def _twice(log: Sequence[Recorded]) -> list[str]:
    seen: dict[str, int] = defaultdict(int)
    for one in log:
        seen[one.decision.decision_id] += 1
    return [f"{name} stands in the log {count} times" for name, count in seen.items() if count > 1]


def _caps(catalogue: Catalogue, contacts: Sequence[Recorded]) -> list[str]:
    found = []
    by_customer: dict[str, list[Recorded]] = defaultdict(list)
    for one in contacts:
        by_customer[one.decision.customer_id].append(one)
    for customer, mine in by_customer.items():
        for cap in catalogue.caps:
            at = sorted(_at(one) for one in mine if _counts(cap, one))
            for end in at:
                inside = sum(end - cap.within <= instant <= end for instant in at)
                if inside > cap.contacts:
                    found.append(f"{customer} has {inside} contacts within a cap of {cap.contacts}")
    return found


def _counts(cap: Cap, one: Recorded) -> bool:
    if cap.action is not None:
        return one.decision.action == cap.action
    return cap.channel is None or one.decision.channel == cap.channel


def _quiet(catalogue: Catalogue, contacts: Sequence[Recorded]) -> list[str]:
    found = []
    for one in contacts:
        minute = local_minute(zone_of(catalogue, one.situation), _at(one))
        if minute in quiet_minutes(catalogue.action(one.decision.action)):
            found.append(f"{one.decision.decision_id} is sent at minute {minute} of the customer's day")
    return found


def _consent(catalogue: Catalogue, contacts: Sequence[Recorded], refused: set[str]) -> list[str]:
    found = []
    for one in contacts:
        purpose = catalogue.action(one.decision.action).purpose
        if purpose is not None and (purpose not in one.situation.consents or one.decision.decision_id in refused):
            found.append(f"{one.decision.decision_id} contacts a customer who did not grant {purpose}")
    return found


def _budget(catalogue: Catalogue, log: Sequence[Recorded]) -> list[str]:
    budget = catalogue.budget
    if budget is None:
        return []
    spent: dict[int, int] = defaultdict(int)
    for one in log:
        spent[one.decision.as_of // budget.per] += one.decision.cost
    return [f"{cost} was spent of {budget.amount}" for cost in spent.values() if cost > budget.amount]


def _at(one: Recorded) -> int:
    return one.decision.as_of if one.decision.send_at is None else one.decision.send_at
