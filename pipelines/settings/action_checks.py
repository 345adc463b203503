"""Mistakes in the label of a model of actions that show only when it is held against the tracking plan."""

from __future__ import annotations

from collections.abc import Iterator

from feature_repo.configuration import Problem
from pipelines.settings.labels import ActionLabel, AssignmentConfig, microseconds
from pipelines.settings.tracking_plan import EventPlan, TrackingPlan

_COMPARED: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def check_action_label(plan: TrackingPlan, label: ActionLabel, file: str) -> Iterator[Problem]:
    """Events and properties that no tracking plan knows, rewards that are none, and controls of what was drawn."""
    for number, source in enumerate(label.assigned_by):
        yield from _assignment(plan, source, f"label.assigned_by.{number}", file)
    yield from _reward(plan, label, file)
    yield from _others(plan, label, file)
    names = list(label.actions.values())
    merged = sorted({name for name in names if names.count(name) > 1})
    if merged and len(label.assigned_by) == 1 and label.assigned_by[0].propensity is not None:
        # What is logged is the chance of one of the names, not that of all which are called alike.
        expected = "a name for each action, as its propensity is that of one"
        yield _problem(file, "label.actions", expected, ", ".join(merged))


def _assignment(plan: TrackingPlan, source: AssignmentConfig, field: str, file: str) -> Iterator[Problem]:
    event = plan.events.get(source.event)
    if event is None:
        yield _problem(file, f"{field}.event", "an event of events.yaml", source.event)
        return
    wanted = [
        ("action", source.action, ("string",)),
        ("propensity", source.propensity, ("number", "integer")),
        ("eligible", source.eligible, ("list",)),
    ]
    for key, name, kinds in wanted:
        if name is not None:
            yield from _property(source.event, event, name, kinds, f"{field}.{key}", file)
    for name, value in source.only.items():
        yield from _only(source.event, event, name, value, f"{field}.only", file)


def _property(of: str, event: EventPlan, name: str, kinds: tuple[str, ...], field: str, file: str) -> Iterator[Problem]:
    declared = event.properties.get(name)
    if declared is None or declared.type not in kinds:
        article = "an" if kinds[0][0] in "aeiou" else "a"
        expected = f"a property of {of} that is {article} {' or an '.join(kinds)}"
        yield _problem(file, field, expected, f"{name} ({declared.type if declared else 'not declared'})")


def _only(of: str, event: EventPlan, name: str, value: str | int | bool, field: str, file: str) -> Iterator[Problem]:
    """A value that no event can have leaves nobody."""
    declared = event.properties.get(name)
    if declared is None or declared.type not in _COMPARED:
        yield from _property(of, event, name, tuple(_COMPARED), f"{field}.{name}", file)
    elif type(value) is not _COMPARED[declared.type]:
        yield _problem(file, f"{field}.{name}", f"a value that is of type {declared.type}", value)
    elif declared.allowed and value not in declared.allowed:
        known = ", ".join(str(one) for one in declared.allowed)
        yield _problem(file, f"{field}.{name}", f"one of: {known}", value)


def _reward(plan: TrackingPlan, label: ActionLabel, file: str) -> Iterator[Problem]:
    reward = label.reward
    for key, events in (("events", reward.events), ("subtract", reward.subtract)):
        for event in events:
            if event not in plan.events:
                yield _problem(file, f"label.reward.{key}", "events of events.yaml", event)
            elif reward.of == "value" and plan.events[event].value is None:
                yield _problem(file, f"label.reward.{key}", "events with `value:` in events.yaml", event)
            if event in label.population_events:
                yield _problem(file, f"label.reward.{key}", "other events than those of label.assigned_by", event)
    if reward.subtract and reward.of != "value":
        yield _problem(file, "label.reward.subtract", "`of: value`, as only money is lessened", f"of: {reward.of}")
    for event in sorted({*reward.events} & {*reward.subtract}):
        yield _problem(file, "label.reward.subtract", "other events than those of label.reward.events", event)


def _others(plan: TrackingPlan, label: ActionLabel, file: str) -> Iterator[Problem]:
    if label.others is None:
        return
    for event in label.others.events:
        if event not in plan.events:
            yield _problem(file, "label.others.events", "events of events.yaml", event)
    if microseconds(label.others.within) == 0:
        yield _problem(file, "label.others.within", "a duration longer than 0d", label.others.within)
    for source in label.assigned_by:
        if source.propensity is not None:
            expected = "only where nobody was drawn: who was drawn to get no action is the control"
            yield _problem(file, "label.others", expected, f"{source.event} with propensity {source.propensity}")


def _problem(file: str, field: str, expected: str, got: object) -> Problem:
    return Problem(field, expected, repr(got), "", file)
