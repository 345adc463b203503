"""What a person writes in `configs/features.yaml`, and its compilation to a `FeatureSpec`.

Names are generated, `event_measure_operation_window`, so nobody invents a second scheme.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field

from feature_repo.configuration import ConfigModel, ConfigurationError, Problem, load_yaml
from feature_repo.spec import COLUMN_MEASURES, Feature, FeatureSpec, Measure, Operation, Service, Stream, View
from feature_repo.windows import LIFETIME, LIFETIME_LABEL, Window, parse_window

INTEGER_MEASURE = ("sum", "mean", "min", "max", "last")
NO_MEASURE = ("count", "days_since_last", "days_since_first", "mean_days_between", "ratio")
LIFETIME_ONLY = ("days_since_first", "mean_days_between")

_PATH = re.compile(r"^properties\.[a-z][a-z0-9_]*(\[\]\.[a-z][a-z0-9_]*)?$")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


class FeatureEntry(ConfigModel):
    """One line of a view: an operation over its windows, for all channels or for each of some."""

    operation: Operation
    of: str | None = None
    windows: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    numerator: str | None = None
    denominator: str | None = None


class ViewEntry(ConfigModel):
    """Features over one event. `nouns` say what the event is to a person, one and many: [order, orders]."""

    name: str
    description: str
    owner: str
    event: str | None = None
    nouns: tuple[str, str] | None = None
    windows: tuple[str, ...] = ()
    features: tuple[FeatureEntry, ...] = Field(min_length=1)


class ServiceEntry(ConfigModel):
    """What one model reads: all features of some views, but for those a pattern of `without` matches."""

    description: str
    views: tuple[str, ...] = Field(min_length=1)
    without: tuple[str, ...] = ()


class SpecFile(ConfigModel):
    """All of `configs/features.yaml`."""

    version: Literal[1]
    distinct_cap: int = Field(default=500, ge=1, le=10_000)
    views: tuple[ViewEntry, ...] = Field(min_length=1)
    services: dict[str, ServiceEntry] = Field(min_length=1)


def load_spec(path: Path) -> FeatureSpec:
    """Read and compile a spec file.

    Raises:
        ConfigurationError: with every mistake of the file.
    """
    return compile_spec(load_yaml(path, SpecFile), file=path.name)


def compile_spec(raw: SpecFile, file: str = "features.yaml") -> FeatureSpec:
    """Compile what a person wrote to features with generated names.

    Raises:
        ConfigurationError: with every mistake.
    """
    problems: list[Problem] = []
    views = tuple(
        View(view.name, view.description, view.owner, tuple(_features(view, f"views.{i}", problems)))
        for i, view in enumerate(raw.views)
    )
    features = [feature for view in views for feature in view.features]
    by_name = {feature.name: feature for feature in features}
    problems += _duplicates("views", [view.name for view in raw.views])
    problems += _duplicates("features", [feature.name for feature in features])
    problems += _unknown_operands(features, by_name)
    problems += _service_problems(raw, list(by_name))
    if problems:
        raise ConfigurationError([Problem(p.field, p.expected, p.got, p.hint, file) for p in problems])
    services = {name: _service(name, entry, views) for name, entry in raw.services.items()}
    return FeatureSpec(views, services, raw.distinct_cap, by_name)


def _service(name: str, entry: ServiceEntry, views: tuple[View, ...]) -> Service:
    members = {view.name: view.features for view in views}
    features = (feature for view in entry.views for feature in members[view])
    kept = tuple(f for f in features if not any(fnmatchcase(f.name, pattern) for pattern in entry.without))
    return Service(name, entry.description, kept)


def _features(view: ViewEntry, place: str, problems: list[Problem]) -> Iterator[Feature]:
    if not _NAME.match(view.name):
        problems.append(Problem(f"{place}.name", "lower case letters, digits and _", repr(view.name)))
    for j, entry in enumerate(view.features):
        where = f"{place}.features.{j}"
        mistakes = list(_entry_problems(view, entry, where))
        windows = list(_windows(view, entry, where, mistakes))
        problems.extend(mistakes)
        if mistakes:
            continue
        for channel in entry.channels or ("",):
            for window in windows:
                yield _feature(view, entry, channel, window)


def _feature(view: ViewEntry, entry: FeatureEntry, channel: str, window: Window) -> Feature:
    if entry.operation == "ratio":
        name = f"{entry.numerator}_per_{entry.denominator}_{window.label}"
        operands = (f"{entry.numerator}_{window.label}", f"{entry.denominator}_{window.label}")
        return Feature(name, view.name, "ratio", window, None, None, *operands)
    measure = None if entry.of is None else Measure(entry.of, _kind(entry))
    parts = [_slug(view.event or ""), measure.slug if measure else "", entry.operation, channel, window.label]
    name = "_".join(part for part in parts if part)
    return Feature(
        name, view.name, entry.operation, window, Stream(view.event or "", channel), measure, nouns=view.nouns
    )


def _entry_problems(view: ViewEntry, entry: FeatureEntry, where: str) -> Iterator[Problem]:
    ratio = entry.operation == "ratio"
    if ratio and not (entry.numerator and entry.denominator):
        yield Problem(where, "numerator and denominator", "a ratio without them", "name two features, no window")
    if ratio and (entry.of or entry.channels):
        yield Problem(where, "only numerator, denominator and windows", "of or channels", "remove them")
    if not ratio and (entry.numerator or entry.denominator):
        yield Problem(where, "no numerator or denominator", f"operation {entry.operation}", "they belong to ratio")
    if not ratio and view.event is None:
        yield Problem(where, "a view with an event", "none", f"operation {entry.operation} needs `event:` in the view")
    if entry.operation in NO_MEASURE and entry.of is not None and not ratio:
        yield Problem(f"{where}.of", "nothing", repr(entry.of), f"{entry.operation} reads no measure")
    if entry.operation not in NO_MEASURE:
        yield from _measure_problems(entry, where)


def _measure_problems(entry: FeatureEntry, where: str) -> Iterator[Problem]:
    if entry.of is None:
        hint = "`of: value`, or a path such as `properties.units`"
        yield Problem(f"{where}.of", "a measure", "nothing", hint)
        return
    column = COLUMN_MEASURES.get(entry.of)
    if column is None and not _PATH.match(entry.of):
        known = ", ".join(COLUMN_MEASURES)
        yield Problem(f"{where}.of", f"{known}, properties.name or properties.list[].name", repr(entry.of))
    elif column is not None and column != _kind(entry):
        yield Problem(f"{where}.of", f"{_article(_kind(entry))} measure", repr(entry.of), f"it is {_article(column)}")
    elif "[]" in entry.of and entry.operation != "distinct":
        yield Problem(f"{where}.of", "a single value", repr(entry.of), "only distinct reads lists")


def _windows(view: ViewEntry, entry: FeatureEntry, where: str, problems: list[Problem]) -> Iterator[Window]:
    labels = entry.windows or view.windows
    if entry.operation in LIFETIME_ONLY:
        labels = entry.windows or (LIFETIME_LABEL,)
    if not labels:
        problems.append(Problem(f"{where}.windows", "at least one window", "none", "here or in the view"))
    for label in labels:
        try:
            window = parse_window(label)
        except ValueError as error:
            problems.append(Problem(f"{where}.windows", str(error), repr(label)))
            continue
        if entry.operation == "days_since_first" and window != LIFETIME:
            problems.append(
                Problem(f"{where}.windows", LIFETIME_LABEL, repr(label), "the first event is of a lifetime")
            )
        yield window


def _unknown_operands(features: list[Feature], by_name: dict[str, Feature]) -> Iterator[Problem]:
    for feature in features:
        for operand in feature.operands:
            found = by_name.get(operand)
            if found is None:
                hint = "a ratio's parts must be features of the spec with the same window"
                yield Problem(feature.name, "two features of the spec", repr(operand), hint)
            elif found.operation == "ratio":
                yield Problem(feature.name, "parts that are no ratios themselves", repr(operand))


def _service_problems(raw: SpecFile, features: list[str]) -> Iterator[Problem]:
    known = [view.name for view in raw.views]
    for name, service in raw.services.items():
        for view in service.views:
            if view not in known:
                yield Problem(f"services.{name}.views", f"one of: {', '.join(known)}", repr(view))
        for pattern in service.without:
            if not any(fnmatchcase(feature, pattern) for feature in features):
                hint = "a name, or a pattern such as *_lifetime"
                yield Problem(f"services.{name}.without", "a pattern that matches a feature", repr(pattern), hint)


def _duplicates(place: str, names: list[str]) -> Iterator[Problem]:
    for name, times in Counter(names).items():
        if times > 1:
            yield Problem(place, "each name once", f"{name!r} {times} times", "remove or narrow one of them")


def _kind(entry: FeatureEntry) -> str:
    return "integer" if entry.operation in INTEGER_MEASURE else "text"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _slug(event: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", event.lower()).strip("_")
