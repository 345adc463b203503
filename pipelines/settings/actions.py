"""What `configs/actions.yaml` may say: what can be offered, to whom, at which cost, and how often."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from feature_repo.configuration import ConfigModel
from pipelines.settings.labels import Duration, microseconds

_ID = r"^[a-z][a-z0-9_]{0,60}$"
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _written(value: Any) -> Any:
    """YAML makes `true` and `30` of an expression that is a constant."""
    return str(value) if isinstance(value, bool | int | float) else value


def _minutes(value: Any) -> int:
    """YAML itself reads an unquoted 21:00 as 60 times 21."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return value
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a time of day in quotation marks, such as "21:00"')
    return 60 * int(found[1]) + int(found[2])


def _long(duration: str) -> str:
    if microseconds(duration) == 0:
        raise ValueError("a duration longer than 0d")
    return duration


def _none(value: Any) -> Any:
    return None if value == "none" else value


def _no_quiet_hours(value: Any) -> Any:
    return {"from": "00:00", "to": "00:00"} if value == "none" else value


Id = Annotated[str, Field(pattern=_ID)]
ExpressionText = Annotated[str, BeforeValidator(_written)]
MinuteOfDay = Annotated[int, BeforeValidator(_minutes)]
Period = Annotated[Duration, AfterValidator(_long)]
Money = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
# Must be said, if only as `none`: what is forgotten would be sent at night, or without being allowed.
OrNone = Annotated[str | None, BeforeValidator(_none)]


class QuietHoursConfig(ConfigModel):
    """When nobody is contacted, in the customer's time zone, `[from, to)`; `none` is from 00:00 to 00:00."""

    begins: MinuteOfDay = Field(alias="from")
    ends: MinuteOfDay = Field(alias="to")


QuietHoursOrNone = Annotated[QuietHoursConfig, BeforeValidator(_no_quiet_hours)]


class ActionCapConfig(ConfigModel):
    """At most `contacts` in the last `within`."""

    contacts: int = Field(ge=1)
    within: Period


class CapConfig(ActionCapConfig):
    """Of one channel, else of all actions."""

    channel: str | None = None


class ValidConfig(ConfigModel):
    """Days in the catalogue's time zone, both of them included."""

    from_: datetime.date | None = Field(default=None, alias="from")
    until: datetime.date | None = None


class VariantConfig(ConfigModel):
    """One message strategy: texts, or keys of templates, by language."""

    id: Id
    when: ExpressionText | None = None
    because: str = ""
    text: dict[str, str] = Field(default_factory=dict)
    template: dict[str, str] = Field(default_factory=dict)


class ActionConfig(ConfigModel):
    """One thing that can be offered.

    `value` is what a unit of the model's reward is worth: in major units of money where it reads no name, as a cost
    is, and else in minor units, as features are.
    """

    id: Id
    description: str = Field(min_length=1)
    channel: OrNone
    cost: Money
    value: ExpressionText
    eligible: ExpressionText | None = None
    consent: OrNone
    valid: ValidConfig = ValidConfig()
    expired: Literal["refuse", "keep"] = "refuse"
    caps: tuple[ActionCapConfig, ...] = ()
    quiet_hours: QuietHoursOrNone | None = None
    priority: float = Field(default=1.0, ge=0, le=1000)
    boost: float = Field(default=0.0, ge=-1e12, le=1e12)
    variants: tuple[VariantConfig, ...] = ()


class ChannelConfig(ConfigModel):
    """What holds for all actions of a channel."""

    quiet_hours: QuietHoursOrNone


class HoldoutConfig(ConfigModel):
    """Customers who are never acted on, drawn by a hash of the salt and the customer."""

    share: Share
    salt: str = Field(min_length=1)


class ExplorationConfig(ConfigModel):
    """Share of decisions that are drawn among all that may be done, also as long as no effect is known."""

    share: Share
    cold_start_share: Share = 1.0


class BudgetConfig(ConfigModel):
    """Major units of money, in each `per` since 1970 UTC."""

    amount: Money
    per: Period


class SendTimeConfig(ConfigModel):
    """Features with the contacts answered in each hour, by channel; `{hour}` stands for 0 to 23."""

    channels: dict[str, Annotated[str, Field(pattern=r"^[^{}]*\{hour\}[^{}]*$")]] = Field(min_length=1)
    fallback_hour: int = Field(ge=0, le=23)
    at_least: int = Field(ge=1)


class ActionsFile(ConfigModel):
    """All of `configs/actions.yaml`."""

    version: Literal[1]
    currency: str
    model: str
    fallback_model: str | None = None
    time_zone: str
    time_zone_trait: str | None = None
    traits: dict[Id, str] = Field(default_factory=dict)
    rules: dict[Id, ExpressionText] = Field(default_factory=dict)
    holdout: HoldoutConfig
    exploration: ExplorationConfig
    budget: BudgetConfig | None = None
    shadow_price: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    caps: tuple[CapConfig, ...] = ()
    quiet_hours: QuietHoursOrNone | None = None
    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    send_time: SendTimeConfig | None = None
    actions: tuple[ActionConfig, ...] = Field(min_length=1)

    def expressions(self) -> Iterator[tuple[str, str, Literal["boolean", "number"]]]:
        """Field, text and kind of every expression but those of rules."""
        for action in self.actions:
            yield f"actions.{action.id}.value", action.value, "number"
            if action.eligible is not None:
                yield f"actions.{action.id}.eligible", action.eligible, "boolean"
            for variant in action.variants:
                if variant.when is not None:
                    yield f"actions.{action.id}.variants.{variant.id}.when", variant.when, "boolean"
