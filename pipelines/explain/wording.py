"""What a model predicts and how it may be used, in words for a reviewer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pipelines.settings.labels import ChurnLabel, ConversionLabel

_UNITS = {"m": "minute", "h": "hour", "d": "day"}


def duration(label: str) -> str:
    """`90d` as `90 days`."""
    number, unit = label[:-1], _UNITS[label[-1]]
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Fixed digits with a true minus sign; a dash where there is no value."""
    if value is None:
        return "–"
    return f"{value:{'+' if signed else ''},.{digits}f}".replace("-", "−")


def day(instant: int) -> str:
    """Calendar day in UTC of int64 microseconds, as `2011-09-01`."""
    return datetime.fromtimestamp(instant / 1_000_000, UTC).strftime("%Y-%m-%d")


def label_definition(label: ChurnLabel | ConversionLabel) -> str:
    """Who is in the dataset, and what label 1 means."""
    events = " or ".join(f"“{name}”" for name in label.population_events)
    window, horizon = duration(label.look_back), duration(label.horizon)
    after = f"the {horizon} after it"
    if label.gap != "0d":
        after = f"the {horizon} that begin {duration(label.gap)} after it"
    return (
        f"At an as-of instant, everyone with at least one event {events} in the {window} before it is a customer to "
        f"predict for. The label is 1 (churned) if {after} hold no such event, and 0 if they hold one. The model gives "
        f"the probability of label 1. It reads only what had arrived by the as-of instant."
    )


def left_out(label: ChurnLabel | ConversionLabel, train_days: Sequence[str], test_day: str) -> str:
    """What a reviewer would else miss: events without a customer, and the days between train and test."""
    waits = [duration(span) for span in (label.gap, label.horizon, label.arrival_delay) if span != "0d"]
    return (
        "Left out are events without a known customer, customers without such an event in the "
        f"{duration(label.look_back)} before, and all as-of days between {max(train_days)} and {test_day}: "
        f"what decides their label ({' + '.join(waits)}) reaches past {test_day}, where the test begins."
    )
