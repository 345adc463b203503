"""What a person writes in `configs/features.yaml`, and its compilation to a `FeatureSpec`.

Names are generated, `event_measure_operation_window`, so nobody invents a second scheme.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from math import gcd
from pathlib import Path

from feature_repo.configuration import ConfigurationError, Problem, load_yaml
from feature_repo.spec import (
    COLUMN_MEASURES,
    DAY_OPERATIONS,
    Caps,
    Condition,
    Feature,
    FeatureSpec,
    Measure,
    RequestView,
    Service,
    Stream,
    View,
)
from feature_repo.spec_conditions import PROPERTY, condition_slug, groups_of, slug
from feature_repo.spec_entries import FeatureEntry, ServiceEntry, SpecFile, ViewEntry
from feature_repo.spec_requests import compile_requests
from feature_repo.windows import DAY, LIFETIME, LIFETIME_LABEL, MINUTE, Window, parse_window

__all__ = ["SpecFile", "compile_spec", "load_spec"]

INTEGER_MEASURE = ("sum", "mean", "min", "max", "variance", "first", "last")
TEXT_MEASURE = ("distinct", "latest")
QUOTIENTS = ("ratio", "trend")
# Whose rate a day a trend compares; of any other operation it compares the values themselves.
RATES = ("count", "sum", "active_days")
LIFETIME_BY_DEFAULT = ("days_since_first", "mean_days_between")

_NAME = re.compile(r"^[a-z][a-z0-9_]*$")


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
    requests = compile_requests(raw.request, by_name, problems)
    of_calls = [feature.name for view in requests for feature in view.features]
    problems += _duplicates("views", [*(view.name for view in raw.views), *(view.name for view in raw.request)])
    problems += _duplicates("features", [*(feature.name for feature in features), *of_calls])
    problems += _unknown_operands(features, by_name)
    problems += _service_problems(raw, [*by_name, *of_calls])
    if problems:
        raise ConfigurationError([Problem(p.field, p.expected, p.got, p.hint, file) for p in problems])
    views = tuple(replace(view, features=tuple(_with_scale(f, by_name) for f in view.features)) for view in views)
    by_name = {feature.name: feature for view in views for feature in view.features}
    services = {name: _service(name, entry, views, requests) for name, entry in raw.services.items()}
    caps = Caps(raw.distinct_cap, raw.recent_cap, raw.days_cap)
    return FeatureSpec(views, services, caps, _offset(raw.utc_offset), by_name, requests)


def _service(name: str, entry: ServiceEntry, views: Sequence[View], requests: Sequence[RequestView]) -> Service:
    def kept(name: str) -> bool:
        return not any(fnmatchcase(name, pattern) for pattern in entry.without)

    members = {view.name: view.features for view in views}
    of_calls = {view.name: view.features for view in requests}
    return Service(
        name,
        entry.description,
        tuple(f for view in entry.views for f in members.get(view, ()) if kept(f.name)),
        tuple(f for view in entry.views for f in of_calls.get(view, ()) if kept(f.name)),
    )


def _features(view: ViewEntry, place: str, problems: list[Problem]) -> Iterator[Feature]:
    if not _NAME.match(view.name):
        problems.append(Problem(f"{place}.name", "lower case letters, digits and _", repr(view.name)))
    for j, entry in enumerate(view.features):
        where = f"{place}.features.{j}"
        mistakes = list(_entry_problems(view, entry, where))
        windows = list(_windows(view, entry, where, mistakes))
        groups = groups_of(entry, where, mistakes)
        long = _against(entry, windows, where, mistakes)
        problems.extend(mistakes)
        if mistakes:
            continue
        for conditions in groups:
            for window in windows:
                if entry.operation in QUOTIENTS:
                    yield _quotient(view, entry, window, long or window)
                else:
                    yield _aggregate(view, entry, conditions, window)


def _aggregate(view: ViewEntry, entry: FeatureEntry, conditions: tuple[Condition, ...], window: Window) -> Feature:
    measure = None if entry.of is None else Measure(entry.of, _kind(entry))
    parts = [slug(view.event or ""), measure.slug if measure else "", entry.operation]
    name = "_".join(part for part in [*parts, condition_slug(conditions), window.label] if part)
    stream = Stream(view.event or "", tuple(sorted(conditions)))
    return Feature(name, view.name, entry.operation, window, stream, measure, nouns=view.nouns)


def _quotient(view: ViewEntry, entry: FeatureEntry, window: Window, long: Window) -> Feature:
    if entry.operation == "ratio":
        name = f"{entry.numerator}_per_{entry.denominator}_{window.label}"
        operands = (f"{entry.numerator}_{window.label}", f"{entry.denominator}_{window.label}")
        return Feature(name, view.name, "ratio", window, None, None, *operands)
    name = f"{entry.feature}_trend_{window.label}_{long.label}"
    operands = (f"{entry.feature}_{window.label}", f"{entry.feature}_{long.label}")
    return Feature(name, view.name, "trend", window, None, None, *operands)


def _with_scale(feature: Feature, by_name: Mapping[str, Feature]) -> Feature:
    """A trend of totals compares rates: each total is multiplied by the length of the other's window."""
    if feature.operation != "trend" or by_name[str(feature.numerator)].operation not in RATES:
        return feature
    return replace(feature, scale=_lengths(feature.window, by_name[str(feature.denominator)].window))


