"""Mistakes of the files about twins outside their expressions: names that nothing has, and rules that leave gaps."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from feature_repo.configuration import Problem
from feature_repo.spec import FeatureSpec
from pipelines.expressions.tree import Constant, names_of
from pipelines.settings.surroundings import Surroundings
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.twin_content import EXPERIENCE, JOURNEYS, PERSONAS, TRIGGERS, VIEWS, TwinContent, TwinTrees

_FEATURE = "a feature of features.yaml"


@dataclass(frozen=True, slots=True)
class TwinSurroundings:
    """What the files may refer to. `of_actions` is what a catalogue may; `models` are what a trigger can ask."""

    of_actions: Surroundings
    spec: FeatureSpec
    plan: TrackingPlan
    models: tuple[str, ...]


def check_twin(content: TwinContent, trees: TwinTrees, around: TwinSurroundings) -> Iterator[Problem]:
    """Every mistake."""
    yield from _repeated(content)
    yield from _last_stages(content, trees)
    yield from _path_features(content, trees, around)
    yield from _history(content, around.plan)
    yield from _triggers(content, around)
    for place, experienced in enumerate(content.experience.experienced if content.experience else ()):
        yield from _event(EXPERIENCE, f"experienced.{place}.event", experienced.event, around.plan)


def _repeated(content: TwinContent) -> Iterator[Problem]:
    journeys, triggers = content.journeys, content.triggers
    asked = triggers.no_purchase if triggers else None
    named = (
        (JOURNEYS, "stages", "each stage once", journeys.stages if journeys else ()),
        (JOURNEYS, "relationship", "each stage once", journeys.relationship if journeys else ()),
        (PERSONAS, "personas", "each name once", content.personas.personas if content.personas else ()),
        (TRIGGERS, "triggers", "each name once", triggers.triggers if triggers else ()),
        (TRIGGERS, "no_purchase.reasons", "each name once", asked.reasons if asked else ()),
        (VIEWS, "views", "each name once", content.views.views if content.views else ()),
    )
    for file, field, expected, items in named:
        for name, times in Counter(str(item.name) for item in items).items():
            if times > 1:
                yield Problem(field, expected, repr(name), "", file)


def _last_stages(content: TwinContent, trees: TwinTrees) -> Iterator[Problem]:
    """Nobody may be without a stage."""
    if content.journeys is None:
        return
    for key, stages in (("stages", content.journeys.stages), ("relationship", content.journeys.relationship)):
        place = f"{key}.{stages[-1].name}.when" if stages else ""
        tree = trees.trees.get((JOURNEYS, place))
        if tree is not None and tree != Constant(True, "boolean"):
            expected = "a last rule that always holds, `true`"
            hint = "add a stage for everybody else at the end"
            yield Problem(place, expected, repr(stages[-1].when), hint, JOURNEYS)


def _path_features(content: TwinContent, trees: TwinTrees, around: TwinSurroundings) -> Iterator[Problem]:
    """Of past events only the scalar properties are kept, from which the path is told; and `evidence` are features."""
    if content.journeys is None:
        return
    for key, stages in (("stages", content.journeys.stages), ("relationship", content.journeys.relationship)):
        for stage in stages:
            tree = trees.trees.get((JOURNEYS, f"{key}.{stage.name}.when"))
            for name in names_of(tree) if tree is not None else ():
                parts = around.spec.closure([name])
                if any(part.measure and "[]" in part.measure.path for part in parts):
                    expected = "features of single properties, as lists of past events are not kept"
                    yield Problem(f"{key}.{stage.name}.when", expected, repr(name), "", JOURNEYS)
            yield from _features(JOURNEYS, f"{key}.{stage.name}.evidence", stage.evidence, around)


def _history(content: TwinContent, plan: TrackingPlan) -> Iterator[Problem]:
    if content.journeys is None:
        return
    for event in content.journeys.traits_from:
        yield from _event(JOURNEYS, "traits_from", event, plan)
    for place, contact in enumerate(content.journeys.contacts):
        yield from _event(JOURNEYS, f"contacts.{place}.event", contact.event, plan)
        known = plan.events[contact.event].properties if contact.event in plan.events else None
        for key, name in (("action", contact.action), ("channel", contact.channel)):
            if known is not None and name is not None and name not in known:
                what = f"a property of {contact.event} ({', '.join(known) or 'there is none'})"
                yield Problem(f"contacts.{place}.{key}", what, repr(name), "", JOURNEYS)


def _triggers(content: TwinContent, around: TwinSurroundings) -> Iterator[Problem]:
    for trigger in content.triggers.triggers if content.triggers else ():
        place = f"triggers.{trigger.name}"
        yield from _features(TRIGGERS, f"{place}.evidence", trigger.evidence, around)
        for model in trigger.predictions:
            if model not in around.models:
                what = f"a model of configs/models that predicts ({', '.join(around.models) or 'there is none'})"
                yield Problem(f"{place}.predictions", what, repr(model), "", TRIGGERS)
        for action in trigger.offer:
            if content.offered is not None and action not in content.offered:
                what = f"an action of actions.yaml ({', '.join(sorted(content.offered))})"
                yield Problem(f"{place}.offer", what, repr(action), "", TRIGGERS)
        if trigger.offer and not trigger.decide:
            hint = "add `decide: true`, or take `offer` out"
            yield Problem(f"{place}.decide", "`true`, since `offer` names what to choose from", "False", hint, TRIGGERS)
        for event in trigger.cancelled_by:
            yield from _event(TRIGGERS, f"{place}.cancelled_by", event, around.plan)


def _features(file: str, field: str, names: Iterable[str], around: TwinSurroundings) -> Iterator[Problem]:
    for name in names:
        if name not in around.of_actions.features:
            near = difflib.get_close_matches(name, around.of_actions.features, n=2)
            yield Problem(field, _FEATURE, repr(name), f"near: {', '.join(near)}" if near else "", file)


def _event(file: str, field: str, event: str, plan: TrackingPlan) -> Iterator[Problem]:
    if event not in plan.events:
        near = difflib.get_close_matches(event, plan.events, n=2)
        hint = f"near: {', '.join(near)}" if near else ""
        yield Problem(field, "an event of events.yaml", repr(event), hint, file)
