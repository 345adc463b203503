"""The naive oracle of features: plain loops over a list of events, straight from the definitions.

It shares nothing with the SQL or the tiles but the typed spec and the events themselves. A quotient
is one division of two integers, each taken to the nearest double first.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from feature_repo.spec import Feature, FeatureSpec, Measure
from feature_repo.state.tiles import LoggedEvent

MICROSECONDS_A_DAY = 86_400_000_000


def naive_features(
    spec: FeatureSpec, names: Sequence[str], events: Sequence[LoggedEvent], as_of: int
) -> list[int | float | None]:
    """Features of one customer at `as_of`, from all of the customer's events (each once, any order)."""
    visible = [e for e in events if e.event_time < as_of and e.available_at <= as_of]
    return [naive_value(spec, spec.by_name[name], visible, as_of) for name in names]


def naive_value(spec: FeatureSpec, feature: Feature, visible: Sequence[LoggedEvent], as_of: int) -> int | float | None:
    if feature.operation == "ratio":
        top = naive_value(spec, spec.by_name[str(feature.numerator)], visible, as_of)
        bottom = naive_value(spec, spec.by_name[str(feature.denominator)], visible, as_of)
        return None if top is None or bottom is None or bottom == 0 else float(top) / float(bottom)
    chosen = [e for e in visible if belongs(feature, e) and inside(feature, e.event_time, as_of)]
    return aggregate(feature, chosen, as_of, spec.distinct_cap)


def belongs(feature: Feature, event: LoggedEvent) -> bool:
    stream = feature.stream
    return stream is not None and event.event == stream.event and stream.channel in ("", event.channel)


def inside(feature: Feature, event_time: int, as_of: int) -> bool:
    length = feature.window.length
    if length is None:
        return True
    hour = 3_600_000_000
    hop = 300_000_000 if length < 12 * hour else hour if length < 12 * 24 * hour else 24 * hour
    start = as_of - length
    while start % hop != 0:
        start -= start % hop
    return event_time >= start


def aggregate(feature: Feature, events: list[LoggedEvent], as_of: int, cap: int) -> int | float | None:
    if feature.operation == "count":
        return len(events)
    if feature.operation == "distinct":
        return min(cap, len({text for e in events for text in texts(feature.measure, e)}))
    if feature.operation == "days_since_last":
        return (as_of - max(e.event_time for e in events)) / MICROSECONDS_A_DAY if events else None
    if feature.operation == "days_since_first":
        return (as_of - min(e.event_time for e in events)) / MICROSECONDS_A_DAY if events else None
    if feature.operation == "mean_days_between":
        times = sorted(e.event_time for e in events)
        gaps = [later - earlier for earlier, later in pairwise(times)]
        return float(sum(gaps)) / float(len(gaps) * MICROSECONDS_A_DAY) if gaps else None
    pairs = [(e.event_time, integer(feature.measure, e)) for e in events]
    numbers = [number for _, number in pairs if number is not None]
    if not numbers:
        return None
    if feature.operation == "last":
        latest = max(at for at, number in pairs if number is not None)
        return max(number for at, number in pairs if at == latest and number is not None)
    if feature.operation == "mean":
        return float(sum(numbers)) / float(len(numbers))
    return {"sum": sum, "min": min, "max": max}[feature.operation](numbers)


def integer(measure: Measure | None, event: LoggedEvent) -> int | None:
    found: Any = event.value if measure and measure.path == "value" else lookup(measure, event)
    whole = isinstance(found, int) and not isinstance(found, bool) and -(2**63) <= found < 2**63
    return found if whole else None


def texts(measure: Measure | None, event: LoggedEvent) -> list[str]:
    if measure and measure.path == "channel":
        return [event.channel]
    found = lookup(measure, event)
    candidates = found if isinstance(found, list) else [found]
    return [item for item in candidates if isinstance(item, str)]


def lookup(measure: Measure | None, event: LoggedEvent) -> Any:
    path = measure.path.split(".", 1)[1] if measure else ""
    if "[]." not in path:
        found = event.properties.get(path)
        return None if isinstance(found, list) else found
    key, inner = path.split("[].")
    return [item.get(inner) for item in event.properties.get(key) or [] if isinstance(item, dict)]
