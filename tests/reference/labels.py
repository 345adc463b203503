"""Labels of every kind, said as slowly and plainly as possible: what the SQL is held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.settings.labels import ChurnLabel, ConversionLabel, Label, ValueLabel, microseconds

LARGEST = 10**12


@dataclass(frozen=True)
class Event:
    customer_id: str
    event: str
    event_time: int
    available_at: int
    value: int | None = None
    campaign: str | None = None


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
