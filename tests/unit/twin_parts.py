"""Events and twins for tests: given these events, then this twin, by the checkout's own configuration."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import cache

from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import LoggedEvent, fold_more
from feature_repo.windows import DAY
from pipelines.events.moments import moment_of
from pipelines.settings import Settings, load_settings
from pipelines.twin.fold import TwinFold
from pipelines.twin.state import Cited, Ruled, Twin

CUSTOMER = "customer-1"
# Monday, 1 June 2026, 09:00 UTC; days of tests are counted from here.
DAY_0 = 1_780_304_400_000_000
_numbers = itertools.count(1)


@cache
def settings() -> Settings:
    return load_settings("twin-tests")


@cache
def fold() -> TwinFold:
    return TwinFold(settings().twin, settings().features)


@cache
def reader() -> StateReader:
    return StateReader(settings().features, fold().features)


def at(day: float) -> int:
    """The instant `day` days after the first, microseconds UTC."""
    return DAY_0 + round(day * DAY)


def happened(
    event: str, day: float, channel: str = "", event_id: str = "", arrived: float | None = None, **properties: object
) -> LoggedEvent:
    """An event at `at(day)`, known from `at(arrived)` on; on its first channel, with an id of its own, if not given."""
    planned = settings().tracking_plan.events[event]
    number = next(_numbers)
    value = properties.get(planned.value) if planned.value else None
    return LoggedEvent(
        position=number,
        event=event,
        event_time=at(day),
        available_at=at(day if arrived is None else arrived),
        channel=channel or next(iter(planned.channels), "web"),
        value=value if isinstance(value, int) else None,
        properties=properties,
        source="tests",
        event_id=event_id or f"event-{number}",
    )


def features_at(events: Iterable[LoggedEvent], as_of: int) -> dict[str, FeatureValue]:
    """What the live service's own fold says of the events that were known then; each event is in it once."""
    once = {(event.source, event.event_id): event for event in events if event.available_at <= as_of}
    state = fold_more(reader().plan, None, once.values())
    return dict(zip(reader().names, reader().read(state, as_of), strict=True))


def twin_of(events: Sequence[LoggedEvent], day: float) -> Twin:
    """The twin of all events at `at(day)`."""
    as_of = at(day)
    position = max((event.position for event in events if event.available_at <= as_of), default=0)
    return fold().twin_at(CUSTOMER, as_of, [moment_of(event) for event in events], features_at(events, as_of), position)


def trigger(twin: Twin, name: str) -> Ruled | None:
    """The trigger that holds; None where it does not."""
    return next((found for found in twin.triggers if found.name == name), None)


def ids(evidence: Iterable[Cited]) -> list[str]:
    return [cited.event_id for cited in evidence]
