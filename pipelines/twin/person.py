"""What a customer said of themselves, where they were seen, and what was sent to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pipelines.events.moments import Moment, Scalar
from pipelines.privacy.sealing import is_sealed
from pipelines.twin.rules import ContactRule, TwinRules
from pipelines.twin.state import Contact, Profile


def profile_of(moments: Sequence[Moment], rules: TwinRules) -> Profile:
    """Of moments that ascend. Events that are contacts say nothing of where the customer was seen.

    A trait at one instant twice: that of the event which stands last by `evidence.order_of`.
    """
    traits: dict[str, Scalar] = {}
    for moment in moments:
        if moment.event in rules.traits_from:
            traits |= moment.properties
    own = [moment for moment in moments if moment.event not in rules.contacts]
    return Profile(
        traits=dict(sorted(traits.items())),
        sealed=tuple(sorted(name for name, value in traits.items() if is_sealed(value))),
        first_seen=own[0].event_time if own else None,
        last_seen=own[-1].event_time if own else None,
        channels=dict(sorted(Counter(moment.channel for moment in own).items())),
    )


def contacts_of(moments: Sequence[Moment], rules: TwinRules) -> tuple[Contact, ...]:
    """The newest first; `moments` ascend."""
    found = ((moment, _rule(moment, rules)) for moment in reversed(moments))
    return tuple(_contact(moment, rule) for moment, rule in found if rule is not None)


def _rule(moment: Moment, rules: TwinRules) -> ContactRule | None:
    of_event = rules.contacts.get(moment.event, ())
    return next((rule for rule in of_event if rule.when.holds(moment.properties)), None)


def _contact(moment: Moment, rule: ContactRule) -> Contact:
    action = _text(moment, rule.action)
    return Contact(
        moment.event_time, _text(moment, rule.channel) or moment.channel, moment.event, action, moment.event_id
    )


def _text(moment: Moment, name: str | None) -> str | None:
    found = moment.properties.get(name) if name else None
    return found if isinstance(found, str) else None
