"""The next best action of one customer: what an action changes, in money, under all rules of contact.

Pure: the same catalogue and situation give the same decision, wherever and whenever. Steps, in this order:

1. The stage, then each action with the first obstacle that it meets (`obstacles`).
2. What remains is valued: effect × value − cost, then the levers (× priority, + boost), then less the shadow price
   times the cost. The best is the highest of those above 0, the first in the catalogue of equals; else no action.
3. Exploration: with a chance of e, one of the E choices without an obstacle, no action among them, each alike. So the
   best has the chance 1 − e + e / E, each other one e / E, one with an obstacle 0. An action that the model does not
   know yet is chosen in no other way.
4. A customer of the holdout gets no action, with certainty; what could have been chosen is told as lost to it.

Without effects (cold start), responses take their place, and the exploration is that of the cold start; with no
prediction at all, no action is best.
"""

from __future__ import annotations

from pipelines.catalogue import Action, Catalogue, Variant
from pipelines.decisions.candidates import Candidate, candidates_of, channel_for
from pipelines.decisions.draws import chances, draw, in_holdout, seed_of
from pipelines.decisions.reasons import Choice, alternative_of, reasons_of
from pipelines.decisions.scope import scope_of
from pipelines.decisions.situation import Basis, Decision, Situation
from pipelines.expressions import Value


def decide(catalogue: Catalogue, situation: Situation) -> Decision:
    """Decide for one customer at `situation.as_of`.

    Raises:
        ValueError: the catalogue's own time zone does not exist.
    """
    scope, stage = scope_of(catalogue, situation)
    candidates = candidates_of(catalogue, situation, scope)
    seed = seed_of(catalogue.holdout_salt, situation.decision_id, situation.customer_id)
    choice = _choose(catalogue, situation, candidates, seed)
    chosen = choice.chosen
    variant = _variant(chosen.action, scope) if chosen.action else None
    hour, channel = chosen.best_hour, channel_for(catalogue, scope)
    return Decision(
        decision_id=situation.decision_id,
        customer_id=situation.customer_id,
        as_of=situation.as_of,
        action=chosen.id,
        variant=variant.id if variant else None,
        channel=chosen.action.channel if chosen.action else None,
        cost=chosen.action.cost if chosen.action else 0,
        propensity=choice.propensity(chosen),
        expected_value=chosen.expected_value or 0.0,
        basis=situation.basis,
        holdout=choice.holdout,
        explored=choice.explored,
        seed=seed,
        catalogue=catalogue.hash,
        stage=stage,
        send_at=chosen.send_at,
        hour=hour.hour if hour else None,
        hour_confidence=hour.confidence if hour else None,
        hour_is_fallback=hour.is_fallback if hour else None,
        best_channel=channel.channel if channel else None,
        best_channel_confidence=channel.confidence if channel else None,
        best_channel_is_fallback=channel.confidence is None if channel else None,
        alternatives=tuple(alternative_of(candidate, choice, situation) for candidate in _ranked(candidates, chosen)),
        reasons=reasons_of(choice, variant, scope, situation, catalogue, channel),
    )


def exploration_share(catalogue: Catalogue, basis: Basis) -> float:
    """The chance with which a choice is drawn."""
    if basis == "effect":
        return catalogue.exploration_share
    return catalogue.cold_start_exploration_share


def _choose(catalogue: Catalogue, situation: Situation, candidates: list[Candidate], seed: str) -> Choice:
    open_ones = [candidate for candidate in candidates if candidate.obstacle is None]
    best = _best(open_ones)
    if in_holdout(catalogue.holdout_salt, situation.customer_id, catalogue.holdout_share):
        return Choice(candidates[0], best, True, False, 1.0, 0.0, _best_without_levers(open_ones))
    share = exploration_share(catalogue, situation.basis)
    of_best, of_others = chances(share, len(open_ones))
    drawn = draw(seed, share, len(open_ones))
    chosen = best if drawn is None else open_ones[drawn]
    return Choice(chosen, best, False, drawn is not None, of_best, of_others, _best_without_levers(open_ones))


def _best(open_ones: list[Candidate]) -> Candidate:
    """No action stands first and is worth 0, so that what is chosen is worth more."""
    known = [candidate for candidate in open_ones if candidate.score is not None]
    return max(known, key=lambda candidate: candidate.score or 0.0)


def _best_without_levers(open_ones: list[Candidate]) -> Candidate:
    known = [candidate for candidate in open_ones if candidate.plain_score is not None]
    return max(known, key=lambda candidate: candidate.plain_score or 0.0)


def _ranked(candidates: list[Candidate], chosen: Candidate) -> list[Candidate]:
    """The chosen first, then by expected value, those without one last; equals as in the catalogue."""
    others = [candidate for candidate in candidates if candidate is not chosen]
    valued = [candidate for candidate in others if candidate.expected_value is not None]
    rest = [candidate for candidate in others if candidate.expected_value is None]
    valued.sort(key=lambda candidate: candidate.expected_value or 0.0, reverse=True)
    return [chosen, *valued, *rest]


def _variant(action: Action, scope: dict[str, Value]) -> Variant | None:
    return next((item for item in action.variants if item.when is None or item.when.value(scope) is True), None)
