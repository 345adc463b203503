"""Why an action may not be chosen for a customer now, whatever it is worth: the first obstacle in a fixed order.

The order is what was asked for, validity, consent, eligibility, caps, quiet hours, budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.catalogue import Action, Budget, Cap, Catalogue
from pipelines.decisions.customer_clock import DAY, CustomerClock
from pipelines.decisions.scope import told
from pipelines.decisions.send_time import BestHour
from pipelines.decisions.situation import Contact, Lost, Situation
from pipelines.expressions import Value


@dataclass(frozen=True, slots=True)
class Obstacle:
    """The code and the sentence of why an action may not be chosen."""

    lost: Lost
    because: str


def obstacle(
    action: Action, catalogue: Catalogue, situation: Situation, scope: Mapping[str, Value], reached: Sequence[Cap]
) -> Obstacle | None:
    """The first obstacle but for quiet hours and budget; None where there is none. `reached` are caps without room."""
    if situation.offer and action.id not in situation.offer:
        return Obstacle("not_offered", "whoever asked offers other actions")
    if action.starts is not None and situation.as_of < action.starts:
        return Obstacle("not_valid_yet", "it is not offered yet")
    if action.ends is not None and situation.as_of >= action.ends:
        return Obstacle("expired", "it is not offered any more")
    if action.purpose is not None and action.purpose not in situation.consents:
        return Obstacle("consent", f"the customer did not consent to {action.purpose}")
    rule = action.eligible
    if rule is not None and (held := rule.value(scope)) is not True:
        said = "is not known to hold" if held is None else "does not hold"
        values = told(rule.names, scope)
        return Obstacle("not_eligible", f"its rule {said}: {rule.text}{f' ({values})' if values else ''}")
    for cap in reached:
        if counts_for(cap, action.id, action.channel):
            return Obstacle("cap", f"{_said(cap)} was reached")
    return None


def within_budget(action: Action, budget: Budget | None, spent: int) -> bool:
    """Whether the period's budget has room for one contact more; what costs nothing always fits."""
    return budget is None or action.cost <= 0 or spent + action.cost <= budget.amount


def when_to_send(action: Action, best: BestHour | None, clock: CustomerClock) -> int | None:
    """The instant to contact the customer, while the action is valid; None where none within 24 hours is allowed."""
    until = clock.as_of + DAY
    if action.ends is not None and action.ends < until:
        until = action.ends
    return clock.first_allowed(until, best.hour if best else None, action.quiet_hours)


def reached_caps(caps: Sequence[Cap], contacts: Sequence[Contact], as_of: int) -> list[Cap]:
    """The caps that leave no room for one contact more at `as_of`.

    Contacts of `[as_of - within, ...]` count, also any after `as_of`: with one that a faster clock decided on, the
    cap would be broken as well.
    """
    if not contacts:
        return [cap for cap in caps if cap.contacts <= 0]
    return [cap for cap in caps if _contacts_for(cap, contacts, as_of) >= cap.contacts]


def counts_for(cap: Cap, action: str, channel: str | None) -> bool:
    """Whether a contact by this action counts for the cap: over all, those count that reach the customer."""
    if cap.action is None and cap.channel is None:
        return channel is not None
    return cap.action in (None, action) and cap.channel in (None, channel)


def _contacts_for(cap: Cap, contacts: Sequence[Contact], as_of: int) -> int:
    since = as_of - cap.within
    return sum(contact.at >= since and counts_for(cap, contact.action, contact.channel) for contact in contacts)


def _said(cap: Cap) -> str:
    over = f" by {cap.channel}" if cap.channel else ""
    of = f" of {cap.action}" if cap.action else ""
    return f"the cap of {cap.contacts} contacts{of}{over} in {_span(cap.within)}"


def _span(microseconds: int) -> str:
    hours = microseconds / 3_600_000_000
    return f"{hours / 24:g} days" if hours >= 24 else f"{hours:g} hours"
