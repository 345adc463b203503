"""What `personas.yaml`, `triggers.yaml`, `experience.yaml` and `views.yaml` may say; each is optional."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipelines.settings.actions import ExpressionText, Id, Period, Share, Version, Word, WrittenModel
from pipelines.settings.labels import Duration
from pipelines.twin.rules import Section
from pipelines.twin.state import Outcome

Emotion = Annotated[float, Field(ge=-1, le=1, strict=True)]


class PersonaConfig(WrittenModel):
    name: Id
    description: Word
    score: ExpressionText


class PersonasFile(WrittenModel):
    """Personas with a share of the scores below `at_least` are left out."""

    version: Version
    at_least: Share = 0.0
    personas: tuple[PersonaConfig, ...] = Field(min_length=1)


class TriggerConfig(WrittenModel):
    """What it means stands at `pipelines.twin.rules.Trigger`."""

    name: Id
    description: Word
    when: ExpressionText
    evidence: tuple[Word, ...] = ()
    after: Duration = "0d"
    again_after: Period
    predictions: tuple[Word, ...] = ()
    decide: bool = Field(default=False, strict=True)
    offer: tuple[Id, ...] = ()
    cancelled_by: tuple[Word, ...] = ()


class BarrierConfig(WrittenModel):
    name: Id
    description: Word
    signals: ExpressionText


class NoPurchaseConfig(WrittenModel):
    """Of whom it is asked why they bought nothing, and the reasons with the number of their signs."""

    when: ExpressionText
    reasons: tuple[BarrierConfig, ...] = Field(min_length=1)


class TriggersFile(WrittenModel):
    version: Version
    triggers: tuple[TriggerConfig, ...] = ()
    no_purchase: NoPurchaseConfig | None = None


class ExperiencedConfig(WrittenModel):
    """`when` reads properties of the event by their names."""

    event: Word
    when: ExpressionText = "true"
    outcome: Outcome
    emotion: Emotion


class ExperienceFile(WrittenModel):
    version: Version
    half_life: Period
    follow_up: dict[Outcome, Id] = Field(default_factory=dict)
    experienced: tuple[ExperiencedConfig, ...] = Field(min_length=1)


class ViewConfig(WrittenModel):
    name: Id
    description: Word
    sections: tuple[Section, ...] = Field(min_length=1)
    personal: bool = Field(default=False, strict=True)


class ViewsFile(WrittenModel):
    version: Version
    views: tuple[ViewConfig, ...] = Field(min_length=1)
