"""What a feature means, in words."""

from __future__ import annotations

from feature_repo.spec import Condition, Feature, FeatureSpec, RequestFeature
from feature_repo.windows import Window

_UNIT_WORDS = {"m": "minutes", "h": "hours", "d": "days"}


_TESTS = {"is": "is", "is_not": "is not", "at_least": "at least", "at_most": "at most", "above": "above",
          "below": "below"}  # fmt: skip
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def words_of(spec: FeatureSpec, name: str) -> str:
    """A phrase such as `number of orders in the last 30 days`. Raises KeyError if the spec has no such feature."""
    of_call = spec.request_feature(name)
    if of_call is not None:
        return _request_words(spec, of_call)
    feature = spec.by_name[name]
    when = _window_words(feature.window)
    if feature.operation == "trend":
        part, long = (spec.by_name[operand] for operand in feature.operands)
        rate = " a day" if feature.scale != (1, 1) else ""
        against = _window_words(long.window) or " in a lifetime"
        return f"{_without_window(spec, part)}{rate}{when}, divided by the same{against}"
    if feature.operands:
        top, bottom = (_without_window(spec, spec.by_name[part]) for part in feature.operands)
        return f"{top}, divided by {bottom}{when}"
    return _without_window(spec, feature) + when


def _request_words(spec: FeatureSpec, feature: RequestFeature) -> str:
    given = feature.input.replace("_", " ")
    if feature.operation == "ratio":
        return f"{given} of this call, divided by {words_of(spec, str(feature.denominator))}"
    return {
        "value": f"{given} of this call",
        "is": f"whether the {given} of this call is {feature.equals}",
        "hour": "hour of the day of this call",
        "weekday": "weekday (1 is Monday) of this call",
    }[feature.operation]


def _without_window(spec: FeatureSpec, feature: Feature) -> str:
    event = feature.stream.event if feature.stream else ""
    one, many = feature.nouns or (f"{event} event", f"{event} events")
    place = _conditions_words(feature.stream.conditions) if feature.stream else ""
    measure = _measure_words(feature)
    phrases = {
        "count": f"number of {many}{place}",
        "sum": f"total {measure} of {many}{place}",
        "mean": f"mean {measure} of {many}{place}",
        "min": f"smallest {measure} of {many}{place}",
        "max": f"largest {measure} of {many}{place}",
        "variance": f"variance of {measure} of {many}{place}",
        "distinct": f"number of different values of {measure} in {many}{place}",
        "top": f"most frequent {measure} of {many}{place}",
        "first": f"{measure} of the first {one}{place}",
        "last": f"{measure} of the latest {one}{place}",
        "latest": f"{measure} of the latest {one}{place}",
        "days_since_last": f"days since the latest {one}{place}",
        "days_since_first": f"days since the first {one}{place}",
        "mean_days_between": f"mean days between two {many}{place}",
        "deviation_days_between": f"standard deviation of the days from one day with {many}{place} to the next",
        "active_days": f"number of days with {many}{place}",
        "streak": f"days in a row with {many}{place}, up to today or yesterday",
        "longest_streak": f"most days in a row with {many}{place}",
    }
    return phrases[feature.operation]


def _conditions_words(conditions: tuple[Condition, ...]) -> str:
    return f" ({', '.join(map(_condition_words, conditions))})" if conditions else ""


def _condition_words(condition: Condition) -> str:
    values = " or ".join(_value_words(condition.path, value) for value in condition.values)
    if condition.path in ("channel", "weekday") and condition.test == "is":
        return values
    field = condition.path.removeprefix("properties.").replace("_", " ")
    if condition.test in ("exists", "missing"):
        return f"{'with' if condition.test == 'exists' else 'without'} {field}"
    return f"{field} {_TESTS[condition.test]} {values}"


def _value_words(path: str, value: str | int | bool) -> str:
    if path == "weekday" and isinstance(value, int) and 1 <= value <= len(_WEEKDAYS):
        return _WEEKDAYS[value - 1]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value


def _measure_words(feature: Feature) -> str:
    if feature.measure is None:
        return ""
    known = {"value": "value in minor units", "hour": "hour of the day", "weekday": "weekday (1 is Monday)"}
    if feature.measure.path in known:
        return known[feature.measure.path]
    # Of a list it is the inner name that says what is counted.
    return feature.measure.path.removeprefix("properties.").split(".")[-1].replace("_", " ")


def _window_words(window: Window) -> str:
    if window.length is None:
        return ""
    number, unit = window.label[:-1], _UNIT_WORDS[window.label[-1]]
    return f" in the last {number} {unit if number != '1' else unit[:-1]}"
