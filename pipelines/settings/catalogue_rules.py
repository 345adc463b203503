"""Named rules, stages and traits as names that expressions can use; rules may use each other, but not in a circle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from feature_repo.configuration import Problem
from pipelines.expressions import ExpressionError, Kind
from pipelines.expressions.parse import names_written, parse
from pipelines.expressions.tree import Name, Node
from pipelines.settings.actions import ActionsFile
from pipelines.settings.journeys import JourneysFile
from pipelines.settings.surroundings import Surroundings

ACTIONS, JOURNEYS = "actions.yaml", "journeys.yaml"
STAGE = "stage"
_TOLD_ELSEWHERE = Name("", None)


@dataclass(frozen=True, slots=True)
class Names:
    """What expressions may name. `rules` and `stages` have their trees; stages are no names themselves."""

    rules: dict[str, Node] = field(default_factory=dict)
    stages: dict[str, Node] = field(default_factory=dict)
    known: dict[str, Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def parsed(self, file: str, place: str, text: str, kind: Kind) -> Node:
        """The tree; where it is mistaken the mistakes are noted, and what is returned is only a stand-in."""
        try:
            return parse(text, self.known, kind)
        except ExpressionError as error:
            for mistake in error.mistakes:
                got = f"{mistake.got}, at character {mistake.position}"
                self.problems.append(Problem(place, mistake.expected, got, mistake.hint, file))
            return _TOLD_ELSEWHERE


def names_for(actions: ActionsFile, journeys: JourneysFile | None, around: Surroundings, stages_known: bool) -> Names:
    """Features, traits, consents and rules, then the stages, whose rules cannot ask for the stage.

    Not `stages_known`: the journeys are mistaken, so that a stage that they lack may only be misspelt there.
    """
    names = _of_surroundings(actions, around)
    stages = tuple(stage.name for stage in journeys.stages) if journeys else ()
    if not stages_known:
        names.known[STAGE] = Name(STAGE, "text")
    elif stages:
        names.known[STAGE] = Name(STAGE, "text", stages)
    _add_rules(names, actions.rules)
    for stage in journeys.stages if journeys else ():
        place = f"stages.{stage.name}.when"
        if STAGE in _all_names(stage.when, actions.rules):
            expected = "a rule that does not ask for the stage, which it decides"
            names.problems.append(Problem(place, expected, repr(stage.when), "", JOURNEYS))
        names.stages[stage.name] = names.parsed(JOURNEYS, place, stage.when, "boolean")
    return names


def names_without_stages(actions: ActionsFile | None, around: Surroundings) -> Names:
    """Features, traits, consents and rules, for rules that decide what the stage is."""
    names = _of_surroundings(actions, around)
    if actions is not None:
        _add_rules(names, actions.rules)
    return names


def _of_surroundings(actions: ActionsFile | None, around: Surroundings) -> Names:
    names = Names()
    names.known.update({name: Name(name, kind) for name, kind in around.features.items()})
    names.known.update({f"consent.{purpose}": Name(f"consent.{purpose}", "boolean") for purpose in around.purposes})
    for trait, feature in actions.traits.items() if actions else ():
        names.known[f"traits.{trait}"] = names.known.get(feature, _TOLD_ELSEWHERE)
    return names


def _add_rules(names: Names, rules: Mapping[str, str]) -> None:
    order, circles = _in_order(rules)
    for circle in circles:
        got = " -> ".join([*circle, circle[0]])
        names.problems.append(Problem(f"rules.{circle[0]}", "rules that do not need themselves", got, "", ACTIONS))
    in_circle = {name for circle in circles for name in circle}
    names.known.update(dict.fromkeys(in_circle, _TOLD_ELSEWHERE))
    for name in order:
        tree = names.parsed(ACTIONS, f"rules.{name}", rules[name], "boolean")
        names.known[name] = names.rules[name] = _TOLD_ELSEWHERE if name in in_circle else tree


def _used(rules: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(used for used in names_written(rules[name]) if used in rules)


def _all_names(text: str, rules: Mapping[str, str]) -> set[str]:
    """Names that a text uses, through rules too."""
    found: set[str] = set()
    ahead = list(names_written(text))
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += names_written(rules[name]) if name in rules else ()
    return found


def _in_order(rules: Mapping[str, str]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Each rule after those that it uses, and the circles, one for each rule that leads back to one before it.

    A walk in depth, with a list instead of recursion: a chain of rules may be long.
    """
    order: dict[str, None] = {}
    circles: list[tuple[str, ...]] = []
    for first in rules:
        path = [] if first in order else [first]
        ahead = {first: iter(_used(rules, first))}
        while path:
            used = next(ahead[path[-1]], None)
            if used is None:
                order[path.pop()] = None
            elif used in path:
                circles.append(tuple(path[path.index(used) :]))
            elif used not in order:
                path.append(used)
                ahead[used] = iter(_used(rules, used))
    return list(order), circles
