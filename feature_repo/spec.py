"""The compiled feature spec: typed features with generated names, grouped for Feast.

What a person writes stands in `spec_file`. The hash covers all that decides a value, and nothing else:
a model carries it, and is served only with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from feature_repo.windows import Window

Operation = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "distinct",
    "last",
    "days_since_last",
    "days_since_first",
    "mean_days_between",
    "ratio",
]
FRACTIONS = ("mean", "ratio", "days_since_last", "days_since_first", "mean_days_between")

# Columns of the event table that a feature may read; everything else is a path into `properties`.
COLUMN_MEASURES = {"value": "integer", "channel": "text"}


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """What an operation reads of an event: a column, or a path into its properties.

    `kind` is `integer` (int64; anything else counts as empty) or `text`. A path `properties.a[].b`
    reads `b` of every object in the list `a`.
    """

    path: str
    kind: str

    @property
    def slug(self) -> str:
        return self.path.removeprefix("properties.").replace("[].", "_")


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """The events a feature reads: one canonical event, of one channel or (empty) of all."""

    event: str
    channel: str = ""

    def holds(self, event: str, channel: str) -> bool:
        return event == self.event and self.channel in ("", channel)


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per (customer, as-of instant). A ratio has two operands and no stream."""

    name: str
    view: str
    operation: Operation
    window: Window
    stream: Stream | None
    measure: Measure | None = None
    numerator: str | None = None
    denominator: str | None = None
    nouns: tuple[str, str] | None = None

    @property
    def is_integer(self) -> bool:
        """int64 if true, float64 if not."""
        return self.operation not in FRACTIONS

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the two features a ratio is made of; none for any other."""
        return (self.numerator, self.denominator) if self.numerator and self.denominator else ()


@dataclass(frozen=True, slots=True)
class View:
    """A Feast feature view: features with one owner, in the order of the file."""

    name: str
    description: str
    owner: str
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A Feast feature service: the features one model reads, in the order of the views."""

    name: str
    description: str
    features: tuple[Feature, ...]


@dataclass(frozen=True)
class FeatureSpec:
    """The compiled spec: views, the feature service of each model, and the cap of distinct counts."""

    views: tuple[View, ...]
    services: dict[str, Service]
    distinct_cap: int
    by_name: dict[str, Feature] = field(repr=False)

    @cached_property
    def hash(self) -> str:
        """SHA-256 (16 hex digits) over everything that decides a value."""
        content = {
            "distinct_cap": self.distinct_cap,
            "features": sorted(_identity(feature) for feature in self.by_name.values()),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def service_features(self, service: str) -> tuple[str, ...]:
        """Names of a service's features, in the order of its views. Raises KeyError if unknown."""
        return tuple(feature.name for feature in self.services[service].features)

    def closure(self, names: Iterable[str]) -> tuple[Feature, ...]:
        """The aggregates (no ratios) needed to compute `names`, each once, in the order met."""
        needed: dict[str, Feature] = {}
        for name in names:
            feature = self.by_name[name]
            for part in feature.operands or (name,):
                needed.setdefault(part, self.by_name[part])
        return tuple(needed.values())


def _identity(feature: Feature) -> str:
    stream = [feature.stream.event, feature.stream.channel] if feature.stream else None
    measure = [feature.measure.path, feature.measure.kind] if feature.measure else None
    parts = [feature.name, feature.operation, feature.window.label, stream, measure, list(feature.operands)]
    return json.dumps(parts)
