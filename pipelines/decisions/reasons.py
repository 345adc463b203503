"""Why an action was chosen, and why each other one was not: codes and sentences.

Amounts in sentences are in minor units of the catalogue's currency.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipelines.catalogue import Catalogue, Variant
from pipelines.decisions.candidates import Candidate
from pipelines.decisions.scope import told
from pipelines.decisions.send_time import BestChannel
from pipelines.decisions.situation import Alternative, Lost, Reason, Situation
from pipelines.expressions import Value


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen and how: `best` by value, and `best_without_levers`; the chances of the best and each other."""

    chosen: Candidate
    best: Candidate
    holdout: bool
    explored: bool
    chance_of_best: float
    chance_of_others: float
    best_without_levers: Candidate

    def propensity(self, candidate: Candidate) -> float:
        """The chance with which the candidate is chosen in this situation."""
        if self.holdout:
            return 1.0 if candidate.action is None else 0.0
        if candidate.obstacle is not None:
            return 0.0
        return self.chance_of_best if candidate is self.best else self.chance_of_others


def alternative_of(candidate: Candidate, choice: Choice, situation: Situation) -> Alternative:
    """One line of the decision's list."""
    lost, because = _lost(candidate, choice, situation)
    return Alternative(
        candidate.id, lost, because, choice.propensity(candidate), candidate.effect, candidate.response,
        candidate.plain_value, candidate.expected_value,
    )  # fmt: skip


def _lost(candidate: Candidate, choice: Choice, situation: Situation) -> tuple[Lost, str]:
    if candidate is choice.chosen:
        return "chosen", "it was chosen"
    if candidate.obstacle is not None:
        return candidate.obstacle.lost, candidate.obstacle.because
    if choice.holdout:
        return "holdout", "the customer is in the group that gets nothing, to compare with"
    if choice.explored:
        return "not_drawn", f"{choice.chosen.id} was drawn, to learn from"
    if candidate.unknown is not None:
        return "unknown_to_model", candidate.unknown
    score = candidate.score or 0.0
    if candidate.action is not None and score <= 0.0:
        return "not_worth_it", f"it is worth {score:.1f}, which is not more than nothing"
    return "less_value", f"it is worth {score:.1f}, and {choice.best.id} {choice.best.score or 0.0:.1f}"


def reasons_of(
    choice: Choice, variant: Variant | None, scope: Mapping[str, Value], situation: Situation, catalogue: Catalogue,
    channel: BestChannel | None,
) -> tuple[Reason, ...]:  # fmt: skip
    """The reasons of a decision, the most telling first."""
    of_channel: tuple[Reason, ...] = ()
    if choice.chosen.action and choice.chosen.send_at is not None and channel:
        of_channel = (_channel(choice.chosen.action.channel, channel),)
    return (*_reasons(choice, variant, scope, situation, catalogue), *of_channel)


def _reasons(
    choice: Choice, variant: Variant | None, scope: Mapping[str, Value], situation: Situation, catalogue: Catalogue
) -> Iterator[Reason]:
    chosen = choice.chosen
    if choice.holdout:
        yield Reason("holdout", "the customer is in the group that gets nothing, to compare with")
        return
    if choice.explored:
        other = "which is the best too" if chosen is choice.best else f"by value it would have been {choice.best.id}"
        sentence = f"{chosen.id} was drawn, to learn from; {other}"
        yield Reason("explored", sentence, (choice.best.id,))
    elif chosen.action is None:
        yield Reason("nothing_worth_it", _why_nothing(situation))
    if situation.basis != "effect":
        yield Reason("cold_start", _cold_start(situation, catalogue))
    if chosen.action is not None and chosen.value is not None:
        yield Reason("value", _worth(chosen, situation), chosen.action.value.names)
    yield from _levers(choice)
    if variant is not None and variant.when is not None:
        values = told(variant.when.names, scope)
        yield Reason(
            "variant", f"{variant.id}: {variant.because}{f' ({values})' if values else ''}", variant.when.names
        )
    if chosen.send_at is not None:
        yield _send_time(chosen, chosen.send_at, situation.as_of)


def _why_nothing(situation: Situation) -> str:
    if situation.basis == "none":
        return "no model says yet what an action brings"
    price = f" at a shadow price of {situation.shadow_price:g}" if situation.shadow_price else ""
    return f"no action that may be chosen is worth more than it costs{price}"


def _cold_start(situation: Situation, catalogue: Catalogue) -> str:
    share = f"{catalogue.cold_start_exploration_share:.0%} of the choices are drawn to learn it"
    if situation.basis == "none":
        return f"what an action changes is not known yet; {share}"
    return f"what an action changes is not known yet: ranked by the chance of the goal × its value; {share}"


def _worth(chosen: Candidate, situation: Situation) -> str:
    """What goes into the expected value; `chosen` is an action that has one."""
    cost = chosen.action.cost if chosen.action else 0
    if situation.basis == "effect":
        amount = f"it changes the outcome by {chosen.effect or 0.0:.4g}"
    else:
        amount = f"the goal is expected at {chosen.response or 0.0:.4g}"
    price = f", and a unit of cost must bring {situation.shadow_price:g} more" if situation.shadow_price else ""
    plain = chosen.plain_value or 0.0
    return f"{amount}, worth {chosen.value or 0.0:.1f} each, and costs {cost}: {plain:.1f} expected{price}"


def _levers(choice: Choice) -> Iterator[Reason]:
    action, chosen = choice.chosen.action, choice.chosen
    if action and chosen.plain_value is not None and (action.priority != 1.0 or action.boost != 0):
        sentence = (
            f"its levers, priority {action.priority:g} and boost {action.boost}, make {chosen.plain_value:.1f} "
            f"into {chosen.expected_value or 0.0:.1f}"
        )
        yield Reason("lever", sentence, (action.id,))
    if choice.best is not choice.best_without_levers and not choice.explored:
        other = choice.best_without_levers.id
        yield Reason("lever_decided", f"without levers it would have been {other}", (other,))


def _channel(chosen: str | None, best: BestChannel) -> Reason:
    if best.confidence is None:
        declared = f"too few messages tell which channel is answered, and {best.channel} is declared"
        return Reason("channel_fallback", declared)
    other = "" if chosen == best.channel else f"; {chosen} is chosen for what the action brings"
    return Reason("channel", f"{best.channel} is answered most often (confidence {best.confidence:.2f}){other}")


def _send_time(chosen: Candidate, send_at: int, as_of: int) -> Reason:
    best = chosen.best_hour
    wait = f"in {(send_at - as_of) / 3_600_000_000:.1f} hours" if send_at > as_of else "at once"
    if best is None:
        return Reason("send_time", f"to be sent {wait}: the first instant outside quiet hours")
    missed = "" if chosen.send_hour == best.hour else ", which lies within quiet hours or after the offer's end"
    if best.confidence is None:
        declared = f"too few answers tell the hour, and hour {best.hour} is declared"
        return Reason("send_time_fallback", f"to be sent {wait}: {declared}{missed}")
    known = f"answers come around hour {best.hour} (confidence {best.confidence:.2f})"
    return Reason("send_time", f"to be sent {wait}: {known}{missed}")
