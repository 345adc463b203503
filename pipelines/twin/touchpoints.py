"""How a customer experienced what happened: an outcome and an emotion an event, a channel and over all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pipelines.events.moments import Moment
from pipelines.twin.evidence import CITED, cited
from pipelines.twin.rules import TwinRules
from pipelines.twin.state import Experience, Signal, Touchpoint


def experience_of(moments: Sequence[Moment], rules: TwinRules) -> Experience:
    """`moments` ascend. Emotions are means that weigh an event half as much each `half_life` that it is older."""
    signals = [signal for moment in moments if (signal := _signal(moment, rules)) is not None]
    # The newest first; of several at one instant the worst counts.
    signals.sort(key=lambda signal: (-signal.because.at, signal.emotion))
    if not signals:
        return Experience(None, None, None, ())
    channels: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals:
        channels[signal.because.channel].append(signal)
    outcome = signals[0].outcome
    touchpoints = tuple(
        Touchpoint(channel, found[0].outcome, _emotion(found, rules.half_life), tuple(found[:CITED]))
        for channel, found in sorted(channels.items())
    )
    emotion = _emotion(signals, rules.half_life)
    return Experience(outcome, emotion, rules.follow_up.get(outcome), touchpoints)


def _signal(moment: Moment, rules: TwinRules) -> Signal | None:
    for rule in rules.experienced.get(moment.event, ()):
        if rule.when.holds(moment.properties):
            return Signal(rule.outcome, rule.emotion, cited(moment))
    return None


def _emotion(signals: Sequence[Signal], half_life: int) -> float:
    """Weights are relative to the newest, so that those of years ago do not vanish to 0 over 0."""
    newest = signals[0].because.at
    weights = [0.5 ** ((newest - signal.because.at) / half_life) for signal in signals]
    return sum(w * signal.emotion for w, signal in zip(weights, signals, strict=True)) / sum(weights)
