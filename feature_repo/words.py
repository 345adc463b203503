"""What a feature means, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feature_repo.spec import Feature
    from feature_repo.windows import Window

_UNIT_WORDS = {"m": "minutes", "h": "hours", "d": "days"}


def in_words(feature: Feature) -> str:
    """One sentence without a full stop, such as `number of Order Completed events in the last 30 days`."""
    when = _window_words(feature.window)
    if feature.stream is None:
        top, bottom = (str(name).removesuffix(f"_{feature.window.label}") for name in _parts(feature))
        return f"{_spaced(top)} divided by {_spaced(bottom)} {when}"
    events = f"{feature.stream.event} events"
    if feature.stream.channel:
        events += f" on {feature.stream.channel}"
    measure = _spaced(feature.measure.slug) if feature.measure else ""
    phrases = {
        "count": f"number of {events} {when}",
        "sum": f"sum of {measure} over {events} {when}",
        "mean": f"mean {measure} of {events} {when}",
        "min": f"smallest {measure} of {events} {when}",
        "max": f"largest {measure} of {events} {when}",
        "distinct": f"number of different {measure} values in {events} {when}",
        "last": f"{measure} of the latest of the {events} {when}",
        "days_since_last": f"days since the latest of the {events} {when}",
        "days_since_first": f"days since the first of the {events}",
        "mean_days_between": f"mean number of days between two {events}",
    }
    return phrases[feature.operation]


def _parts(feature: Feature) -> tuple[str | None, str | None]:
    return feature.numerator, feature.denominator


def _window_words(window: Window) -> str:
    if window.length is None:
        return "since the beginning"
    number, unit = window.label[:-1], _UNIT_WORDS[window.label[-1]]
    return f"in the last {number} {unit if number != '1' else unit[:-1]}"


def _spaced(name: str) -> str:
    return name.replace("_", " ")