def _lengths(short: Window, long: Window) -> tuple[int, int]:
    """The longer length and the shorter one, in lowest terms."""
    if short.length is None or long.length is None:
        return 1, 1
    minutes = long.length // MINUTE, short.length // MINUTE
    divisor = gcd(*minutes)
    return minutes[0] // divisor, minutes[1] // divisor


def _entry_problems(view: ViewEntry, entry: FeatureEntry, where: str) -> Iterator[Problem]:
    """What does not go with the operation: its own keys must be there, and those of others must not."""
    needed = {"ratio": ("numerator", "denominator"), "trend": ("feature", "against")}.get(entry.operation, ())
    for key in ("numerator", "denominator", "feature", "against"):
        given = getattr(entry, key)
        if key in needed and given is None:
            hint = "name features of the spec, without their window" if key != "against" else "a longer window"
            yield Problem(f"{where}.{key}", f"a value, for {entry.operation}", "nothing", hint)
        if key not in needed and given is not None:
            owner = "trend" if key in ("feature", "against") else "ratio"
            yield Problem(f"{where}.{key}", f"no such key for {entry.operation}", repr(given), f"it belongs to {owner}")
    if entry.operation in QUOTIENTS:
        if entry.of or entry.by or entry.where:
            yield Problem(where, f"only {', '.join(needed)} and windows", "of, by or where", "remove them")
        return
    if view.event is None:
        yield Problem(where, "a view with an event", "none", f"operation {entry.operation} needs `event:` in the view")
    yield from _measure_problems(entry, where)


def _measure_problems(entry: FeatureEntry, where: str) -> Iterator[Problem]:
    wanted = _kind(entry)
    if wanted == "":
        if entry.of is not None:
            yield Problem(f"{where}.of", "nothing", repr(entry.of), f"{entry.operation} reads no measure")
        return
    if entry.of is None:
        hint = "`of: value`, or a path such as `properties.units`"
        yield Problem(f"{where}.of", "a measure", "nothing", hint)
        return
    column = COLUMN_MEASURES.get(entry.of)
    if column is None and not PROPERTY.match(entry.of):
        known = ", ".join(COLUMN_MEASURES)
        yield Problem(f"{where}.of", f"{known}, properties.name or properties.list[].name", repr(entry.of))
    elif column is not None and column != wanted:
        yield Problem(f"{where}.of", f"{_article(wanted)} measure", repr(entry.of), f"it is {_article(column)}")
    elif "[]" in entry.of and wanted != "text":
        yield Problem(f"{where}.of", "a single value", repr(entry.of), "only distinct, top and latest read lists")


def _windows(view: ViewEntry, entry: FeatureEntry, where: str, problems: list[Problem]) -> Iterator[Window]:
    labels = entry.windows or view.windows
    if entry.operation in LIFETIME_BY_DEFAULT:
        labels = entry.windows or (LIFETIME_LABEL,)
    if not labels:
        problems.append(Problem(f"{where}.windows", "at least one window", "none", "here or in the view"))
    for label in labels:
        window = _window(label, f"{where}.windows", problems)
        if window is None:
            continue
        if entry.operation in DAY_OPERATIONS and window.length is not None and window.length < DAY:
            problems.append(
                Problem(f"{where}.windows", "a day or more", repr(label), f"{entry.operation} looks at days")
            )
        yield window


def _window(label: str, place: str, problems: list[Problem]) -> Window | None:
    try:
        return parse_window(label)
    except ValueError as error:
        problems.append(Problem(place, str(error), repr(label)))
        return None


def _against(entry: FeatureEntry, windows: list[Window], where: str, problems: list[Problem]) -> Window | None:
    """The longer window of a trend; None for any other operation."""
    if entry.operation != "trend" or entry.against is None:
        return None
    long = _window(entry.against, f"{where}.against", problems)
    for short in windows if long else ():
        if short.length is None or long is None or (long.length is not None and long.length <= short.length):
            expected = f"a window longer than {short.label}" if short.length else "a window with a beginning"
            place = f"{where}.against" if short.length else f"{where}.windows"
            problems.append(Problem(place, expected, repr(entry.against if short.length else short.label)))
    return long


def _unknown_operands(features: list[Feature], by_name: dict[str, Feature]) -> Iterator[Problem]:
    for feature in features:
        for operand in feature.operands:
            found = by_name.get(operand)
            if found is None:
                hint = f"the parts of a {feature.operation} must be features of the spec with these windows"
                yield Problem(feature.name, "two features of the spec", repr(operand), hint)
            elif found.operation in QUOTIENTS:
                yield Problem(feature.name, "parts that are made of no others themselves", repr(operand))
            elif found.kind == "text":
                yield Problem(feature.name, "parts that are numbers", repr(operand))
            elif feature.operation == "trend" and found.operation in RATES and found.window == LIFETIME:
                yield Problem(feature.name, "windows with a beginning: a rate a day is compared", repr(operand))


def _service_problems(raw: SpecFile, features: list[str]) -> Iterator[Problem]:
    known = [*(view.name for view in raw.views), *(view.name for view in raw.request)]
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
    """Kind of the operation's measure; empty where it reads none."""
    if entry.operation == "top":
        return COLUMN_MEASURES.get(entry.of or "", "text")
    if entry.operation in TEXT_MEASURE:
        return "text"
    return "integer" if entry.operation in INTEGER_MEASURE else ""


def _offset(text: str) -> int:
    """Microseconds of an offset such as +07:00."""
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return (-minutes if text[0] == "-" else minutes) * MINUTE


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
