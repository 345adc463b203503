"""What can be offered, compiled: what decisions read. `pipelines/settings/actions.py` is what a person writes.

Instants are int64 microseconds UTC, money is in minor units of `Catalogue.currency`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipelines.expressions import Expression

NO_ACTION = "no_action"


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `contacts` contacts in `[t - within, t]` over `action`, `channel`, or all where both are None."""

    contacts: int
    within: int
    action: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Minutes of the customer's day, 0 to 1439, `[begins, ends)`; over midnight where it ends before it begins."""

    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in each period of `per` microseconds since 1970 UTC."""

    amount: int
    per: int


@dataclass(frozen=True, slots=True)
class Variant:
    """One message strategy of an action. The first whose `when` holds is taken; the last has none.

    `texts` and `templates` are by language.
    """

    id: str
    when: Expression | None
    because: str
    texts: Mapping[str, str]
    templates: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Action:
    """`cost` is what one contact costs; `value` is worth one unit of the model's reward, an expression in minor units.

    `priority` multiplies the expected value and `boost` is added to it: a person's levers, which are told as such.
    `channel` is None where nobody is contacted, as for a task of an employee; it has no quiet hours then, but caps of
    its own may count it. `quiet_hours` are the action's own, else its channel's, else the catalogue's.
    """

    id: str
    description: str
    channel: str | None
    cost: int
    value: Expression
    eligible: Expression | None
    purpose: str | None
    starts: int | None
    ends: int | None
    quiet_hours: QuietHours | None
    priority: float
    boost: int
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class SendTime:
    """Features with the number of contacts answered in each local hour, 24 a channel, and the hour without any.

    The hours are those of a calendar `utc_offset` microseconds east of UTC, as the features' are; `fallback_hour` is
    the customer's own.
    """

    counts: Mapping[str, tuple[str, ...]]
    fallback_hour: int
    at_least: int
    utc_offset: int = 0


@dataclass(frozen=True, slots=True)
class ChannelAnswers:
    """By channel the features with the contacts that were answered and those delivered, and the channel without any."""

    counts: Mapping[str, tuple[str, str]]
    fallback: str
    at_least: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All of `configs/actions.yaml` and the stages of `journeys.yaml`. `hash` is over all that decides.

    `features` are all features that any expression reads. `rules` and `stages` are named expressions, none of which
    refers to itself; `stages` are in order, the first that holds is the customer's. `traits` are names for features.

    Names that an expression reads are features, `consent.<purpose>` (True or False, never empty) and `stage` (text);
    rules and traits that it uses are written out. `content` is what the catalogue was compiled from, as JSON.
    """

    hash: str
    currency: str
    model: str
    fallback_model: str | None
    actions: tuple[Action, ...]
    caps: tuple[Cap, ...]
    rules: Mapping[str, Expression]
    stages: Mapping[str, Expression]
    traits: Mapping[str, str]
    time_zone: str
    time_zone_feature: str | None
    holdout_share: float
    holdout_salt: str
    exploration_share: float
    cold_start_exploration_share: float
    budget: Budget | None
    shadow_price: float
    send_time: SendTime | None
    best_channel: ChannelAnswers | None
    features: tuple[str, ...]
    content: str = field(default="", repr=False, compare=False)

    def action(self, name: str) -> Action:
        """Raises KeyError where there is none."""
        return {action.id: action for action in self.actions}[name]
