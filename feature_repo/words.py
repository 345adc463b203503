"""What a feature means, in words."""

from __future__ import annotations

from feature_repo.spec import Feature, FeatureSpec
from feature_repo.windows import Window

_UNIT_WORDS = {"m": "minutes", "h": "hours", "d": "days"}


def words_of(spec: FeatureSpec, name: str) -> str:
    """A phrase such as `number of orders in the last 30 days`. Raises KeyError if the spec has no such feature."""
    feature = spec.by_name[name]
    when = _window_words(feature.window)
    if feature.operands:
        top, bottom = (_without_window(spec, spec.by_name[part]) for part in feature.operands)
        return f"{top}, divided by {bottom}{when}"
    return _without_window(spec, feature) + when


def _without_window(spec: FeatureSpec, feature: Feature) -> str:
    event = feature.stream.event if feature.stream else ""
    one, many = feature.nouns or (f"{event} event", f"{event} events")
    place = f" ({feature.stream.channel})" if feature.stream and feature.stream.channel else ""
    measure = _measure_words(feature)
    phrases = {
        "count": f"number of {many}{place}",
        "sum": f"total {measure} of {many}{place}",
        "mean": f"mean {measure} of {many}{place}",
        "min": f"smallest {measure} of {many}{place}",
        "max": f"largest {measure} of {many}{place}",
        "distinct": f"number of different values of {measure} in {many}{place}",
        "last": f"{measure} of the latest {one}{place}",
        "days_since_last": f"days since the latest {one}{place}",
        "days_since_first": f"days since the first {one}{place}",
        "mean_days_between": f"mean days between two {many}{place}",
    }
    return phrases[feature.operation]


def _measure_words(feature: Feature) -> str:
    if feature.measure is None:
        return ""
    if feature.measure.path == "value":
        return "value in minor units"
    # Of a list it is the inner name that says what is counted.
    return feature.measure.path.removeprefix("properties.").split(".")[-1].replace("_", " ")


def _window_words(window: Window) -> str:
    if window.length is None:
        return ""
    number, unit = window.label[:-1], _UNIT_WORDS[window.label[-1]]
    return f" in the last {number} {unit if number != '1' else unit[:-1]}"
