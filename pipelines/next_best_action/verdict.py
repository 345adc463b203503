"""The verdict on a model of actions: what is shown, and what is not, in words that a person can hold it to."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.next_best_action.candidates import CONSTANT, GainFigures, PolicyFigures, title_of
from pipelines.next_best_action.policies import CHAMPION, NO_ACTION, PROPENSITY, RANDOM

ASSOCIATIONAL = (
    "Associational: nobody drew these actions at random, so the figures also hold whatever made people choose them. "
    "They are no ground to decide by, and no such model becomes champion unless a person says so and why."
)


def sentences(
    learner: str, policies: Sequence[PolicyFigures], gains: Sequence[GainFigures], reference: str, unit: str,
    randomised: bool, warnings: Sequence[str],
) -> tuple[str, ...]:  # fmt: skip
    """First what the figures may be used for, then what the policy brings, then what the test cannot tell."""
    rows = {row.name: row for row in policies}
    over = {gain.against: gain for gain in gains}
    told = [] if randomised else [ASSOCIATIONAL]
    own = rows["chosen"]
    what = "One effect for all" if learner == CONSTANT else f"The {title_of(learner)}"
    acts = f"acts on {own.acted:.0%} of decisions" if own.acted > 0 else "acts on nobody: no action is worth its cost"
    told.append(f"{what} {acts}; it is worth {_value(own)} {unit} a decision, net of costs.")
    against = [name for name in dict.fromkeys((reference, NO_ACTION, PROPENSITY, RANDOM, CHAMPION)) if name in over]
    told += [_compared(over[name], name == reference, unit) for name in against]
    best = max((row for row in policies if row.name not in ("chosen", "logged")), key=lambda row: row.value)
    if best.value > own.value:
        told.append(f"The highest value of this test is that of {_said(best.name)}, {_value(best)}.")
    return (*told, *(f"Of the model's policy: {warning}." for warning in warnings))


def _compared(gain: GainFigures, is_reference: bool, unit: str) -> str:
    name = _said(gain.against)
    known = f"{name}, the best that does the same to all" if is_reference else name
    size = f"{gain.value:+.3g} {unit} a decision [{gain.low:+.3g}, {gain.high:+.3g}]"
    if gain.low > 0:
        return f"It is better than {known}: {size}."
    if gain.high < 0:
        return f"It is worse than {known}: {size}."
    if gain.low == gain.high == 0:
        return f"It does the same as {known}."
    return f"It is not shown to beat {known}: {size}."


def _said(name: str) -> str:
    words = {
        NO_ACTION: "no action", RANDOM: "acting at random", PROPENSITY: "targeting by propensity",
        CHAMPION: "the present champion", CONSTANT: "one effect for all",
    }  # fmt: skip
    return words.get(name) or title_of(name)


def _value(row: PolicyFigures) -> str:
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
