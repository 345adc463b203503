"""What an event must satisfy: SQL conditions under which it is refused, each with the reason told.

Reasons hold no values of the file, so that they can be counted and logged.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.ingest.quoting import literal
from pipelines.settings.mapping import ValueType
from pipelines.settings.tracking_plan import PropertyPlan, TrackingPlan

Check = tuple[str, str]


@dataclass(frozen=True, slots=True)
class CarriedProperty:
    """A property of one event: how it is planned, and the columns with its value in its final type
    (`column`, `kind`) and as the file gave it (`given`)."""

    name: str
    planned: PropertyPlan
    column: str
    kind: ValueType
    given: str


def event_checks(columns: dict[str, str], plan: TrackingPlan) -> list[Check]:
    """Of the event as a whole; `columns` is the SQL of the lake's columns."""
    events, channels, currencies = (
        ", ".join(map(literal, names)) for names in (plan.events, plan.channels, plan.currencies)
    )
    return [
        ("rule IS NULL", "no rule of events holds for all rows of the event"),
        (f"rule IS NOT NULL AND (event IS NULL OR event NOT IN ({events}))", "its kind of event has no canonical name"),
        (
            f"rule IS NOT NULL AND (channel IS NULL OR channel NOT IN ({channels}))",
            "its channel is not one of the tracking plan",
        ),
        (f"{columns['user_id']} IS NULL AND ({columns['anonymous_id']}) IS NULL", "neither user_id nor anonymous_id"),
        (
            f"coalesce(({columns['currency']}) NOT IN ({currencies}), false)",
            "its currency is not one of the tracking plan",
        ),
    ]


def property_checks(event: str, prop: CarriedProperty) -> list[Check]:
    """Of one property of `event`, as the tracking plan declares it."""
    value, planned, name = prop.column, prop.planned, f"{event}: {prop.name}"
    checks = []
    if planned.required:
        checks.append((f"{prop.given} IS NULL", f"{name} is empty"))
    if prop.kind in ("money", "integer"):
        checks.append((f"{prop.given} IS NOT NULL AND {value} IS NULL", f"{name} is too large, or has no currency"))
    if planned.minimum is not None:
        checks.append((f"{value} < {planned.minimum}", f"{name} is below {planned.minimum}"))
    if planned.maximum is not None:
        checks.append((f"{value} > {planned.maximum}", f"{name} is above {planned.maximum}"))
    if planned.allowed:
        known = ", ".join(literal(str(item)) for item in planned.allowed)
        checks.append((f"CAST({value} AS VARCHAR) NOT IN ({known})", f"{name} is none of the allowed values"))
    if prop.kind == "json":
        wanted = "ARRAY" if planned.type == "list" else "OBJECT"
        checks.append((f"json_type({value}) <> '{wanted}'", f"{name} is not a JSON {wanted.lower()}"))
    return checks
