"""What `configs/actions.yaml` may say: what can be offered, to whom, at which cost, and how often."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, field_validator

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


def _version(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value


def _none(value: Any) -> Any:
    return None if value == "none" else value


def _written_none(value: str | None) -> str:
    return "none" if value is None else value


def _day(value: Any) -> datetime.date:
    """YAML makes a date of a day that is not quoted."""
    try:
        day = datetime.date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        day = None
    if type(day) is not datetime.date or not 1970 <= day.year < 2200:
        raise ValueError("a day such as 2026-12-31, from 1970 to 2199")
    return day


def _no_quiet_hours(value: Any) -> Any:
    return {"from": "00:00", "to": "00:00"} if value == "none" else value


Id = Annotated[str, Field(pattern=_ID, strict=True)]
Word = Annotated[str, Field(min_length=1, strict=True)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")]
Version = Annotated[Literal[1], BeforeValidator(_version)]
ExpressionText = Annotated[str, BeforeValidator(_written)]
MinuteOfDay = Annotated[int, BeforeValidator(_minutes)]
Day = Annotated[datetime.date, BeforeValidator(_day)]
Period = Annotated[Duration, AfterValidator(_long)]
Money = Annotated[float, Field(ge=0, le=1e12, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
# Must be said, if only as `none`: what is forgotten would be sent at night, or without being allowed.
OrNone = Annotated[
    Annotated[str, Field(min_length=1)] | None, BeforeValidator(_none), PlainSerializer(_written_none, return_type=str)
]


class WrittenModel(ConfigModel):
    """A key that is left empty is a mistake: nobody is to be eligible, or a budget endless, by an unfinished line."""

    @field_validator("*", mode="before")
    @classmethod
    def _is_said(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("a value; leave the key out where there is none")
        return value


class QuietHoursConfig(WrittenModel):
    """When nobody is contacted, in the customer's time zone, `[from, to)`; `none` is from 00:00 to 00:00."""

    begins: MinuteOfDay = Field(alias="from")
    ends: MinuteOfDay = Field(alias="to")


QuietHoursOrNone = Annotated[QuietHoursConfig, BeforeValidator(_no_quiet_hours)]


class ActionCapConfig(WrittenModel):
    """At most `contacts` in the last `within`."""

    contacts: Count
    within: Period


class CapConfig(ActionCapConfig):
    """Of one channel, else of all actions."""

    channel: Word | None = None


class ValidConfig(WrittenModel):
    """Days in the catalogue's time zone, both of them included."""

    from_: Day | None = Field(default=None, alias="from")
    until: Day | None = None


class VariantConfig(WrittenModel):
    """One message strategy: texts, or keys of templates, by language."""

    id: Id
    when: ExpressionText | None = None
    because: str = ""
    text: dict[Language, Word] = Field(default_factory=dict)
    template: dict[Language, Word] = Field(default_factory=dict)


class ActionConfig(WrittenModel):
    """One thing that can be offered.

    `value` is what a unit of the model's reward is worth: in major units of money where it reads no name, as a cost
    is, and else in minor units, as features are.
    """

    id: Id
    description: Word
    channel: OrNone
    cost: Money
    value: ExpressionText
    eligible: ExpressionText | None = None
    consent: OrNone
    valid: ValidConfig = ValidConfig()
    expired: Literal["refuse", "keep"] = "refuse"
    caps: tuple[ActionCapConfig, ...] = ()
    quiet_hours: QuietHoursOrNone | None = None
    priority: float = Field(default=1.0, ge=0, le=1000, strict=True)
    boost: float = Field(default=0.0, ge=-1e12, le=1e12, strict=True)
    variants: tuple[VariantConfig, ...] = ()


class ChannelConfig(WrittenModel):
    """What holds for all actions of a channel."""

    quiet_hours: QuietHoursOrNone


class HoldoutConfig(WrittenModel):
    """Customers who are never acted on, drawn by a hash of the salt and the customer."""

    share: Share
    salt: Word


class ExplorationConfig(WrittenModel):
    """Share of decisions that are drawn among all that may be done, also as long as no effect is known."""

    share: Share
    cold_start_share: Share = 1.0


class BudgetConfig(WrittenModel):
    """Major units of money, in each `per` since 1970 UTC."""

    amount: Money
    per: Period


class SendTimeConfig(WrittenModel):
    """Features with the contacts answered in each hour, by channel; `{hour}` stands for 0 to 23."""

    channels: dict[str, Annotated[str, Field(pattern=r"^[^{}]*\{hour\}[^{}]*$")]] = Field(min_length=1)
    fallback_hour: int = Field(ge=0, le=23, strict=True)
    at_least: Count


class AnsweredConfig(WrittenModel):
    """Features of how many contacts of a channel were answered, and of how many were delivered."""

    answered: Word
    delivered: Word


class BestChannelConfig(WrittenModel):
    """Which channel a customer answers; `fallback` where fewer than `at_least` contacts were delivered."""

    channels: dict[str, AnsweredConfig] = Field(min_length=2)
    fallback: Word
    at_least: Count


class ActionsFile(WrittenModel):
    """All of `configs/actions.yaml`."""

    version: Version
    currency: Word
    model: Word
    fallback_model: Word | None = None
    time_zone: Word
    time_zone_trait: Word | None = None
    traits: dict[Id, Word] = Field(default_factory=dict)
    rules: dict[Id, ExpressionText] = Field(default_factory=dict)
    holdout: HoldoutConfig
    exploration: ExplorationConfig
    budget: BudgetConfig | None = None
    shadow_price: float = Field(default=0.0, ge=0, le=1e6, strict=True)
    caps: tuple[CapConfig, ...] = ()
    quiet_hours: QuietHoursOrNone | None = None
    channels: dict[str, ChannelConfig] = Field(default_factory=dict)
    send_time: SendTimeConfig | None = None
    best_channel: BestChannelConfig | None = None
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
