"""From `configs/expectations.yaml` to expectations of Great Expectations; every mistake is told at once."""

from __future__ import annotations

import datetime
import difflib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import Any

import great_expectations.expectations as catalogue
from great_expectations.compatibility.pydantic import ValidationError
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity
from great_expectations.expectations.row_conditions import Column, Condition

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.settings import Settings
from pipelines.settings.expectations import Condition as ConditionConfig
from pipelines.settings.expectations import ExpectationConfig
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.validate.table import COLUMNS, PAIR, PERSONAL

FILE = "expectations.yaml"
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
# Arguments that this project sets itself, or that only matter to Great Expectations' own interfaces.
_RESERVED = frozenset({
    "id", "meta", "notes", "description", "severity", "result_format", "catch_exceptions", "rendered_content",
    "windows", "batch_id", "row_condition", "condition_parser",
})  # fmt: skip
_REFUSED = {
    "Expectation": "it is the base of all expectations",
    "ExpectColumnQuantileValuesToBeBetween": "Great Expectations breaks off the whole run on it",
    "ExpectMulticolumnValuesToBeUnique": "use ExpectCompoundColumnsToBeUnique",
    "ExpectQueryResultsToMatchComparison": "it needs an SQL database",
    "ExpectTableRowCountToEqualOtherTable": "it needs an SQL database",
    "ExpectTableColumnCountToBeBetween": "the event table's columns are fixed",
    "ExpectTableColumnCountToEqual": "the event table's columns are fixed",
    "ExpectTableColumnsToMatchOrderedList": "the event table's columns are fixed",
    "ExpectTableColumnsToMatchSet": "the event table's columns are fixed",
}
# These print values they found, also where unexpected values are left out.
_SHOWS_VALUES = ("DistinctValues", "MostCommon", "ColumnMin", "ColumnMax", "KLDivergence")
CATALOGUE: dict[str, type[Expectation]] = {
    name: member
    for name, member in vars(catalogue).items()
    if inspect.isclass(member) and issubclass(member, Expectation) and name not in _REFUSED
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """An entry of the configuration, what it became, and the columns it looks at."""

    config: ExpectationConfig
    expectation: Expectation
    columns: tuple[str, ...]


def check_expectations(settings: Settings) -> None:
    """Raises ConfigurationError with every mistake of the expectations."""
    entries = settings.expectations
    compile_expectations((*entries.both, *entries.batch, *entries.lake), settings.tracking_plan)


def compile_expectations(entries: Iterable[ExpectationConfig], plan: TrackingPlan) -> tuple[Compiled, ...]:
    """Make each entry an expectation, in order.

    Raises:
        ConfigurationError: with every mistake of every entry.
    """
    lists = named_values(plan)
    problems: list[Problem] = []
    compiled = []
    for entry in entries:
        made = _compile(entry, plan, lists)
        if isinstance(made, Compiled):
            compiled.append(made)
        else:
            problems.extend(made)
    if problems:
        raise ConfigurationError(problems)
    return tuple(compiled)


def named_values(plan: TrackingPlan) -> dict[str, Any]:
    """What `{from: ...}` may name, and what each stands for."""
    now = datetime.datetime.now(datetime.UTC)
    pairs = [
        f"{name}{PAIR}{channel}" for name, event in plan.events.items() for channel in event.channels or plan.channels
    ]
    return {
        "tracking_plan.events": list(plan.events),
        "tracking_plan.channels": list(plan.channels),
        "tracking_plan.currencies": list(plan.currencies),
        "tracking_plan.event_channels": pairs,
        "clock.tomorrow": now + datetime.timedelta(days=1),
    }


def _compile(entry: ExpectationConfig, plan: TrackingPlan, lists: Mapping[str, Any]) -> Compiled | list[Problem]:
    kind = CATALOGUE.get(entry.expectation)
    if kind is None:
        return [_unknown(entry)]
    problems = [*_arguments(entry, kind, lists), *_where(entry, kind, plan)]
    arguments = {name: _value(value, lists) for name, value in entry.kwargs.items()}
    known = {name: value for name, value in arguments.items() if name in _allowed(kind)}
    conditions = list(_conditions(entry.where))
    if conditions and "row_condition" in kind.__fields__:
        known["row_condition"] = reduce(and_, conditions)
    try:
        expectation = kind(
            **known,
            severity=FailureSeverity(entry.severity),
            meta={"name": entry.name},
            description=f"{entry.name}: {entry.meaning}",
        )
    except ValidationError as error:
        return [*problems, *_findings(entry, error)]
    return problems or Compiled(entry, expectation, tuple(dict.fromkeys(_columns(entry))))


def _allowed(kind: type[Expectation]) -> list[str]:
    return [name for name in kind.__fields__ if name not in _RESERVED]


def _unknown(entry: ExpectationConfig) -> Problem:
    near = difflib.get_close_matches(entry.expectation, CATALOGUE, n=1)
    if entry.expectation in _REFUSED:
        hint = f"not usable here: {_REFUSED[entry.expectation]}"
    else:
        hint = f"did you mean {near[0]}?" if near else "names are in Great Expectations' gallery"
    return _problem(entry, "expectation", "an expectation of Great Expectations", entry.expectation, hint)


def _arguments(entry: ExpectationConfig, kind: type[Expectation], lists: Mapping[str, Any]) -> Iterator[Problem]:
    """Unknown arguments, references and columns."""
    allowed = _allowed(kind)
    for name, value in entry.kwargs.items():
        if name not in allowed:
            hint = "use where" if name == "row_condition" else ""
            yield _problem(entry, f"kwargs.{name}", f"one of: {', '.join(allowed)}", "an unknown argument", hint)
        elif isinstance(value, dict) and "from" in value and (len(value) > 1 or value["from"] not in lists):
            yield _problem(entry, f"kwargs.{name}", f"{{from: one of {', '.join(lists)}}}", repr(value))
    for column in _argument_columns(entry):
        if column not in COLUMNS:
            yield _unknown_column(entry, "kwargs", column)
        elif column in PERSONAL and any(part in entry.expectation for part in _SHOWS_VALUES):
            expected = f"an expectation that shows no values of {column}, which is personal"
            yield _problem(entry, "expectation", expected, entry.expectation)


def _where(entry: ExpectationConfig, kind: type[Expectation], plan: TrackingPlan) -> Iterator[Problem]:
    if "row_condition" not in kind.__fields__ and any(_conditions(entry.where)):
        yield _problem(entry, "where", "no condition", "a condition", f"{entry.expectation} looks at the whole table")
    for field in ("event", "not_event"):
        for name in getattr(entry.where, field):
            if name not in plan.events:
                hint = f"known: {', '.join(plan.events)}"
                yield _problem(entry, f"where.{field}", "an event of events.yaml", repr(name), hint)
    for column in entry.where.present:
        if column not in COLUMNS:
            yield _unknown_column(entry, "where.present", column)


def _findings(entry: ExpectationConfig, error: ValidationError) -> Iterator[Problem]:
    """Great Expectations' own findings, one a field; unions give several for one field."""
    messages: dict[str, list[str]] = defaultdict(list)
    for item in error.errors():
        name = str(item["loc"][0])
        messages[name].append("is missing" if item["type"] == "value_error.missing" else str(item["msg"]))
    for name, texts in messages.items():
        whole = name == "__root__"
        got = repr(dict(entry.kwargs) if whole else entry.kwargs.get(name, "nothing"))
        texts = ["a value"] if texts == ["is missing"] else texts
        yield _problem(entry, "kwargs" if whole else f"kwargs.{name}", "; or ".join(dict.fromkeys(texts)), got[:80])


def _value(value: Any, lists: Mapping[str, Any]) -> Any:
    """Fill in `{from: ...}`; a day or a time without a zone is UTC."""
    if isinstance(value, dict) and set(value) == {"from"}:
        value = lists.get(value["from"], [])
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).isoformat()
    if isinstance(value, datetime.date):
        return datetime.datetime.combine(value, datetime.time(), datetime.UTC).isoformat()
    return value


def _conditions(where: ConditionConfig) -> Iterator[Condition]:
    if where.event:
        yield Column("event").is_in(where.event)
    if where.not_event:
        yield Column("event").is_not_in(where.not_event)
    if where.source:
        yield Column("source").is_in(where.source)
    for column in where.present:
        yield Column(column).is_not_null()


def _argument_columns(entry: ExpectationConfig) -> Iterator[str]:
    for name in _COLUMN_ARGUMENTS:
        value = entry.kwargs.get(name, ())
        yield from (str(item) for item in (value if isinstance(value, list | tuple) else (value,)))


def _columns(entry: ExpectationConfig) -> Iterator[str]:
    """Every column the entry looks at, those of its condition too."""
    yield from _argument_columns(entry)
    yield from entry.where.present
    if entry.where.event or entry.where.not_event:
        yield "event"
    if entry.where.source:
        yield "source"


def _unknown_column(entry: ExpectationConfig, field: str, column: str) -> Problem:
    return _problem(entry, field, f"a column: {', '.join(COLUMNS)}", repr(column))


def _problem(entry: ExpectationConfig, field: str, expected: str, got: str, hint: str = "") -> Problem:
    return Problem(f"{entry.name}.{field}", expected, got, hint, FILE)
