"""What a model predicts, in words for a reviewer: from its label, whatever kind it is of."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.settings.labels import (
    ActionLabel,
    ActiveLabel,
    AssignmentConfig,
    ConversionLabel,
    Label,
    NextEventLabel,
    ValueLabel,
)

_UNITS = {"m": "minute", "h": "hour", "d": "day"}


def duration(label: str) -> str:
    """`90d` as `90 days`."""
    number, unit = label[:-1], _UNITS[label[-1]]
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def label_definition(label: Label, at: str = "calendar") -> str:
    """Who is in the dataset, and what is predicted of them; `at` as in `snapshots.at`."""
    parts = [population(label, at), excluded(label), outcome(label)]
    if label.kind in ("churn", "conversion"):
        parts.append("The model gives the probability of label 1.")
    if isinstance(label, ActionLabel):
        parts.append(drawn(label))
    parts.append("It reads only what had arrived by the as-of instant.")
    return " ".join(part for part in parts if part)


def population(label: Label, at: str = "calendar") -> str:
    """Whom the model predicts for, and when."""
    if isinstance(label, ActionLabel):
        return _assigned(label)
    events, window = _any(label.population_events), duration(label.look_back)
    if not isinstance(label, ConversionLabel):
        return (
            f"At an as-of instant, everyone with at least one event {events} in the {window} before it is a customer "
            f"to predict for."
        )
    closing = _any((*label.closed_by, *label.goal_events))
    if at == "opening":
        told = (
            f"The as-of instant is right after an event {events}, as soon as it is known, at most {window} later; "
            f"everyone with one is a customer to predict for, unless {closing} came in between."
        )
    else:
        told = (
            f"At an as-of instant, everyone with an open opportunity is a customer to predict for: an event {events} "
            f"in the {window} before it, and no {closing} since."
        )
    if label.match is None:
        return told
    return f"{told} Only events that agree in {label.match} are of one opportunity, and those without it are of none."


def excluded(label: Label) -> str:
    """Who is left out on purpose; empty where nobody is."""
    if label.exclude is None:
        return ""
    within = "" if label.exclude.within is None else f" in the {duration(label.exclude.within)}"
    return f"Left out is who had an event {_any(label.exclude.events)}{within} before it."


def outcome(label: Label) -> str:
    """What is looked for after the as-of instant, and what the label then is."""
    after = f"the {duration(label.horizon)} after it"
    if label.gap != "0d":
        after = f"the {duration(label.horizon)} that begin {duration(label.gap)} after it"
    if isinstance(label, ActionLabel):
        return _reward(label, after)
    if isinstance(label, ValueLabel):
        less = f" less that of {_all(label.subtract)}" if label.subtract else ""
        amount = f"The label is the value of {_all(label.add)}{less} in {after}"
        return f"{amount}, in minor units of money, 0 where there is none."
    if isinstance(label, NextEventLabel):
        begin = "it" if label.gap == "0d" else f"{duration(label.gap)} after it"
        return f"The label is the time from {begin} to the first such event in {after}, and -1 where there is none."
    if isinstance(label, ConversionLabel):
        same = "" if label.match is None else f" of the same {label.match}"
        goal = _any(label.goal_events)
        return f"The label is 1 (converted) if {after} hold an event {goal}{same}, and 0 if they hold none."
    return f"The label is 1 (churned) if {after} hold no such event, and 0 if they hold one."


def waits(label: Label) -> str:
    """What has to pass before a label is known: `90 days + 2 days`, of gap, horizon and delay."""
    return " + ".join(duration(span) for span in (label.gap, label.horizon, label.arrival_delay) if span != "0d")


def left_out(label: Label, train_days: Sequence[str], test_day: str) -> str:
    """What a reviewer would else miss: events without a customer, and the days between train and test."""
    if isinstance(label, ActionLabel):
        return (
            f"Left out are events without a known customer, and all as-of days between {max(train_days)} and "
            f"{test_day}: what decides their label ({waits(label)}) reaches past {test_day}, where the test begins."
        )
    who = "without such an event" if isinstance(label, ActiveLabel) else "without an opportunity opened"
    return (
        f"Left out are events without a known customer, customers {who} in the "
        f"{duration(label.look_back)} before, and all as-of days between {max(train_days)} and {test_day}: "
        f"what decides their label ({waits(label)}) reaches past {test_day}, where the test begins."
    )


def drawn(label: ActionLabel) -> str:
    """Whether what is learned is an effect, or only goes together."""
    if label.randomised:
        return "Every action was drawn with a chance that is known, so that differences are effects."
    return "Not every action was drawn with a known chance: differences are associational, and may have other causes."


def _assigned(label: ActionLabel) -> str:
    events = " or ".join(_assignment(source) for source in label.assigned_by)
    told = f"Everyone who was assigned an action is looked at when it was, just before anything it does: by {events}."
    if label.others is None:
        return f"{told} The control are those who were assigned {label.control}."
    within, bought = duration(label.others.within), _any(label.others.events)
    return (
        f"{told} The control ({label.control}) are customers with an event {bought} in the {within} before, who got no "
        f"action from {within} before until the outcome's time is over, each at most once a span, at an instant of "
        f"others."
    )


def _assignment(source: AssignmentConfig) -> str:
    only = " and ".join(f"{name} {_said(value)}" for name, value in source.only.items())
    chance = f", chances in {source.propensity}" if source.propensity else ""
    return f"“{source.event}” ({source.action}{chance}{', only ' + only if only else ''})"


def _said(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _reward(label: ActionLabel, after: str) -> str:
    reward = label.reward
    if reward.of == "value":
        less = f" less that of {_all(reward.subtract)}" if reward.subtract else ""
        amount = f"The reward is the value of {_all(reward.events)}{less} in {after}"
        return f"{amount}, in minor units of money, 0 where there is none."
    if reward.of == "any":
        return f"The reward is 1 if {after} hold an event {_any(reward.events)}, and 0 if they hold none."
    return f"The reward is how many events {_any(reward.events)} lie in {after}."


def _any(events: Sequence[str]) -> str:
    return " or ".join(f"“{name}”" for name in events)


def _all(events: Sequence[str]) -> str:
    return " and ".join(f"“{name}”" for name in events)
