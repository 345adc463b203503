"""Each action of the catalogue for one customer: what stands against it, what it is worth, when to send it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.catalogue import NO_ACTION, Action, Catalogue
from pipelines.decisions.customer_clock import CustomerClock, clock_of, customer_zone
from pipelines.decisions.obstacles import Obstacle, obstacle, reached_caps, when_to_send, within_budget
from pipelines.decisions.scope import told
from pipelines.decisions.send_time import BestChannel, BestHour, best_channel, best_hour
from pipelines.decisions.situation import Predicted, Situation
from pipelines.expressions import Value

_NOTHING_PREDICTED = Predicted(None, None)
_QUIET = Obstacle("quiet_hours", "the customer's quiet hours leave no instant of the next 24 hours while it is offered")


@dataclass(slots=True)
class Candidate:
    """An action, or no action where `action` is None.

    `obstacle` is why it may not be chosen, None where it may. `unknown` says why it has no expected value: it may be
    chosen by a draw only. `send_hour` is the hour of the customer's day at `send_at`.
    `plain_value` is amount × value − cost in minor units, where the amount is what is predicted
    on the basis of the situation; `expected_value` is that with the levers; `score` is that less the shadow price.
    """

    id: str
    action: Action | None
    obstacle: Obstacle | None = None
    unknown: str | None = None
    effect: float | None = None
    response: float | None = None
    value: float | None = None
    plain_value: float | None = None
    expected_value: float | None = None
    score: float | None = None
    plain_score: float | None = None
    send_at: int | None = None
    send_hour: int | None = None
    best_hour: BestHour | None = None


def candidates_of(catalogue: Catalogue, situation: Situation, scope: Mapping[str, Value]) -> list[Candidate]:
    """No action first, then the actions in the order of the catalogue."""
    reached = reached_caps(catalogue.caps, situation.contacts, situation.as_of)
    said = scope.get(catalogue.time_zone_feature) if catalogue.time_zone_feature else None
    clock = clock_of(customer_zone(said, catalogue.time_zone), situation.as_of)
    hours: dict[str, BestHour | None] = {}
    found = [_no_action(situation)]
    for action in catalogue.actions:
        candidate = Candidate(action.id, action, obstacle(action, catalogue, situation, scope, reached))
        found.append(candidate)
        if candidate.obstacle is None and action.channel is not None:
            if action.channel not in hours:
                hours[action.channel] = hour_for(catalogue, action.channel, clock, scope)
            _schedule(candidate, action, hours[action.channel], clock)
        if candidate.obstacle is None and not within_budget(action, catalogue.budget, situation.spent):
            candidate.obstacle = Obstacle("budget", f"its cost of {action.cost} does not fit into the period's budget")
        _predict(candidate, situation)
        if candidate.obstacle is None:
            _value(candidate, action, situation, scope)
    return found


def hour_for(catalogue: Catalogue, channel: str, clock: CustomerClock, scope: Mapping[str, Value]) -> BestHour | None:
    """The hour that suits the customer for a channel, on the customer's clock; None where nothing counts answers."""
    send_time = catalogue.send_time
    if send_time is None or channel not in send_time.counts:
        return None
    # An empty count is none; those of features are whole numbers.
    counts = [int(scope.get(name) or 0) for name in send_time.counts[channel]]
    shift = clock.offset - send_time.utc_offset
    return best_hour(counts, send_time.at_least, send_time.fallback_hour, shift)


def channel_for(catalogue: Catalogue, scope: Mapping[str, Value]) -> BestChannel | None:
    """The channel that the customer answers; None where nothing counts answers."""
    asked = catalogue.best_channel
    if asked is None:
        return None
    counts = {channel: tuple(int(scope.get(name) or 0) for name in names) for channel, names in asked.counts.items()}
    # What is answered in a window may have been delivered before it.
    contacts = {channel: (answered, max(answered, sent)) for channel, (answered, sent) in counts.items()}
    return best_channel(contacts, asked.at_least, asked.fallback)


def _schedule(candidate: Candidate, action: Action, best: BestHour | None, clock: CustomerClock) -> None:
    candidate.best_hour, candidate.send_at = best, when_to_send(action, best, clock)
    if candidate.send_at is None:
        candidate.obstacle = _QUIET
    else:
        candidate.send_hour = clock.minute_of_day(candidate.send_at) // 60


def _no_action(situation: Situation) -> Candidate:
    candidate = Candidate(NO_ACTION, None, plain_value=0.0, expected_value=0.0, score=0.0, plain_score=0.0)
    candidate.effect = 0.0 if situation.basis == "effect" else None
    candidate.response = _finite(situation.predicted.get(NO_ACTION, _NOTHING_PREDICTED).response)
    return candidate


def _predict(candidate: Candidate, situation: Situation) -> None:
    predicted = situation.predicted.get(candidate.id, _NOTHING_PREDICTED)
    candidate.effect, candidate.response = _finite(predicted.effect), _finite(predicted.response)


def _value(candidate: Candidate, action: Action, situation: Situation, scope: Mapping[str, Value]) -> None:
    if situation.basis == "none":
        candidate.unknown = "no model says yet what it brings"
        return
    amount = candidate.effect if situation.basis == "effect" else candidate.response
    if amount is None:
        candidate.unknown = f"the model does not know the action, so its {situation.basis} is not predicted"
        return
    value = action.value.value(scope)
    if not isinstance(value, float):
        candidate.unknown = f"what it is worth is not known: {action.value.text} ({told(action.value.names, scope)})"
        return
    plain = amount * value - action.cost
    expected = action.priority * plain + action.boost
    if not math.isfinite(expected):
        candidate.unknown = f"what it is worth is beyond any amount: {action.value.text}"
        return
    price = situation.shadow_price * action.cost
    candidate.value, candidate.plain_value, candidate.expected_value = value, plain, expected
    candidate.plain_score, candidate.score = plain - price, expected - price


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
