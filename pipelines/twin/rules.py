"""What is declared of twins, compiled: stages, relationship, experience, personas, triggers, barriers, views."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.expressions import Expression, Kind, Value
from pipelines.twin.state import Outcome

STOPPED = "stopped"
Section = Literal[
    "profile", "identities", "consents", "stage", "relationship", "experience", "personas", "triggers", "barriers",
    "contacts", "predictions",
]  # fmt: skip
Relationship = Literal["stopped", "backward", "forward", "start"]


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
    after it fired it may fire again. It then asks the models `predictions`, and a decision where `decide` says so,
    among the actions `offer` where that names some. What has not been sent is cancelled when the rule holds no more, or
    at one of the events `cancelled_by`.
    """

    rule: Rule
    after: int
    again_after: int
    predictions: tuple[str, ...]
    decide: bool
    offer: tuple[str, ...]
    cancelled_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class OfEvent:
    """Events of one name whose properties meet `when`; `kinds` are those of the properties that it reads."""

    event: str
    when: Expression
    kinds: Mapping[str, Kind]

    def holds(self, properties: Mapping[str, object]) -> bool:
        """A property of another kind than the tracking plan has is like one that is missing."""
        scope = {name: of_kind(properties.get(name), kind) for name, kind in self.kinds.items()}
        return self.when.value(scope) is True


@dataclass(frozen=True, slots=True)
class Experienced:
    """What an event with these properties says of how it was experienced; `emotion` is -1 (worst) to 1 (best)."""

    when: OfEvent
    outcome: Outcome
    emotion: float


@dataclass(frozen=True, slots=True)
class ContactRule:
    """Events that are contacts. `action` and `channel` are properties; None: unknown, and the event's own channel."""

    when: OfEvent
    action: str | None
    channel: str | None


@dataclass(frozen=True, slots=True)
class PersonaRule:
    """`score` is a number over features; what is unknown or below 0 counts as 0."""

    name: str
    description: str
    score: Expression


@dataclass(frozen=True, slots=True)
class BarrierRule:
    """A reason not to buy; `signals` is the number of signs of it, over features, counted as a score is."""

    name: str
    description: str
    signals: Expression


@dataclass(frozen=True, slots=True)
class View:
    """What a team sees: `sections` of the answer; whether what names a person is opened for a key that may."""

    name: str
    description: str
    sections: tuple[Section, ...]
    personal: bool


@dataclass(frozen=True, slots=True)
class TwinRules:
    """All of it. `kept_of_each` events of a kind are kept beside features; `half_life` (microseconds) is of emotions.

    The last of `stages` and of `relationship` always holds. `barriers` are asked for where `no_purchase` holds; there
    are none without it. `experienced` and `contacts` are by event, of which the first rule that holds counts.
    """

    kept_of_each: int
    traits_from: frozenset[str]
    contacts: Mapping[str, tuple[ContactRule, ...]]
    stages: tuple[Rule, ...]
    relationship: tuple[Rule, ...]
    experienced: Mapping[str, tuple[Experienced, ...]]
    half_life: int
    follow_up: Mapping[Outcome, str]
    personas: tuple[PersonaRule, ...]
    persona_at_least: float
    triggers: tuple[Trigger, ...]
    no_purchase: Expression | None
    barriers: tuple[BarrierRule, ...]
    views: Mapping[str, View]

    @property
    def features(self) -> tuple[str, ...]:
        """Every feature that a rule reads, once, in a fixed order."""
        rules = [*self.stages, *self.relationship, *(trigger.rule for trigger in self.triggers)]
        expressions = [rule.when for rule in rules] + [persona.score for persona in self.personas]
        expressions += [barrier.signals for barrier in self.barriers]
        expressions += [self.no_purchase] if self.no_purchase else []
        cited = {name for rule in rules for name in rule.evidence}
        return tuple(sorted(cited.union(*(expression.names for expression in expressions))))

    @property
    def path_features(self) -> tuple[str, ...]:
        """Those that stages and relationship read, which are looked at again at each event of the past."""
        return features_of([*self.stages, *self.relationship])


def features_of(rules: Iterable[Rule]) -> tuple[str, ...]:
    """What the rules read, once, in a fixed order."""
    return tuple(sorted({name for rule in rules for name in rule.when.names}))


def of_kind(value: object, kind: Kind) -> Value:
    """`value` where it is of this kind, else None."""
    if kind == "number":
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    return value if isinstance(value, str) else None
