"""What `configs/consent.yaml` may say, and what a source says of its own history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel

LegalBasis = Literal[
    "consent", "contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests", "research"
]


class CollectedUnder(ConfigModel):
    """The purposes that a source's events were collected for, and the legal basis of that."""

    purposes: tuple[str, ...] = Field(min_length=1)
    legal_basis: LegalBasis
    note: str = ""


class Uses(ConfigModel):
    """Which purpose lets events into features, customers into predictions, and histories into training."""

    features: str
    predictions: str
    training: str


class ConsentConfig(ConfigModel):
    """All of `configs/consent.yaml`."""

    purposes: dict[str, str] = Field(min_length=1)
    uses: Uses
    categories: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_known_purposes(self) -> ConsentConfig:
        unknown = sorted({purpose for purpose in self._named() if purpose not in self.purposes})
        if unknown:
            raise ValueError(f"purposes of this file ({', '.join(self.purposes)}); here: {', '.join(unknown)}")
        return self

    def _named(self) -> Iterator[str]:
        yield from self.uses.model_dump().values()
        for purposes in self.categories.values():
            yield from purposes
