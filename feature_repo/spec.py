"""The compiled feature spec: typed features with generated names, grouped for Feast.

What a person writes stands in `spec_file`. The hash covers all that decides a value, and nothing else:
a model carries it, and is served only with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

from feature_repo.windows import Window

Operation = Literal[
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "variance",
    "first",
    "last",
    "distinct",
    "top",
    "latest",
    "days_since_first",
    "days_since_last",
    "mean_days_between",
    "deviation_days_between",
    "active_days",
    "streak",
    "longest_streak",
    "ratio",
    "trend",
]
Test = Literal["is", "is_not", "at_least", "at_most", "above", "below", "exists", "missing"]

FRACTIONS = (
    "mean",
    "variance",
    "ratio",
    "trend",
    "days_since_last",
    "days_since_first",
    "mean_days_between",
    "deviation_days_between",
)
# Of no events these are 0, and every other operation is empty.
ZERO_WHERE_NOTHING = ("count", "distinct", "active_days", "streak", "longest_streak")
# Of consecutive days of the customer base's calendar, those with an event.
DAY_OPERATIONS = ("active_days", "streak", "longest_streak", "deviation_days_between")

# Columns of the event table that a feature may read; everything else is a path into `properties`.
# `hour` (0 to 23) and `weekday` (1 is Monday) are those of the event's time at the spec's offset from UTC.
COLUMN_MEASURES = {"value": "integer", "channel": "text", "hour": "integer", "weekday": "integer"}


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """What an operation reads of an event: a column, or a path into its properties.

    `kind` is `integer` (anything but a whole number of at most `extract.LARGEST` counts as empty) or
    `text`. A path `properties.a[].b` reads `b` of every object in the list `a`.
    """

    path: str
    kind: str

    @property
    def slug(self) -> str:
        return self.path.removeprefix("properties.").replace("[].", "_")


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """A test of one column or property of an event; `extract` says when it holds.

    `is` and `is_not` compare with all of `texts`, `integers` and `booleans`; the other tests of
    quantity with the one integer; `exists` and `missing` with nothing.
    """

    path: str
    test: Test
    texts: tuple[str, ...] = ()
    integers: tuple[int, ...] = ()
    booleans: tuple[bool, ...] = ()

    @property
    def values(self) -> tuple[str | int | bool, ...]:
        return (*self.texts, *self.integers, *self.booleans)


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """The events a feature reads: those of one canonical event that meet all conditions."""

    event: str
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """One value per (customer, as-of instant).

    A ratio and a trend have two operands and no stream: `numerator` times `scale[0]`, divided by
    `denominator` times `scale[1]`.
    """

    name: str
    view: str
    operation: Operation
    window: Window
    stream: Stream | None
    measure: Measure | None = None
    numerator: str | None = None
    denominator: str | None = None
    scale: tuple[int, int] = (1, 1)
    nouns: tuple[str, str] | None = None

    @property
    def kind(self) -> Literal["integer", "float", "text"]:
        """Type of the value: int64, float64 or text."""
        if self.operation in FRACTIONS:
            return "float"
        return (
            "text"
            if self.operation in ("top", "latest") and self.measure and self.measure.kind == "text"
            else "integer"
        )

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the two features a ratio or trend is made of; none for any other."""
        return (self.numerator, self.denominator) if self.numerator and self.denominator else ()


@dataclass(frozen=True, slots=True)
class RequestFeature:
    """One value per call, made of an input of the call, or of its as-of instant (`hour`, `weekday`).

    `value` is the input, `is` 1 where it equals `equals` and else 0, `ratio` the input divided by the
    customer's feature `denominator`. Without the input it is empty.
    """

    name: str
    view: str
    operation: Literal["value", "is", "ratio", "hour", "weekday"]
    input: str = ""
    equals: str | int | None = None
    denominator: str | None = None

    @property
    def kind(self) -> Literal["integer", "float"]:
        """Type of the value: int64 or float64."""
        return "float" if self.operation == "ratio" else "integer"


@dataclass(frozen=True, slots=True)
class RequestView:
    """A Feast on-demand view: features of what a call brings along. `inputs` map a name to `integer` or `text`."""

    name: str
    description: str
    owner: str
    inputs: dict[str, Literal["integer", "text"]]
    features: tuple[RequestFeature, ...]

    @property
    def denominators(self) -> tuple[str, ...]:
        """The customer's features that are needed."""
        return tuple(dict.fromkeys(f.denominator for f in self.features if f.denominator))


@dataclass(frozen=True, slots=True)
class View:
    """A Feast feature view: features with one owner, in the order of the file."""

    name: str
    description: str
    owner: str
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A Feast feature service: the features one model reads, in the order of the views, those of the call last."""

    name: str
    description: str
    features: tuple[Feature, ...]
    request_features: tuple[RequestFeature, ...] = ()


@dataclass(frozen=True, slots=True)
class Caps:
    """How much is kept of a customer: values of a distinct count, values a top is taken of, active days."""

    distinct: int
    recent: int
    days: int


@dataclass(frozen=True)
class FeatureSpec:
    """The compiled spec: views, the feature service of each model, caps, and the calendar's offset.

    `utc_offset` is in microseconds east of UTC.
    """

    views: tuple[View, ...]
    services: dict[str, Service]
    caps: Caps
    utc_offset: int
    by_name: dict[str, Feature] = field(repr=False)
    request_views: tuple[RequestView, ...] = ()

    @cached_property
    def hash(self) -> str:
        """SHA-256 (16 hex digits) over everything that decides a value."""
        content = {
            "caps": asdict(self.caps),
            "utc_offset": self.utc_offset,
            "features": sorted(_identity(feature) for feature in self.by_name.values()),
            "request": sorted(json.dumps(asdict(f)) for view in self.request_views for f in view.features),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def service_features(self, service: str) -> tuple[str, ...]:
        """Names of a service's features, in the order of its views, then of the call. Raises KeyError if unknown."""
        known = self.services[service]
        return (*(feature.name for feature in known.features), *(feature.name for feature in known.request_features))

    def request_feature(self, name: str) -> RequestFeature | None:
        """The feature of a call of this name; None where there is none."""
        return next((f for view in self.request_views for f in view.features if f.name == name), None)

    def closure(self, names: Iterable[str]) -> tuple[Feature, ...]:
        """The aggregates (no ratios or trends) needed to compute `names`, each once, in the order met."""
        needed: dict[str, Feature] = {}
        for name in names:
            feature = self.by_name[name]
            for part in feature.operands or (name,):
                needed.setdefault(part, self.by_name[part])
        return tuple(needed.values())


def _identity(feature: Feature) -> str:
    stream = asdict(feature.stream) if feature.stream else None
    measure = [feature.measure.path, feature.measure.kind] if feature.measure else None
    parts = [feature.name, feature.operation, feature.window.label, stream, measure]
    return json.dumps([*parts, list(feature.operands), list(feature.scale)], sort_keys=True)
