"""Which events a feature reads: conditions from what a person wrote, and their part in its name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from feature_repo.configuration import Problem
from feature_repo.extract import LARGEST
from feature_repo.spec import COLUMN_MEASURES, Condition, Test
from feature_repo.spec_entries import Comparison, FeatureEntry, Literals, Wanted

PROPERTY = re.compile(r"^properties\.[a-z][a-z0-9_]*(\[\]\.[a-z][a-z0-9_]*)?$")


def slug(text: str) -> str:
    """Lower case letters and digits, the rest as single underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def condition_slug(conditions: tuple[Condition, ...]) -> str:
    """The part of a feature's name that says which events it reads."""
    parts: list[str] = []
    previous = ""
    for condition in conditions:
        field = slug(condition.path.removeprefix("properties."))
        # A channel says by itself what it is; a second test of a field need not name it again.
        known = condition.path == previous or condition.path == "channel"
        previous = condition.path
        values = "_or_".join(slug(str(value)) for value in condition.values)
        if condition.test in ("exists", "missing"):
            parts.append(f"{'with' if condition.test == 'exists' else 'without'}_{field}")
            continue
        sign = {"is": "", "is_not": "not"}.get(condition.test, condition.test)
        parts.extend(part for part in ("" if known else field, sign, values) if part)
    return "_".join(parts)


def groups_of(entry: FeatureEntry, where: str, problems: list[Problem]) -> list[tuple[Condition, ...]]:
    """The conditions of each feature of an entry: those of `where`, and of each value of `by`."""
    common = [test for path, wanted in entry.where.items() for test in _conditions(path, wanted, where, problems)]
    if len(entry.by) > 1:
        problems.append(Problem(f"{where}.by", "one column or property", f"{len(entry.by)} of them"))
    for path, values in entry.by.items():
        if not values:
            problems.append(Problem(f"{where}.by.{path}", "a list of values", "an empty one"))
        if path in entry.where:
            problems.append(Problem(f"{where}.by", "another field than those of `where`", repr(path)))
        return [(*common, *_conditions(path, wanted, where, problems)) for wanted in values]
    return [tuple(common)]


def _conditions(path: str, wanted: Wanted, where: str, problems: list[Problem]) -> list[Condition]:
    place = f"{where}.{path}"
    if path not in COLUMN_MEASURES and ("[]" in path or not PROPERTY.match(path)):
        known = ", ".join(COLUMN_MEASURES)
        problems.append(Problem(place, f"{known} or properties.name", repr(path), "lists cannot be tested"))
        return []
    if not isinstance(wanted, Comparison):
        return [_any_of(path, "is", wanted, place, problems)]
    found = [] if wanted.is_not is None else [_any_of(path, "is_not", wanted.is_not, place, problems)]
    bounds: Mapping[Test, int | None] = {
        "at_least": wanted.at_least, "above": wanted.above, "at_most": wanted.at_most, "below": wanted.below,
    }  # fmt: skip
    for test, bound in bounds.items():
        if bound is not None:
            found.append(Condition(path, test, integers=(_bounded(bound, place, problems),)))
    if wanted.exists is not None:
        found.append(Condition(path, "exists" if wanted.exists else "missing"))
    if not found:
        problems.append(Problem(place, "a value, a list of values or a comparison", "nothing"))
    return found


def _any_of(
    path: str, test: Test, wanted: Literals | tuple[Literals, ...], place: str, problems: list[Problem]
) -> Condition:
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    if not values:
        problems.append(Problem(place, "at least one value", "an empty list"))
    booleans = tuple(sorted({value for value in values if isinstance(value, bool)}))
    texts = tuple(sorted({value for value in values if isinstance(value, str)}))
    whole = {value for value in values if isinstance(value, int) and not isinstance(value, bool)}
    integers = tuple(sorted(_bounded(value, place, problems) for value in whole))
    return Condition(path, test, texts, integers, booleans)


def _bounded(number: int, place: str, problems: list[Problem]) -> int:
    if abs(number) > LARGEST:
        problems.append(Problem(place, f"a whole number of at most {LARGEST:,} in size", repr(number)))
    return number
