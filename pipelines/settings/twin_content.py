"""All files about twins as one, and the trees of their expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from feature_repo.configuration import Problem
from pipelines.expressions import ExpressionError, Kind
from pipelines.expressions.parse import parse
from pipelines.expressions.tree import Name, Node, names_of
from pipelines.settings.actions import ActionsFile
from pipelines.settings.catalogue_rules import Names, names_without_stages
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.surroundings import Surroundings
from pipelines.settings.tracking_plan import EventPlan, TrackingPlan
from pipelines.settings.twin_files import ExperienceFile, PersonasFile, TriggersFile, ViewsFile

JOURNEYS, PERSONAS, TRIGGERS = "journeys.yaml", "personas.yaml", "triggers.yaml"
EXPERIENCE, VIEWS = "experience.yaml", "views.yaml"
_KINDS: Mapping[str, Kind] = {
    "string": "text", "timestamp": "text", "integer": "number", "number": "number", "money": "number",
    "boolean": "boolean",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TwinContent:
    """What each file says; None where it is not there. `offered` are ids of actions, None where nobody knows them."""

    journeys: JourneysFile | None = None
    personas: PersonasFile | None = None
    triggers: TriggersFile | None = None
    experience: ExperienceFile | None = None
    views: ViewsFile | None = None
    actions: ActionsFile | None = None
    offered: frozenset[str] | None = None

    def over_features(self) -> Iterator[tuple[str, str, str, Kind]]:
        """File, field, text and kind of every expression over features."""
        for stage in self.journeys.stages if self.journeys else ():
            yield JOURNEYS, f"stages.{stage.name}.when", stage.when, "boolean"
        for relation in self.journeys.relationship if self.journeys else ():
            yield JOURNEYS, f"relationship.{relation.name}.when", relation.when, "boolean"
        for persona in self.personas.personas if self.personas else ():
            yield PERSONAS, f"personas.{persona.name}.score", persona.score, "number"
        for trigger in self.triggers.triggers if self.triggers else ():
            yield TRIGGERS, f"triggers.{trigger.name}.when", trigger.when, "boolean"
        asked = self.triggers.no_purchase if self.triggers else None
        if asked is not None:
            yield TRIGGERS, "no_purchase.when", asked.when, "boolean"
            for reason in asked.reasons:
                yield TRIGGERS, f"no_purchase.reasons.{reason.name}.signals", reason.signals, "number"

    def over_properties(self) -> Iterator[tuple[str, str, str, str]]:
        """File, field, text and event of every condition on properties."""
        for place, contact in enumerate(self.journeys.contacts if self.journeys else ()):
            yield JOURNEYS, f"contacts.{place}.when", contact.when, contact.event
        for place, experienced in enumerate(self.experience.experienced if self.experience else ()):
            yield EXPERIENCE, f"experienced.{place}.when", experienced.when, experienced.event


@dataclass(frozen=True, slots=True)
class TwinTrees:
    """The trees by file and field; those that are mistaken are left out."""

    trees: dict[tuple[str, str], Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, file: str, place: str, text: str, kind: Kind, names: Mapping[str, Node]) -> None:
        try:
            tree = parse(text, names, kind)
        except ExpressionError as error:
            for mistake in error.mistakes:
                got = f"{mistake.got}, at character {mistake.position}"
                self.problems.append(Problem(place, mistake.expected, got, mistake.hint, file))
            return
        if problem := _not_of_features(tree, place, text, file):
            self.problems.append(problem)
        else:
            self.trees[file, place] = tree


def parsed(content: TwinContent, around: Surroundings, plan: TrackingPlan) -> TwinTrees:
    """The trees of all expressions, and what is wrong with these."""
    trees = TwinTrees()
    names: Names = names_without_stages(content.actions, around)
    for file, place, text, kind in content.over_features():
        trees.add(file, place, text, kind, names.known)
    for file, place, text, event in content.over_properties():
        if event in plan.events:
            trees.add(file, place, text, "boolean", properties_of(plan.events[event]))
    return trees


def properties_of(event: EventPlan) -> dict[str, Node]:
    """What a condition on an event can read; lists and objects are not kept of it."""
    return {name: Name(name, _KINDS[of.type]) for name, of in event.properties.items() if of.type in _KINDS}


def _not_of_features(tree: Node, place: str, text: str, file: str) -> Problem | None:
    """A consent is no event's; and what a mistaken rule of actions.yaml would say, nobody knows."""
    names = names_of(tree)
    if "" in names:
        return Problem(place, "rules of actions.yaml that are not mistaken", repr(text), "mend that file", file)
    if any(name.startswith("consent.") for name in names):
        hint = "consents are asked for where something is decided"
        return Problem(place, "a rule over features, which events move", repr(text), hint, file)
    return None
