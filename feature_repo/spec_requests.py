"""Compiles what a person wrote of features that a call brings along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from feature_repo.configuration import Problem
from feature_repo.request_features import AS_OF
from feature_repo.spec import Feature, RequestFeature, RequestView
from feature_repo.spec_conditions import slug
from feature_repo.spec_entries import RequestFeatureEntry, RequestViewEntry

_OF_THE_CLOCK = ("hour", "weekday")


def compile_requests(
    entries: Sequence[RequestViewEntry], by_name: Mapping[str, Feature], problems: list[Problem]
) -> tuple[RequestView, ...]:
    """The views of `entries`; mistakes are added to `problems`."""
    views = []
    for i, entry in enumerate(entries):
        place = f"request.{i}"
        problems += _input_problems(entry, place, by_name)
        for j, feature in enumerate(entry.features):
            problems += _problems(entry, feature, f"{place}.features.{j}", by_name)
        features = tuple(made for feature in entry.features for made in _features(entry, feature))
        views.append(RequestView(entry.name, entry.description, entry.owner, dict(entry.inputs), features))
    return tuple(views)


def _features(view: RequestViewEntry, entry: RequestFeatureEntry) -> Iterator[RequestFeature]:
    if entry.operation in _OF_THE_CLOCK:
        yield RequestFeature(f"{view.name}_{entry.operation}", view.name, entry.operation)
    elif entry.operation == "is":
        for value in entry.values:
            name = f"{view.name}_{entry.of}_{slug(str(value))}"
            yield RequestFeature(name, view.name, "is", entry.of or "", value)
    elif entry.operation == "value":
        yield RequestFeature(f"{view.name}_{entry.of}", view.name, "value", entry.of or "")
    else:
        name = f"{view.name}_{entry.of}_per_{entry.denominator}"
        yield RequestFeature(name, view.name, "ratio", entry.of or "", denominator=entry.denominator)


def _input_problems(view: RequestViewEntry, place: str, by_name: Mapping[str, Feature]) -> Iterator[Problem]:
    for name in view.inputs:
        # Feast puts inputs, features and the entity into one table.
        if name in by_name or name in (AS_OF, "customer_id", "event_timestamp") or slug(name) != name:
            expected = "a name of lower case letters, digits and _ that no feature has"
            yield Problem(f"{place}.inputs", expected, repr(name))


def _problems(
    view: RequestViewEntry, entry: RequestFeatureEntry, where: str, by_name: Mapping[str, Feature]
) -> Iterator[Problem]:
    if entry.operation in _OF_THE_CLOCK:
        if entry.of or entry.values or entry.denominator:
            yield Problem(where, f"nothing but operation: {entry.operation}", "of, values or denominator")
        return
    kind = view.inputs.get(entry.of or "")
    if kind is None:
        yield Problem(f"{where}.of", f"one of the inputs: {', '.join(view.inputs)}", repr(entry.of))
    elif entry.operation != "is" and kind != "integer":
        yield Problem(f"{where}.of", "an integer input", f"{entry.of!r}, which is a {kind}", "see operation: is")
    if (entry.operation == "is") != bool(entry.values):
        yield Problem(f"{where}.values", "values for operation is, and for no other", repr(list(entry.values)))
    wrong = [value for value in entry.values if isinstance(value, str) != (kind == "text")]
    if kind and wrong:
        yield Problem(f"{where}.values", f"values of kind {kind}", repr(wrong))
    if (entry.operation == "ratio") != (entry.denominator is not None):
        yield Problem(
            f"{where}.denominator", "a feature for operation ratio, and for no other", repr(entry.denominator)
        )
    known = by_name.get(entry.denominator or "")
    if entry.denominator and (known is None or known.kind == "text"):
        yield Problem(f"{where}.denominator", "the full name of a feature that is a number", repr(entry.denominator))
