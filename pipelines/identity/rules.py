"""What follows from a score: link, review, or nothing. Pure; the rules stand above the score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipelines.settings.identity import MatchingConfig

if TYPE_CHECKING:
    # It loads engines, which those who only decide do without.
    from pipelines.identity.scoring import ScoredPair

Verdict = Literal["link", "review", "nothing"]

PROBABLE = "probable enough to link"
GREY = "between the thresholds"
IMPROBABLE = "below the threshold of review"
NAMES_ALONE = "only names and places agree"
OTHER_GIVEN_NAME = "given names differ, as in a family or of twins"
NO_GIVEN_NAME = "no given name of both, which tells a family or twins apart"
CONTRADICTED = "one of them is linked with somebody the other is not"

_GIVEN_NAME = "given_name"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is to be done about a pair, and the rule that said so."""

    pair: ScoredPair
    verdict: Verdict
    why: str

    def evidence(self) -> dict[str, Any]:
        """What agrees and what does not, by comparison, with its part of the match weight; no personal value."""
        findings = self.pair.findings.items()
        told = {name: {"says": finding.words, "weight": round(finding.weight, 2)} for name, finding in findings}
        return {"rule": self.why, "comparisons": told}


def decide_pair(pair: ScoredPair, thresholds: MatchingConfig) -> Outcome:
    """What a pair's own score and evidence say.

    However high the score: a pair that agrees in nothing but names and places (an e-mail that is nearly the
    same counts as a name: it is made of one), or whose given names do not agree, is for people: families
    share phones, and twins birth dates too.
    """
    if pair.probability < thresholds.review:
        return Outcome(pair, "nothing", IMPROBABLE)
    if not any(finding.agrees and finding.strong for finding in pair.findings.values()):
        return Outcome(pair, "review", NAMES_ALONE)
    given = pair.findings[_GIVEN_NAME]
    if not given.agrees:
        return Outcome(pair, "review", OTHER_GIVEN_NAME if given.known else NO_GIVEN_NAME)
    if pair.probability < thresholds.link:
        return Outcome(pair, "review", GREY)
    return Outcome(pair, "link", PROBABLE)


def decide_all(pairs: Iterable[ScoredPair], thresholds: MatchingConfig) -> list[Outcome]:
    """The outcomes of all pairs from the threshold of review on, the most probable first.

    Links join whole groups, so one that would join two customers who are not even for review themselves
    is for people: of A = B and B = C without A = C one must be wrong, and the weaker one is asked about.
    """
    ranked = sorted(pairs, key=lambda pair: (-pair.probability, pair.left, pair.right))
    decided = [outcome for pair in ranked if (outcome := decide_pair(pair, thresholds)).verdict != "nothing"]
    possible = {(outcome.pair.left, outcome.pair.right) for outcome in decided}
    groups: dict[str, frozenset[str]] = {}
    return [_within_groups(outcome, groups, possible) for outcome in decided]


def _within_groups(outcome: Outcome, groups: dict[str, frozenset[str]], possible: set[tuple[str, str]]) -> Outcome:
    """The outcome among the links before it; `groups` grows by a link that holds."""
    if outcome.verdict != "link":
        return outcome
    left, right = (groups.get(end, frozenset({end})) for end in (outcome.pair.left, outcome.pair.right))
    if left != right and any((min(a, b), max(a, b)) not in possible for a in left for b in right):
        return Outcome(outcome.pair, "review", CONTRADICTED)
    groups.update(dict.fromkeys(left | right, left | right))
    return outcome


def counts(outcomes: Iterable[Outcome]) -> Mapping[str, Mapping[str, int]]:
    """How many pairs there are by verdict and rule, in words."""
    found: dict[str, dict[str, int]] = {}
    for outcome in outcomes:
        by_rule = found.setdefault(outcome.verdict, {})
        by_rule[outcome.why] = by_rule.get(outcome.why, 0) + 1
    return found
