"""What `configs/journeys.yaml` may say: stages, relationship, and what is kept and read of a customer's history."""

from __future__ import annotations

from pydantic import Field

from pipelines.settings.actions import Count, ExpressionText, Id, Version, Word, WrittenModel
from pipelines.twin.rules import Relationship


class StageConfig(WrittenModel):
    """A customer is in the first stage whose rule holds. `evidence` are the features whose events are cited."""

    name: Id
    when: ExpressionText
    description: str = ""
    evidence: tuple[Word, ...] = ()


class RelationshipConfig(StageConfig):
    """The same of the relationship, which has names of its own."""

    name: Relationship


class HistoryConfig(WrittenModel):
    """How much is kept of a customer beside the features."""

    newest_of_each_event: Count = 50


class ContactConfig(WrittenModel):
    """An event that is a contact where `when` holds; `action` and `channel` are properties of it that say so."""

    event: Word
    when: ExpressionText = "true"
    action: Word | None = None
    channel: Word | None = None


class JourneysFile(WrittenModel):
    """All of `configs/journeys.yaml`."""

    version: Version
    stages: tuple[StageConfig, ...] = Field(min_length=1)
    relationship: tuple[RelationshipConfig, ...] = ()
    history: HistoryConfig = HistoryConfig()
    traits_from: tuple[Word, ...] = ()
    contacts: tuple[ContactConfig, ...] = ()

    @property
    def deciding(self) -> JourneysFile:
        """What a decision can depend on: the names and rules of the stages."""
        stages = tuple(StageConfig(name=stage.name, when=stage.when) for stage in self.stages)
        return JourneysFile(version=self.version, stages=stages)
