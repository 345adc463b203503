"""What `configs/journeys.yaml` may say: the stages that a customer can be in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_repo.configuration import ConfigModel
from pipelines.settings.actions import ExpressionText, Id


class StageConfig(ConfigModel):
    """A customer is in the first stage whose rule holds."""

    name: Id
    when: ExpressionText


class JourneysFile(ConfigModel):
    """All of `configs/journeys.yaml`."""

    version: Literal[1]
    stages: tuple[StageConfig, ...] = Field(min_length=1)
