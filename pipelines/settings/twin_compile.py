"""From checked files about twins to the rules: expressions compiled, durations in microseconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeVar

from pipelines.expressions.expression import Expression, compile_tree
from pipelines.expressions.tree import Constant, Name, Node, children
from pipelines.settings.journeys import HistoryConfig, StageConfig
from pipelines.settings.labels import microseconds
from pipelines.settings.twin_content import EXPERIENCE, JOURNEYS, PERSONAS, TRIGGERS, TwinContent, TwinTrees
from pipelines.settings.twin_files import TriggerConfig
from pipelines.twin.rules import (
    BarrierRule,
    ContactRule,
    Experienced,
    OfEvent,
    PersonaRule,
    Rule,
    Trigger,
    TwinRules,
    View,
)

_HALF_LIFE = "90d"
Item = TypeVar("Item")


def compiled(content: TwinContent, trees: TwinTrees) -> TwinRules:
    """The rules of what was checked and holds no mistake."""
    journeys, personas, experience = content.journeys, content.personas, content.experience
    triggers, views = content.triggers, content.views
    asked = triggers.no_purchase if triggers else None
    return TwinRules(
        kept_of_each=(journeys.history if journeys else HistoryConfig()).newest_of_each_event,
        traits_from=frozenset(journeys.traits_from if journeys else ()),
        contacts=_contacts(content, trees),
        stages=_stages("stages", journeys.stages if journeys else (), trees) or (_everybody("known"),),
        relationship=_stages("relationship", journeys.relationship if journeys else (), trees)
        or (_everybody("start"),),
        experienced=_experienced(content, trees),
        half_life=microseconds(experience.half_life if experience else _HALF_LIFE),
        follow_up=dict(experience.follow_up) if experience else {},
        personas=tuple(
            PersonaRule(of.name, of.description, _expression(of.score, trees, PERSONAS, f"personas.{of.name}.score"))
            for of in (personas.personas if personas else ())
        ),
        persona_at_least=personas.at_least if personas else 0.0,
        triggers=tuple(_trigger(trigger, trees) for trigger in (triggers.triggers if triggers else ())),
        no_purchase=_expression(asked.when, trees, TRIGGERS, "no_purchase.when") if asked else None,
        barriers=tuple(
            BarrierRule(
                of.name,
                of.description,
                _expression(of.signals, trees, TRIGGERS, f"no_purchase.reasons.{of.name}.signals"),
            )
            for of in (asked.reasons if asked else ())
        ),
        views={
            view.name: View(view.name, view.description, view.sections, view.personal)
            for view in (views.views if views else ())
        },
    )


def _everybody(name: str) -> Rule:
    return Rule(name, "", compile_tree("true", Constant(True, "boolean")), ())


def _expression(text: str, trees: TwinTrees, file: str, place: str) -> Expression:
    return compile_tree(text, trees.trees[file, place])


def _stages(key: str, stages: Iterable[StageConfig], trees: TwinTrees) -> tuple[Rule, ...]:
    found = []
    for stage in stages:
        when = _expression(stage.when, trees, JOURNEYS, f"{key}.{stage.name}.when")
        found.append(Rule(stage.name, stage.description, when, stage.evidence or when.names))
    return tuple(found)


def _trigger(trigger: TriggerConfig, trees: TwinTrees) -> Trigger:
    when = _expression(trigger.when, trees, TRIGGERS, f"triggers.{trigger.name}.when")
    return Trigger(
        rule=Rule(trigger.name, trigger.description, when, trigger.evidence or when.names),
        after=microseconds(trigger.after),
        again_after=microseconds(trigger.again_after),
        predictions=trigger.predictions,
        decide=trigger.decide,
        offer=trigger.offer,
        cancelled_by=frozenset(trigger.cancelled_by),
    )


def _contacts(content: TwinContent, trees: TwinTrees) -> Mapping[str, tuple[ContactRule, ...]]:
    written = content.journeys.contacts if content.journeys else ()
    return _by_event(
        (
            of.event,
            ContactRule(_of_event(of.event, of.when, trees, JOURNEYS, f"contacts.{i}.when"), of.action, of.channel),
        )
        for i, of in enumerate(written)
    )


def _experienced(content: TwinContent, trees: TwinTrees) -> Mapping[str, tuple[Experienced, ...]]:
    written = content.experience.experienced if content.experience else ()
    return _by_event(
        (
            of.event,
            Experienced(
                _of_event(of.event, of.when, trees, EXPERIENCE, f"experienced.{i}.when"), of.outcome, of.emotion
            ),
        )
        for i, of in enumerate(written)
    )


def _by_event(rules: Iterable[tuple[str, Item]]) -> dict[str, tuple[Item, ...]]:
    found: dict[str, list[Item]] = defaultdict(list)
    for event, rule in rules:
        found[event].append(rule)
    return {event: tuple(of_event) for event, of_event in found.items()}


def _of_event(event: str, when: str, trees: TwinTrees, file: str, place: str) -> OfEvent:
    tree = trees.trees[file, place]
    names = {part.name: part.kind for part in _parts(tree) if isinstance(part, Name) and part.kind}
    return OfEvent(event, compile_tree(when, tree), names)


def _parts(tree: Node) -> list[Node]:
    return [tree, *(part for child in children(tree) for part in _parts(child))]


NOTHING_DECLARED = compiled(TwinContent(), TwinTrees())
"""What holds without any file."""
