"""Do a source mapping and the tracking plan fit together?"""

from __future__ import annotations

from collections.abc import Iterator

from feature_repo.configuration import Problem
from pipelines.settings.mapping import Choice, Expression
from pipelines.settings.sources import EventRule, SourceConfig
from pipelines.settings.tracking_plan import PropertyPlan, TrackingPlan

# What a mapping may give where the tracking plan says so.
_FITS = {
    "string": {"string"},
    "integer": {"integer"},
    "number": {"integer", "decimal"},
    "money": {"money", "integer"},
    "boolean": {"boolean"},
    "timestamp": {"timestamp"},
    "list": {"list", "json"},
    "object": {"json"},
}


def events_of(rule: EventRule, plan: TrackingPlan) -> tuple[str, ...]:
    """The canonical events that a rule can give, each once."""
    names = rule.names()
    return tuple(plan.events) if names is None else tuple(dict.fromkeys(names))


def properties_of(source: SourceConfig, rule: EventRule, event: str, plan: TrackingPlan) -> dict[str, Expression]:
    """What `event` carries when `rule` is taken: the rule's own properties and the shared ones it declares."""
    declared = plan.events[event].properties
    shared = {name: value for name, value in source.properties.items() if name in declared}
    own = {name: value for name, value in rule.properties.items() if name in declared}
    return {**shared, **own}


def check_against_plan(source: SourceConfig, plan: TrackingPlan) -> list[Problem]:
    """Everything in the mapping that the tracking plan does not know, or declares otherwise."""
    file = f"sources/{source.source}.yaml"
    found = [*_names(source, plan), *_properties(source, plan)]
    unique = dict.fromkeys(found)
    return [Problem(field, expected, got, hint, file) for field, expected, got, hint in unique]


Finding = tuple[str, str, str, str]


def _names(source: SourceConfig, plan: TrackingPlan) -> Iterator[Finding]:
    yield from _unknown("currency", source.currency, tuple(plan.currencies))
    yield from _unknown("channel", source.channel, plan.channels)
    for number, rule in enumerate(source.events):
        yield from _unknown(f"events.{number}.event", rule.event, tuple(plan.events))
        yield from _unknown(f"events.{number}.channel", rule.channel, plan.channels)
        yield from _channel_of_event(source, number, rule, plan)


def _channel_of_event(source: SourceConfig, number: int, rule: EventRule, plan: TrackingPlan) -> Iterator[Finding]:
    channel = rule.channel or source.channel
    if not isinstance(channel, str):
        return
    for event in _known(rule, plan):
        allowed = plan.events[event].channels
        if allowed and channel not in allowed and rule.names() is not None:
            yield f"events.{number}.channel", f"a channel of {event}: {', '.join(allowed)}", repr(channel), ""


def _unknown(field: str, value: str | Choice | None, known: tuple[str, ...]) -> Iterator[Finding]:
    names = (value,) if isinstance(value, str) else (value.names() if value else None) or ()
    for name in names:
        if name not in known:
            yield field, "a name in events.yaml", repr(name), f"known there: {', '.join(known)}"


def _known(rule: EventRule, plan: TrackingPlan) -> tuple[str, ...]:
    return tuple(event for event in events_of(rule, plan) if event in plan.events)


def _properties(source: SourceConfig, plan: TrackingPlan) -> Iterator[Finding]:
    for number, rule in enumerate(source.events):
        for event in _known(rule, plan):
            yield from _event_properties(source, number, rule, event, plan)
        for name in rule.properties:
            if _known(rule, plan) and not any(name in plan.events[event].properties for event in _known(rule, plan)):
                yield f"events.{number}.properties.{name}", "a property its event declares", "an undeclared one", ""
    every = {event for rule in source.events for event in _known(rule, plan)}
    for name in source.properties:
        if every and not any(name in plan.events[event].properties for event in every):
            yield f"properties.{name}", "a property that an event of this source declares", "an undeclared one", ""


def _event_properties(
    source: SourceConfig, number: int, rule: EventRule, event: str, plan: TrackingPlan
) -> Iterator[Finding]:
    given = properties_of(source, rule, event, plan)
    for name, planned in plan.events[event].properties.items():
        place = f"events.{number}.properties.{name}" if name in rule.properties else f"properties.{name}"
        if name not in given:
            if planned.required and rule.names() is not None:
                yield f"events.{number}.properties", f"{name}, which {event} requires", "nothing", "add it"
            continue
        yield from _type(place, event, given[name], planned, source)


def _type(
    place: str, event: str, expression: Expression, planned: PropertyPlan, source: SourceConfig
) -> Iterator[Finding]:
    kind = expression.value_type(source.columns)
    if kind not in _FITS[planned.type]:
        hint = "add as: money" if planned.type == "money" and kind == "decimal" else ""
        yield place, f"{planned.type}, as {event} declares", kind, hint
    elif planned.type == "money" and source.currency is None:
        yield "currency", f"the currency of {event}'s money", "nothing", "add currency to the mapping"
