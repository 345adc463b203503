"""The naive oracle of features: plain loops over a list of events, straight from the definitions.

It shares nothing with the SQL or the tiles but the typed spec and the events themselves. A quotient
is one division of two integers, each taken to the nearest double first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import Any

from feature_repo.spec import Condition, Feature, FeatureSpec, Measure
from feature_repo.state.tiles import LoggedEvent

MICROSECONDS_A_DAY = 86_400_000_000
LARGEST = 1_000_000_000_000
Value = int | float | str | None


def naive_features(spec: FeatureSpec, names: Sequence[str], events: Sequence[LoggedEvent], as_of: int) -> list[Value]:
    """Features of one customer at `as_of`, from all of the customer's events (each once, any order)."""
    visible = [e for e in events if e.event_time < as_of and e.available_at <= as_of]
    return [naive_value(spec, spec.by_name[name], visible, as_of) for name in names]


def naive_value(spec: FeatureSpec, feature: Feature, visible: Sequence[LoggedEvent], as_of: int) -> Value:
    if feature.operation in ("ratio", "trend"):
        top = naive_value(spec, spec.by_name[str(feature.numerator)], visible, as_of)
        bottom = naive_value(spec, spec.by_name[str(feature.denominator)], visible, as_of)
        if not isinstance(top, int | float) or not isinstance(bottom, int | float) or bottom == 0:
            return None
        return (float(top) * feature.scale[0]) / (float(bottom) * feature.scale[1])
    chosen = [e for e in visible if belongs(spec, feature, e) and inside(feature, e.event_time, as_of)]
    return aggregate(spec, feature, chosen, as_of)


def belongs(spec: FeatureSpec, feature: Feature, event: LoggedEvent) -> bool:
    stream = feature.stream
    if stream is None or event.event != stream.event:
        return False
    return all(meets(condition, lookup(spec, condition.path, event)) for condition in stream.conditions)


def meets(condition: Condition, found: Any) -> bool:
    number = whole(found)
    if condition.test in ("is", "is_not"):
        alike = [value for value in condition.values if type(value) is type(found) and value == found]
        if type(found) is int and number is None:
            alike = []
        return bool(alike) == (condition.test == "is")
    if condition.test in ("exists", "missing"):
        return (found is not None) == (condition.test == "exists")
    if number is None:
        return False
    bound = condition.integers[0]
    return {
        "at_least": number >= bound,
        "at_most": number <= bound,
        "above": number > bound,
        "below": number < bound,
    }[condition.test]


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


def aggregate(spec: FeatureSpec, feature: Feature, events: list[LoggedEvent], as_of: int) -> Value:
    if feature.operation == "count":
        return len(events)
    if feature.operation in ("active_days", "streak", "longest_streak", "deviation_days_between"):
        return of_days(spec, feature.operation, events, as_of)
    if feature.operation in ("days_since_last", "days_since_first", "mean_days_between"):
        return of_instants(feature.operation, sorted(e.event_time for e in events), as_of)
    if feature.operation == "distinct":
        return min(spec.caps.distinct, len({text for e in events for text in texts(spec, feature.measure, e)}))
    if feature.operation == "top":
        return top(spec, feature, events)
    if feature.operation == "latest":
        dated = [(e.event_time, text) for e in events for text in texts(spec, feature.measure, e)]
        return max(dated)[1] if dated else None
    return of_numbers(spec, feature, events)


def of_instants(operation: str, times: list[int], as_of: int) -> Value:
    if not times:
        return None
    if operation == "mean_days_between":
        gaps = [later - earlier for earlier, later in pairwise(times)]
        return float(sum(gaps)) / float(len(gaps) * MICROSECONDS_A_DAY) if gaps else None
    return (as_of - (times[-1] if operation == "days_since_last" else times[0])) / MICROSECONDS_A_DAY


def of_days(spec: FeatureSpec, operation: str, events: list[LoggedEvent], as_of: int) -> Value:
    days = sorted({local(spec, e.event_time).date() for e in events})[-spec.caps.days :]
    if operation == "active_days":
        return len(days)
    runs: list[int] = []
    for i, day in enumerate(days):
        if i and day - days[i - 1] == timedelta(days=1):
            runs[-1] += 1
        else:
            runs.append(1)
    if operation == "longest_streak":
        return max(runs, default=0)
    if operation == "streak":
        return runs[-1] if days and days[-1] >= local(spec, as_of).date() - timedelta(days=1) else 0
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return None if len(gaps) < 2 else sqrt(sample_variance(gaps) or 0.0)


def top(spec: FeatureSpec, feature: Feature, events: list[LoggedEvent]) -> Value:
    """Of the newest values the most frequent one; of several the one seen last, then the greatest."""
    seen: list[tuple[int, Any]] = []
    for e in events:
        if feature.measure and feature.measure.kind == "integer":
            number = integer(spec, feature.measure, e)
            seen += [] if number is None else [(e.event_time, number)]
        else:
            seen += [(e.event_time, text) for text in texts(spec, feature.measure, e)]
    newest = sorted(seen)[-spec.caps.recent :]
    best: tuple[int, int, Any] | None = None
    for value in {value for _, value in newest}:
        times = [at for at, other in newest if other == value]
        if best is None or (len(times), max(times), value) > best:
            best = (len(times), max(times), value)
    return None if best is None else best[2]


def of_numbers(spec: FeatureSpec, feature: Feature, events: list[LoggedEvent]) -> Value:
    found = [(e.event_time, integer(spec, feature.measure, e)) for e in events]
    pairs = [(at, number) for at, number in found if number is not None]
    numbers = [number for _, number in pairs]
    if not numbers:
        return None
    if feature.operation == "last":
        return max(number for at, number in pairs if at == max(pairs)[0])
    if feature.operation == "first":
        return min(number for at, number in pairs if at == min(pairs)[0])
    if feature.operation == "mean":
        return float(sum(numbers)) / float(len(numbers))
    if feature.operation == "variance":
        return sample_variance(numbers)
    return {"sum": sum, "min": min, "max": max}[feature.operation](numbers)


def sample_variance(numbers: Sequence[int]) -> float | None:
    """The sum over all pairs of squared differences, halved: another way to the same exact numerator.

    Exact to 2^106, where Python rounds once; test data stay below.
    """
    n = len(numbers)
    if n < 2:
        return None
    twice = sum((a - b) ** 2 for a in numbers for b in numbers)
    return float(twice // 2) / float(n * (n - 1))


def integer(spec: FeatureSpec, measure: Measure | None, event: LoggedEvent) -> int | None:
    return whole(lookup(spec, measure.path if measure else "", event))


def whole(found: Any) -> int | None:
    is_whole = isinstance(found, int) and not isinstance(found, bool)
    return found if is_whole and -LARGEST <= found <= LARGEST else None


def texts(spec: FeatureSpec, measure: Measure | None, event: LoggedEvent) -> list[str]:
    path = measure.path if measure else ""
    if "[]." in path:
        key, inner = path.split(".", 1)[1].split("[].")
        listed = event.properties.get(key)
        found = [item.get(inner) for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    else:
        found = [lookup(spec, path, event)]
    return [item for item in found if isinstance(item, str)]


def lookup(spec: FeatureSpec, path: str, event: LoggedEvent) -> Any:
    if path in ("value", "channel"):
        return getattr(event, path)
    if path in ("hour", "weekday"):
        at = local(spec, event.event_time)
        return at.hour if path == "hour" else at.isoweekday()
    return event.properties.get(path.split(".", 1)[1])


def local(spec: FeatureSpec, instant: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=instant + spec.utc_offset)
