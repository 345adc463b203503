"""Which columns of a source name a person, and where the mapping would let one out unencrypted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from feature_repo.configuration import Problem
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.mapping import Choice, Expression, placeholders
from pipelines.settings.source_checks import events_of, properties_of
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan


def personal_columns(source: SourceConfig, plan: TrackingPlan, identity: IdentityConfig) -> frozenset[str]:
    """Declared columns that are `personal`, or fill a personal identifier or property."""
    found = {name for name, column in source.columns.items() if column.personal}
    found |= {column for kind, column in source.identifiers.items() if kind in identity.personal_kinds}
    for place, expression, personal in _properties(source, plan, identity):
        if personal:
            found |= {reference.column for reference in expression.references(place)}
    given = (source.columns[name].column for name in found)
    return frozenset(found | {name for name in given if name is not None})


def check_personal_columns(source: SourceConfig, plan: TrackingPlan, identity: IdentityConfig) -> list[Problem]:
    """Every place that would keep a personal column as it is."""
    personal = personal_columns(source, plan, identity)
    file, found = f"sources/{source.source}.yaml", []
    for place, column, hint in _plain_uses(source, plan, identity):
        if column in personal:
            found.append(Problem(place, "no personal column: this is kept unencrypted", repr(column), hint, file))
    return list(dict.fromkeys(found))


def _plain_uses(source: SourceConfig, plan: TrackingPlan, identity: IdentityConfig) -> Iterator[tuple[str, str, str]]:
    pseudonym = "take a column that names nobody, such as a customer number"
    yield from (("event_id", column, pseudonym) for column in placeholders(source.event_id))
    yield from (("anonymous_id", column, pseudonym) for column in placeholders(source.anonymous_id or ""))
    if source.user_id is not None:
        yield "user_id", source.user_id, pseudonym
    for kind, column in source.identifiers.items():
        if kind not in identity.personal_kinds:
            yield f"identifiers.{kind}", column, "make the kind personal in identity.yaml"
    for place, choice in _choices(source):
        if isinstance(choice, Choice) and choice.map is None:
            yield place, choice.column, "add a map"
    for place, expression, is_personal in _properties(source, plan, identity):
        if not is_personal and expression.map is None:
            for reference in _own(expression, place):
                yield place, reference, "add the property's name to personal_properties in identity.yaml"


def _choices(source: SourceConfig) -> Iterable[tuple[str, str | Choice | None]]:
    yield from (("channel", source.channel), ("currency", source.currency))
    for number, rule in enumerate(source.events):
        yield from ((f"events.{number}.event", rule.event), (f"events.{number}.channel", rule.channel))


def _own(expression: Expression, place: str) -> Iterator[str]:
    """Columns of the expression itself; parts of a list are properties of their own."""
    if expression.list is None:
        yield from (reference.column for reference in expression.references(place))


def _properties(
    source: SourceConfig, plan: TrackingPlan, identity: IdentityConfig
) -> Iterator[tuple[str, Expression, bool]]:
    """Each property of each event, and each part of a list: place, where it comes from, whether it is personal."""
    for number, rule in enumerate(source.events):
        for event in events_of(rule, plan):
            if event not in plan.events:
                continue
            for name, expression in properties_of(source, rule, event, plan).items():
                start = f"events.{number}." if name in rule.properties else ""
                place = f"{start}properties.{name}"
                whole = identity.is_personal(event, name)
                yield place, expression, whole
                for key, part in () if whole else (expression.list or {}).items():
                    yield f"{place}.list.{key}", part, identity.is_personal(name, key)
