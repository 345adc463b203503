"""What a person writes in `configs/features.yaml`, as typed objects; `spec_file` compiles them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr

from feature_repo.configuration import ConfigModel
from feature_repo.spec import Operation

_OFFSET = r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$"

Literals = StrictBool | StrictInt | StrictStr


class Comparison(ConfigModel):
    """Tests of one column or property; all that are given must hold."""

    at_least: StrictInt | None = None
    at_most: StrictInt | None = None
    above: StrictInt | None = None
    below: StrictInt | None = None
    exists: StrictBool | None = None
    # A value or a list of values; what is missing is none of them.
    is_not: Literals | tuple[Literals, ...] | None = Field(default=None, alias="not")


# A value, any of several values, or comparisons.
Wanted = Literals | tuple[Literals, ...] | Comparison


class FeatureEntry(ConfigModel):
    """One line of a view: an operation over its windows.

    `where` narrows the events; `by` makes one feature for each value of one column or property. A ratio
    divides `numerator` by `denominator`, a trend `feature` over its window by the same `against` a longer one.
    """

    operation: Operation
    of: str | None = None
    windows: tuple[str, ...] = ()
    where: dict[str, Wanted] = Field(default_factory=dict)
    by: dict[str, tuple[Wanted, ...]] = Field(default_factory=dict)
    numerator: str | None = None
    denominator: str | None = None
    feature: str | None = None
    against: str | None = None


class ViewEntry(ConfigModel):
    """Features over one event. `nouns` say what the event is to a person, one and many: [order, orders]."""

    name: str
    description: str
    owner: str
    event: str | None = None
    nouns: tuple[str, str] | None = None
    windows: tuple[str, ...] = ()
    features: tuple[FeatureEntry, ...] = Field(min_length=1)


class RequestFeatureEntry(ConfigModel):
    """One line of a view of the call; `is` makes one feature for each of `values`."""

    operation: Literal["value", "is", "ratio", "hour", "weekday"]
    of: str | None = None
    values: tuple[StrictInt | StrictStr, ...] = ()
    denominator: str | None = None


class RequestViewEntry(ConfigModel):
    """Features of what a call brings along; `inputs` say what that is."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str
    owner: str
    inputs: dict[str, Literal["integer", "text"]] = Field(default_factory=dict)
    features: tuple[RequestFeatureEntry, ...] = Field(min_length=1)


class ServiceEntry(ConfigModel):
    """What one model reads: all features of some views, but for those a pattern of `without` matches."""

    description: str
    views: tuple[str, ...] = Field(min_length=1)
    without: tuple[str, ...] = ()


class SpecFile(ConfigModel):
    """All of `configs/features.yaml`.

    `utc_offset` is that of the customer base's calendar, for days and hours; it knows no summer time.
    """

    version: Literal[1]
    utc_offset: str = Field(default="+00:00", pattern=_OFFSET)
    distinct_cap: int = Field(default=500, ge=1, le=10_000, description="values a distinct count goes up to")
    recent_cap: int = Field(default=100, ge=1, le=1_000, description="newest values a top value is taken of")
    days_cap: int = Field(default=400, ge=2, le=4_000, description="newest active days that are looked at")
    views: tuple[ViewEntry, ...] = Field(min_length=1)
    request: tuple[RequestViewEntry, ...] = ()
    services: dict[str, ServiceEntry] = Field(min_length=1)
