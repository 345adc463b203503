"""What a model predicts: label rules over canonical events, as `configs/models/*.yaml` says them.

At an as-of instant t the outcome is looked for in `[t + gap, t + gap + horizon)`, and who is in the
population is known from what had arrived by t.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from feature_repo.configuration import ConfigModel
from feature_repo.windows import parse_window


def _duration(text: str) -> str:
    if text != "0d":
        parse_window(text)
    if text == "lifetime":
        raise ValueError("a duration such as 30d or 12h")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
Events = Annotated[tuple[str, ...], Field(min_length=1)]


def microseconds(duration: str) -> int:
    """Length of a duration such as `30d` in microseconds."""
    return 0 if duration == "0d" else (parse_window(duration).length or 0)


class ExclusionConfig(ConfigModel):
    """Who is left out: customers with one of `events` in `[t - within, t)`, or ever before t without `within`."""

    events: Events
    within: Duration | None = None


class OutcomeWindow(ConfigModel):
    """What every label has: where its outcome is looked for, and who is left out."""

    horizon: Duration
    gap: Duration = "0d"
    arrival_delay: Duration = Field(default="0d", description="how late an event may arrive; labels wait for it")
    exclude: ExclusionConfig | None = None

    @property
    def window(self) -> int:
        """From t until the label is known, in microseconds."""
        return microseconds(self.gap) + microseconds(self.horizon) + microseconds(self.arrival_delay)

    @model_validator(mode="after")
    def _has_a_horizon(self) -> OutcomeWindow:
        if microseconds(self.horizon) == 0:
            raise ValueError("a horizon longer than 0d")
        return self


class ActiveLabel(OutcomeWindow):
    """In the population: customers with a qualifying event in `[t - activity_window, t)`."""

    qualifying_events: Events
    activity_window: Duration

    @model_validator(mode="after")
    def _has_an_activity_window(self) -> ActiveLabel:
        if microseconds(self.activity_window) == 0:
            raise ValueError("an activity_window longer than 0d")
        return self

    @property
    def population_events(self) -> tuple[str, ...]:
        return self.qualifying_events

    @property
    def outcome_events(self) -> tuple[str, ...]:
        return self.qualifying_events

    @property
    def look_back(self) -> str:
        """How far before t an event decides who is in the population."""
        return self.activity_window


class ChurnLabel(ActiveLabel):
    """1 where no qualifying event lies in the window, else 0."""

    kind: Literal["churn"]


class ValueLabel(ActiveLabel):
    """The sum of the window's `value` over `add` less that over `subtract`, in minor units of money."""

    kind: Literal["value"]
    add: Events
    subtract: tuple[str, ...] = ()

    @property
    def outcome_events(self) -> tuple[str, ...]:
        return self.add + self.subtract


class NextEventLabel(ActiveLabel):
    """Microseconds from t + gap to the first qualifying event of the window, -1 where it holds none."""

    kind: Literal["next_event"]


class ConversionLabel(OutcomeWindow):
    """1 where a goal event lies in the window, else 0, of customers with an open opportunity.

    An opportunity is opened by each event of `opened_by`, and open at t if that event lies in
    `[t - open_for, t)` and none of `closed_by` or `goal_events` came after it and before t. With `match`, events
    belong to one opportunity only if they agree in that property, such as a campaign.
    """

    kind: Literal["conversion"]
    opened_by: Events
    open_for: Duration
    goal_events: Events
    closed_by: tuple[str, ...] = ()
    match: str | None = Field(default=None, description="a property that opening, closing and goal events share")

    @property
    def population_events(self) -> tuple[str, ...]:
        return self.opened_by

    @property
    def outcome_events(self) -> tuple[str, ...]:
        return self.goal_events

    @property
    def look_back(self) -> str:
        return self.open_for

    @model_validator(mode="after")
    def _is_open_for_a_while(self) -> ConversionLabel:
        if microseconds(self.open_for) == 0:
            raise ValueError("an open_for longer than 0d")
        return self


class AssignmentConfig(ConfigModel):
    """Events that say which action a customer got.

    `action` is the property that names it; `propensity` that with the chance of it, in units of 1 / `scale`, or None
    where nobody drew: what is learned from such events is associational. `eligible` is a list property with the
    actions that could have been chosen, else all could. `only` narrows the events to those with these values.
    """

    event: str
    action: str
    propensity: str | None = None
    scale: int = Field(default=1, ge=1)
    eligible: str | None = None
    only: dict[str, str | int | bool] = Field(default_factory=dict)


class RewardConfig(ConfigModel):
    """What an action is judged by, summed over the outcome window: how many `events` come, or their money.

    `any` is 1 where one comes at all. Money is in minor units; `subtract` lessens it.
    """

    events: Events
    of: Literal["any", "count", "value"] = "count"
    subtract: tuple[str, ...] = ()


class OthersConfig(ConfigModel):
    """Who counts as the control where nobody was drawn for it: customers with one of `events` in `[t - within, t)` who
    got no action in `[t - within, t + gap + horizon)`, looked at when others got theirs."""

    events: Events
    within: Duration


class ActionLabel(OutcomeWindow):
    """The reward after an action, of customers who got one or were drawn to get none.

    Rows are looked at at the instant of the assignment, before anything that it does: features are those of events
    before it. `actions` translates names of the log into those of `actions.yaml`; `control` is the name of none.
    """

    kind: Literal["action"]
    assigned_by: Annotated[tuple[AssignmentConfig, ...], Field(min_length=1)]
    actions: dict[str, str] = Field(default_factory=dict)
    control: str = "no_action"
    reward: RewardConfig
    others: OthersConfig | None = None

    @property
    def population_events(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(source.event for source in self.assigned_by))

    @property
    def outcome_events(self) -> tuple[str, ...]:
        return self.reward.events + self.reward.subtract

    @property
    def look_back(self) -> str:
        """Nothing before the assignment decides who is in the population, but for `others`."""
        return self.others.within if self.others else "0d"

    @property
    def randomised(self) -> bool:
        """Whether every assignment was drawn with a chance that is known."""
        return all(source.propensity is not None for source in self.assigned_by) and self.others is None


ClassLabel = Annotated[ChurnLabel | ConversionLabel, Field(discriminator="kind")]
AmountLabel = Annotated[ValueLabel | NextEventLabel, Field(discriminator="kind")]
Label = Annotated[ChurnLabel | ConversionLabel | ValueLabel | NextEventLabel | ActionLabel, Field(discriminator="kind")]
