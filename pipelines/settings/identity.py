"""What `configs/identity.yaml` may say: kinds of identifiers, and when two of them are of one customer."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from pydantic import Field, model_validator

from feature_repo.configuration import ConfigModel

Normaliser = Literal["text", "lower", "digits", "email", "phone"]

USER_ID = "user_id"
ANONYMOUS_ID = "anonymous_id"


class IdentifierKind(ConfigModel):
    """One kind of identifier; the file explains each key."""

    normalise: Normaliser = "text"
    region: str = Field(default="TH", pattern=r"^[A-Z]{2}$", description="of phone numbers without a country code")
    shared_beyond: int = Field(default=3, ge=1)
    most_per_customer: int = Field(default=5, ge=1)
    anonymous: bool = False
    personal: bool = False
    traits: tuple[str, ...] = ()


class MatchingConfig(ConfigModel):
    """Probabilities from which two customers are linked, and from which somebody reviews them."""

    link: float = Field(gt=0.5, lt=1)
    review: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _is_ordered(self) -> MatchingConfig:
        if self.review >= self.link:
            raise ValueError("review below link")
        return self


class IdentityConfig(ConfigModel):
    """All of `configs/identity.yaml`. The order of `kinds` is their strength, the strongest first."""

    kinds: dict[str, IdentifierKind] = Field(min_length=1)
    blocked: tuple[str, ...] = ()
    personal_properties: tuple[str, ...] = ()
    impersonal: tuple[str, ...] = Field(default=(), description="<object or event>.<property>, named like a person's")
    matching: MatchingConfig

    @model_validator(mode="after")
    def _has_the_columns(self) -> IdentityConfig:
        if next(iter(self.kinds)) != USER_ID or ANONYMOUS_ID not in self.kinds:
            raise ValueError(f"kinds that begin with {USER_ID} and have {ANONYMOUS_ID}")
        if self.kinds[USER_ID].anonymous or self.kinds[USER_ID].personal:
            raise ValueError(f"{USER_ID} neither anonymous nor personal: it is what applications ask with")
        return self

    def rank(self, kind: str) -> int:
        """0 for the strongest kind. Raises KeyError."""
        return self._ranks[kind]

    @cached_property
    def personal_kinds(self) -> frozenset[str]:
        """Kinds of identifiers that name a person."""
        return frozenset(name for name, kind in self.kinds.items() if kind.personal)

    def is_personal(self, parent: str, name: str) -> bool:
        """Whether property `name` of object `parent`, or of the event so called, names a person."""
        return name in self.personal_names and f"{parent}.{name}" not in self._exceptions

    @cached_property
    def personal_names(self) -> frozenset[str]:
        """Names of properties and traits that name a person."""
        traits = (name for kind in self.kinds.values() if kind.personal for name in kind.traits)
        return frozenset((*self.personal_properties, *self.personal_kinds, *traits))

    @cached_property
    def _exceptions(self) -> frozenset[str]:
        return frozenset(self.impersonal)

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {name: rank for rank, name in enumerate(self.kinds)}
