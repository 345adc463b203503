"""What a decision depends on, and what was decided. Both are values that go through JSON without losing a bit.

Instants are int64 microseconds UTC, money is in minor units; expected amounts are fractions of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from feature_repo.state.read import FeatureValue

# effect: what an action changes, predicted. propensity: the chance of the goal, where no effect is known yet.
Basis: TypeAlias = Literal["effect", "propensity", "none"]


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact that was decided on before."""

    action: str
    channel: str | None
    at: int


@dataclass(frozen=True, slots=True)
class Predicted:
    """Of one action, in units of the model's reward: what it changes, and what is expected under it.

    Where `basis` is `propensity` the effect is None.
    """

    effect: float | None
    response: float | None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that `decide` reads beside the catalogue.

    `features` are the catalogue's, as read. `consents` are the purposes that hold. `contacts` are those that may count
    for a cap. `predicted` is by action id, an action without it is not known to the model. `spent` is what was spent
    in the present period of the budget. `shadow_price` is what a unit of money must bring beyond itself. `offer` are
    the actions that were asked for, all of the catalogue where it is empty.
    """

    decision_id: str
    customer_id: str
    as_of: int
    basis: Basis
    features: Mapping[str, FeatureValue]
    consents: tuple[str, ...]
    contacts: tuple[Contact, ...]
    predicted: Mapping[str, Predicted]
    spent: int
    shadow_price: float
    offer: tuple[str, ...] = ()


# Why an action was not chosen.
Lost: TypeAlias = Literal[
    "not_offered", "not_valid_yet", "expired", "consent", "not_eligible", "cap", "quiet_hours", "budget",
    "unknown_to_model", "holdout", "not_worth_it", "less_value", "not_drawn", "chosen",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alternative:
    """One action of the catalogue, or no action: what it would bring, with which chance it was chosen, why it lost.

    `expected_value` is effect × value − cost with the levers, and `plain_value` without; minor units. `lost` is a code,
    `because` a sentence.
    """

    action: str
    lost: Lost
    because: str
    propensity: float
    effect: float | None = None
    response: float | None = None
    plain_value: float | None = None
    expected_value: float | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """A code and its sentence; `names` are the features, rules or consents it is about."""

    code: str
    sentence: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one customer. `propensity` is the exact chance of `action` in this situation.

    `alternatives` has every action of the catalogue and no action, the chosen one first. `seed` is what the draw came
    from, and the same situation gives the same draw. `send_at` is when to send, None where nothing is sent; `hour` and
    `hour_confidence` say of the hour that suits the customer, `hour_is_fallback` that it is the declared one;
    `best_channel` is the one they answer most often, whichever was chosen.
    """

    decision_id: str
    customer_id: str
    as_of: int
    action: str
    variant: str | None
    channel: str | None
    cost: int
    propensity: float
    expected_value: float
    basis: Basis
    holdout: bool
    explored: bool
    seed: str
    catalogue: str
    stage: str | None
    send_at: int | None
    hour: int | None
    hour_confidence: float | None
    hour_is_fallback: bool | None
    alternatives: tuple[Alternative, ...]
    reasons: tuple[Reason, ...]
    best_channel: str | None = None
    best_channel_confidence: float | None = None
    best_channel_is_fallback: bool | None = None
