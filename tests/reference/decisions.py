"""What may be chosen for one customer, rule by rule, and the best use of a budget by trying all: slow, obvious."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo, available_timezones

from pipelines.catalogue import Action, Catalogue
from pipelines.decisions.situation import Situation

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONES = available_timezones()


def zone_of(catalogue: Catalogue, situation: Situation) -> ZoneInfo:
    said = situation.features.get(catalogue.time_zone_feature or "")
    return ZoneInfo(str(said) if said in _ZONES else catalogue.time_zone)


def local_minute(zone: ZoneInfo, instant: int) -> int:
    local = (_EPOCH + timedelta(microseconds=instant)).astimezone(zone)
    return local.hour * 60 + local.minute


def quiet_minutes(action: Action) -> set[int]:
    """Walks the quiet hours minute by minute."""
    found: set[int] = set()
    if action.quiet_hours is not None:
        at = action.quiet_hours.begins
        while at != action.quiet_hours.ends:
            found.add(at)
            at = (at + 1) % 1440
    return found


def instants_to_send(action: Action, situation: Situation, zone: ZoneInfo) -> list[int]:
    """All instants, to the minute, of the next 24 hours at which the customer may be contacted."""
    minute = 60_000_000
    later = range(situation.as_of // minute * minute + minute, situation.as_of + 1440 * minute, minute)
    valid = [at for at in (situation.as_of, *later) if action.ends is None or at < action.ends]
    quiet = quiet_minutes(action)
    return [at for at in valid if not quiet or local_minute(zone, at) not in quiet]


def may_choose(catalogue: Catalogue, situation: Situation, action: Action) -> bool:
    scope = dict(situation.features)
    scope |= {f"consent.{purpose}": purpose in situation.consents for purpose in ("marketing", "profiling")}
    stages = [name for name, rule in catalogue.stages.items() if rule.value(scope) is True]
    scope["stage"] = stages[0] if stages else None
    if action.starts is not None and action.starts > situation.as_of:
        return False
    if action.ends is not None and action.ends <= situation.as_of:
        return False
    if action.purpose is not None and action.purpose not in situation.consents:
        return False
    if action.eligible is not None and action.eligible.value(scope) is not True:
        return False
    if catalogue.budget and action.cost and situation.spent + action.cost > catalogue.budget.amount:
        return False
    if action.channel is not None and not instants_to_send(action, situation, zone_of(catalogue, situation)):
        return False
    return not _breaks_a_cap(catalogue, situation, action)


def _breaks_a_cap(catalogue: Catalogue, situation: Situation, action: Action) -> bool:
    """Whether with this contact some window that ends with a contact would hold too many."""
    made = [(contact.action, contact.channel, contact.at) for contact in situation.contacts]
    made.append((action.id, action.channel, situation.as_of))
    for cap in catalogue.caps:
        if cap.action is not None:
            counted = [at for name, _, at in made if name == cap.action]
            concerned = action.id == cap.action
        elif cap.channel is not None:
            counted = [at for _, channel, at in made if channel == cap.channel]
            concerned = action.channel == cap.channel
        else:
            counted = [at for _, channel, at in made if channel is not None]
            concerned = action.channel is not None
        if concerned and sum(at >= situation.as_of - cap.within for at in counted) > cap.contacts:
            return True
    return False


def best_allocation(values: Sequence[Sequence[float]], costs: Sequence[int], budget: int) -> float:
    """The highest total value of at most one action a customer within the budget, by trying every choice.

    values: of n customers and k actions, -inf where one may not be chosen; costs of k actions.
    """
    best = 0.0
    for choice in product(range(-1, len(costs)), repeat=len(values)):
        chosen = [(row, at) for row, at in enumerate(choice) if at >= 0]
        if sum(costs[at] for _, at in chosen) <= budget:
            best = max(best, sum(values[row][at] for row, at in chosen))
    return best
