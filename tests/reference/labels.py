"""Labels of every kind, said as slowly and plainly as possible: what the SQL is held against."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.settings.labels import ActionLabel, ChurnLabel, ConversionLabel, Label, ValueLabel, microseconds

LARGEST = 10**12


@dataclass(frozen=True)
class Event:
    customer_id: str
    event: str
    event_time: int
    available_at: int
    value: int | None = None
    campaign: str | None = None
    said: Mapping[str, Any] | None = None


Row = tuple[int, str, int]


def labels_at(log: list[Event], label: Label, instants: Iterable[int], known_by: int = 2**63) -> list[Row]:
    """(instant, customer, label), ordered."""
    rows = []
    for instant in instants:
        for customer in sorted({event.customer_id for event in log}):
            own = [event for event in log if event.customer_id == customer]
            if is_excluded(own, label, instant):
                continue
            if isinstance(label, ConversionLabel):
                open_ones = [event for event in own if is_open(event, own, label, instant)]
                if open_ones:
                    rows.append((instant, customer, converts(open_ones, own, label, instant, known_by)))
            elif any(seen(e, instant) and in_look_back(e, label, instant) for e in own if qualifies(e, label)):
                rows.append((instant, customer, outcome(own, label, instant, known_by)))
    return sorted(rows)


def labels_at_openings(log: list[Event], label: ConversionLabel, begin: int, end: int) -> list[Row]:
    """(instant, customer, label) right after each opening, ordered; one where several fall on one instant."""
    rows = set()
    for opening in log:
        instant = known_from(opening)
        own = [event for event in log if event.customer_id == opening.customer_id]
        if not begin <= instant < end or is_excluded(own, label, instant):
            continue
        opened_now = [e for e in own if known_from(e) == instant and is_open(e, own, label, instant)]
        if opening in opened_now:
            rows.add((instant, opening.customer_id, converts(opened_now, own, label, instant, 2**63)))
    return sorted(rows)


def known_from(event: Event) -> int:
    return max(event.event_time, event.available_at) + 1


def seen(event: Event, instant: int) -> bool:
    return event.event_time < instant and event.available_at <= instant


def in_look_back(event: Event, label: Label, instant: int) -> bool:
    return event.event_time >= instant - microseconds(label.look_back)


def qualifies(event: Event, label: Label) -> bool:
    return event.event in label.population_events


def is_excluded(own: list[Event], label: Label, instant: int) -> bool:
    if label.exclude is None:
        return False
    for event in own:
        if event.event in label.exclude.events and seen(event, instant):
            within = label.exclude.within
            if within is None or event.event_time >= instant - microseconds(within):
                return True
    return False


def same_opportunity(one: Event, other: Event, label: ConversionLabel) -> bool:
    return label.match is None or one.campaign == other.campaign


def is_open(opening: Event, own: list[Event], label: ConversionLabel, instant: int) -> bool:
    if opening.event not in label.opened_by or not seen(opening, instant) or not in_look_back(opening, label, instant):
        return False
    if label.match is not None and not opening.campaign:
        return False
    for event in own:
        closes = event.event in label.closed_by or event.event in label.goal_events
        came_after = event.event_time > opening.event_time and seen(event, instant)
        if closes and came_after and same_opportunity(opening, event, label):
            return False
    return True


def in_window(event: Event, label: Label, instant: int, known_by: int) -> bool:
    begin = instant + microseconds(label.gap)
    return begin <= event.event_time < begin + microseconds(label.horizon) and event.available_at <= known_by


def converts(openings: list[Event], own: list[Event], label: ConversionLabel, instant: int, known_by: int) -> int:
    for event in own:
        reached = event.event in label.goal_events and in_window(event, label, instant, known_by)
        if reached and any(same_opportunity(opening, event, label) for opening in openings):
            return 1
    return 0


def outcome(own: list[Event], label: Label, instant: int, known_by: int) -> int:
    within = [event for event in own if in_window(event, label, instant, known_by)]
    if isinstance(label, ValueLabel):
        total = 0
        for event in within:
            amount = event.value if event.value is not None and abs(event.value) <= LARGEST else 0
            if event.event in label.add:
                total += amount
            if event.event in label.subtract:
                total -= amount
        return total
    came_back = [event.event_time for event in within if qualifies(event, label)]
    if isinstance(label, ChurnLabel):
        return 0 if came_back else 1
    return min(came_back) - instant - microseconds(label.gap) if came_back else -1


@dataclass(frozen=True)
class ActionRow:
    as_of: int
    customer_id: str
    reward: int
    action: str
    propensity: float | None
    eligible: tuple[str, ...] | None


@dataclass(frozen=True)
class Assignment:
    customer_id: str
    as_of: int
    available_at: int
    action: str | None
    propensity: float | None
    eligible: tuple[str, ...] | None
    mistake: str | None


def action_rows(
    log: list[Event], label: ActionLabel, begin: int, end: int, anchor: int, every: int, known_by: int = 2**63
) -> tuple[list[ActionRow], dict[str, int]]:
    """Rows at assignments in `[begin, end)`, ordered; and why assignments are none, with how many."""
    known = [found for found in assignments(log, label) if found.available_at <= known_by]
    left_out: dict[str, int] = {}
    assigned: dict[tuple[int, str], Assignment] = {}
    for found in known:  # in the order in which they were stored
        if not begin <= found.as_of < end:
            continue
        key = (found.as_of, found.customer_id)
        mistake = found.mistake or ("second" if key in assigned else None)
        if mistake is None:
            assigned[key] = found
        else:
            left_out[mistake] = left_out.get(mistake, 0) + 1
    if label.others is not None:
        for key in controls(log, label, list(assigned.values()), known, anchor, every):
            assigned.setdefault(key, Assignment(key[1], key[0], 0, label.control, None, None, None))
    rows = []
    for (as_of, customer), found in sorted(assigned.items()):
        own = [event for event in log if event.customer_id == customer]
        if not is_excluded(own, label, as_of):
            paid = reward(own, label, as_of, known_by)
            rows.append(ActionRow(as_of, customer, paid, str(found.action), found.propensity, found.eligible))
    return rows, left_out


def assignments(log: list[Event], label: ActionLabel) -> list[Assignment]:
    found = []
    for event in log:
        for source in label.assigned_by:
            said = event.said or {}
            if event.event != source.event:
                continue
            if any(
                type(said.get(name)) is not type(value) or said[name] != value for name, value in source.only.items()
            ):
                continue
            action = said.get(source.action)
            action = label.actions.get(action, action) if isinstance(action, str) and action else None
            chance = said.get(source.propensity) if source.propensity else None
            is_number = isinstance(chance, int | float) and not isinstance(chance, bool)
            propensity = chance / source.scale if is_number else None  # type: ignore[operator]
            named = said.get(source.eligible) if source.eligible else None
            eligible = tuple(sorted({label.actions.get(n, n) for n in named})) if isinstance(named, list) else None
            mistake = None
            if action is None:
                mistake = "nameless"
            elif source.propensity and propensity is None:
                mistake = "no propensity"
            elif source.propensity and not 0 < propensity <= 1:  # type: ignore[operator]
                mistake = "bad propensity"
            elif eligible is not None and action not in eligible:
                mistake = "not eligible"
            found.append(
                Assignment(
                    event.customer_id, event.event_time, event.available_at, action, propensity, eligible, mistake
                )
            )
    return found


def controls(
    log: list[Event], label: ActionLabel, assigned: list[Assignment], known: list[Assignment], anchor: int, every: int
) -> set[tuple[int, str]]:
    """(instant, customer) of those that nobody assigned anything, one a customer and span."""
    others = label.others
    assert others is not None
    treated: dict[int, list[tuple[int, str]]] = {}
    for found in assigned:
        if found.action != label.control:
            span = anchor + (found.as_of - anchor) // every * every
            treated.setdefault(span, []).append((found.as_of, found.customer_id))
    within = microseconds(others.within)
    chosen = set()
    for span, instants in treated.items():
        for customer in {event.customer_id for event in log if event.event in others.events}:
            digest = hashlib.md5(f"{customer}/{span}".encode(), usedforsecurity=False).digest()
            at = sorted(instants)[int.from_bytes(digest[8:], "little") % len(instants)][0]
            own = [event for event in log if event.customer_id == customer and event.event in others.events]
            lately = any(seen(event, at) and event.event_time >= at - within for event in own)
            until = at + microseconds(label.gap) + microseconds(label.horizon)
            got_one = any(
                one.customer_id == customer and one.action != label.control and at - within <= one.as_of < until
                for one in known
            )
            if lately and not got_one:
                chosen.add((at, customer))
    return chosen


def reward(own: list[Event], label: ActionLabel, as_of: int, known_by: int) -> int:
    total = number = 0
    for event in own:
        if not in_window(event, label, as_of, known_by):
            continue
        amount = event.value if event.value is not None and abs(event.value) <= LARGEST else 0
        if event.event in label.reward.events:
            number += 1
            total += amount
        if event.event in label.reward.subtract:
            total -= amount
    return {"any": min(number, 1), "count": number, "value": total}[label.reward.of]
