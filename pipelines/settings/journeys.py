"""What `configs/journeys.yaml` may say: the stages that a customer can be in."""

from __future__ import annotations

from pydantic import Field

from pipelines.settings.actions import ExpressionText, Id, Version, WrittenModel


class StageConfig(WrittenModel):
    """A customer is in the first stage whose rule holds."""

    name: Id
    when: ExpressionText


class JourneysFile(WrittenModel):
    """All of `configs/journeys.yaml`."""

    version: Version
    stages: tuple[StageConfig, ...] = Field(min_length=1)
