"""The churn label, said as slowly and plainly as possible: what the SQL is held against."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    customer_id: str
    event: str
    event_time: int
    available_at: int


def churn_labels(
    events: Iterable[Event], qualifying: set[str], instants: Iterable[int], activity: int, gap: int, horizon: int
) -> list[tuple[int, str, int]]:
    """(instant, customer, label), ordered: 1 where nobody came back."""
    log = list(events)
    rows = []
    for instant in instants:
        for customer in {event.customer_id for event in log}:
            own = [event for event in log if event.customer_id == customer and event.event in qualifying]
            was_active = False
            came_back = False
            for event in own:
                if instant - activity <= event.event_time < instant and event.available_at <= instant:
                    was_active = True
                if instant + gap <= event.event_time < instant + gap + horizon:
                    came_back = True
            if was_active:
                rows.append((instant, customer, 0 if came_back else 1))
    return sorted(rows)
