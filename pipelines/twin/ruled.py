"""What rules say at one instant: personas, triggers, and why there may have been no purchase, each with its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feature_repo.state.read import FeatureValue
from pipelines.expressions import Expression
from pipelines.twin.evidence import Evidence
from pipelines.twin.rules import Rule, Trigger, TwinRules
from pipelines.twin.state import Barrier, Persona, Ruled

UNKNOWN = "unknown"
Features = Mapping[str, FeatureValue]


def ruled(rule: Rule, features: Features, evidence: Evidence) -> Ruled:
    """The rule as one that holds."""
    return Ruled(rule.name, rule.description, _read(rule.when, features), evidence.of(rule.evidence))


def triggers_of(rules: TwinRules, features: Features, evidence: Evidence) -> tuple[Ruled, ...]:
    """Those that hold, in the order they are declared in, also while their `after` has not passed (see `due_at`)."""
    held = (trigger.rule for trigger in rules.triggers if trigger.rule.when.value(features) is True)
    return tuple(ruled(rule, features, evidence) for rule in held)


def due_at(trigger: Trigger, found: Ruled) -> int | None:
    """From when on a trigger that holds acts (microseconds UTC); None, at once, where no event is kept of it."""
    return found.evidence[0].at + trigger.after if found.evidence else None


def personas_of(rules: TwinRules, features: Features, evidence: Evidence) -> tuple[Persona, ...]:
    """Scores over their sum; those below the least share are left out and the others' weights add up to 1.

    Of the greatest weight first, then by name. Where all lie below it, the greatest are kept.
    """
    scores = {persona.name: _amount(persona.score, features) for persona in rules.personas}
    total = sum(scores.values())
    if total == 0:
        return ()
    least = min(rules.persona_at_least, max(scores.values()) / total)
    kept = {name: score for name, score in scores.items() if score > 0 and score / total >= least}
    left = sum(kept.values())
    found = [
        Persona(
            persona.name,
            persona.description,
            kept[persona.name] / left,
            _read(persona.score, features),
            evidence.of(persona.score.names),
        )
        for persona in rules.personas
        if persona.name in kept
    ]
    return tuple(sorted(found, key=lambda persona: (-persona.weight, persona.name)))


def barriers_of(rules: TwinRules, features: Features, evidence: Evidence) -> tuple[Barrier, ...]:
    """Reasons by their share of all signs, one sign left to what is unknown: the rule of succession.

    No calibrated probability: nobody knows the true reasons to hold it against. Empty where the question does not
    arise, and `unknown` alone where there is no sign.
    """
    if rules.no_purchase is None or rules.no_purchase.value(features) is not True:
        return ()
    counts = {barrier.name: _amount(barrier.signals, features) for barrier in rules.barriers}
    total = sum(counts.values()) + 1.0
    found = [
        Barrier(barrier.name, counts[barrier.name] / total, evidence.of(barrier.signals.names))
        for barrier in rules.barriers
        if counts[barrier.name] > 0
    ]
    found.sort(key=lambda barrier: (-barrier.share, barrier.reason))
    return (*found, Barrier(UNKNOWN, 1.0 / total, ()))


def _amount(expression: Expression, features: Features) -> float:
    found = expression.value(features)
    return max(0.0, found) if isinstance(found, int | float) else 0.0


def _read(expression: Expression, features: Features) -> dict[str, FeatureValue]:
    return {name: features.get(name) for name in expression.names}


def holding(rules: Sequence[Rule], features: Features) -> Rule:
    """The first rule that is certainly true; the last one always is."""
    return next((rule for rule in rules if rule.when.value(features) is True), rules[-1])
