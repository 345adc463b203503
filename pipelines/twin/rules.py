"""What is declared of twins, compiled: stages, relationship, experience, personas, triggers, barriers, views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.expressions import Expression


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule over features. `evidence` are the features whose events are cited, by default all it reads."""

    name: str
    description: str
    when: Expression
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A rule that acts when it begins to hold.

    `after` is how long (microseconds) it must have held since the newest event of its evidence; `again_after` how long
    after it fired it may fire again. It then asks the models `predictions`, and a decision where `decide` says so, among
    the actions `offer` where that names some. What has not been sent is cancelled when the rule holds no more, or at one
    of the events `cancelled_by`.
    """

    rule: Rule
    after: int
    again_after: int
    predictions: tuple[str, ...]
    decide: bool
    offer: tuple[str, ...]
    cancelled_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class Experienced:
    """What an event with these properties says of how it was experienced. `when` reads the event's properties."""

    event: str
    when: Expression
    outcome: str
    emotion: float


@dataclass(frozen=True, slots=True)
class PersonaRule:
    """`score` is a number over features; what is unknown or below 0 counts as 0."""

    name: str
    description: str
    score: Expression


@dataclass(frozen=True, slots=True)
class View:
    """What a team sees: `sections` of the answer; whether what names a person is opened for a key that may."""

    name: str
    description: str
    sections: tuple[str, ...]
    personal: bool


@dataclass(frozen=True, slots=True)
class TwinRules:
    """All of it. `kept_of_each` events of a kind are kept beside features; `half_life` (microseconds) is of emotions."""

    kept_of_each: int
    stages: tuple[Rule, ...]
    relationship: tuple[Rule, ...]
    experienced: Mapping[str, tuple[Experienced, ...]]
    half_life: int
    follow_up: Mapping[str, str]
    personas: tuple[PersonaRule, ...]
    persona_at_least: float
    triggers: tuple[Trigger, ...]
    barriers: tuple[Rule, ...]
    views: Mapping[str, View]

    @property
    def features(self) -> tuple[str, ...]:
        """Every feature that a rule reads, once, in a fixed order."""
        rules = [*self.stages, *self.relationship, *(t.rule for t in self.triggers), *self.barriers]
        names = [name for rule in rules for name in (*rule.when.names, *rule.evidence)]
        names += [name for persona in self.personas for name in persona.score.names]
        return tuple(dict.fromkeys(sorted(names)))

    @property
    def path_features(self) -> tuple[str, ...]:
        """Those that stages and relationship read, which are looked at again at each event of the past."""
        rules = [*self.stages, *self.relationship]
        return tuple(sorted({name for rule in rules for name in rule.when.names}))
