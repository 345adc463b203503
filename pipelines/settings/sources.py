"""What `configs/sources/*.yaml` may say: how the rows of a file become canonical events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator, model_validator

from feature_repo.configuration import ConfigModel
from pipelines.settings.consent import CollectedUnder
from pipelines.settings.labels import Duration
from pipelines.settings.mapping import (
    TEXT,
    Choice,
    ColumnConfig,
    ColumnType,
    Condition,
    Expression,
    FormatConfig,
    Reference,
    TextKeys,
    placeholders,
)

_NAME = r"^[a-z][a-z0-9_]{0,60}$"


class TimeConfig(ConfigModel):
    """When the event happened: a timestamp column; of several rows the earliest or the latest."""

    column: str
    of_group: Literal["first", "last"] = "first"


class ArrivalConfig(ConfigModel):
    """What stands for the instant the event had arrived: a column (of several rows the latest), or a delay."""

    column: str | None = None
    delay: Duration | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> ArrivalConfig:
        if (self.column is None) == (self.delay is None):
            raise ValueError("exactly one of column, delay")
        return self


class EventRule(ConfigModel):
    """Rows that all satisfy `when` become this event. The first rule that holds is taken."""

    event: str | Choice
    when: dict[str, Condition] = Field(default_factory=dict)
    channel: str | Choice | None = None
    properties: dict[str, Expression] = Field(default_factory=dict)

    def names(self) -> tuple[str, ...] | None:
        """All canonical events this rule can give; None where a column holds them."""
        return (self.event,) if isinstance(self.event, str) else self.event.names()

    def references(self, place: str) -> Iterator[Reference]:
        """Every column this names."""
        yield from _choice_references(self.event, f"{place}.event")
        for name, condition in self.when.items():
            yield Reference(place=f"{place}.when", column=name, types=condition.types())
        yield from _choice_references(self.channel, f"{place}.channel")
        yield from _expression_references(self.properties, f"{place}.properties")


class SourceConfig(ConfigModel):
    """All of one `configs/sources/<source>.yaml`. The language is described in the README there."""

    source: str = Field(pattern=_NAME)
    description: str
    format: FormatConfig
    timezone: str = Field(default="UTC", description="IANA zone of times that carry no offset")
    columns: Annotated[dict[str, ColumnConfig], TextKeys] = Field(min_length=1)
    group_by: tuple[str, ...] = ()
    event_id: str
    time: TimeConfig
    arrival: ArrivalConfig | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    identifiers: dict[str, str] = Field(default_factory=dict)
    channel: str | Choice | None = None
    currency: str | Choice | None = None
    consent: CollectedUnder | None = Field(default=None, description="without it these events count for nothing")
    properties: dict[str, Expression] = Field(default_factory=dict)
    events: tuple[EventRule, ...] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("an IANA time zone such as Asia/Bangkok") from None
        return value

    @field_validator("columns")
    @classmethod
    def _columns_fit_the_format(cls, value: dict[str, ColumnConfig], info: ValidationInfo) -> dict[str, ColumnConfig]:
        layout = info.data.get("format")
        wrong = [name for name, column in value.items() if column.path is not None]
        if wrong and layout is not None and layout.type != "jsonl":
            raise ValueError(f"path only with format jsonl; here: {', '.join(wrong)}")
        in_file = {name for name, column in value.items() if column.column is None and column.type in TEXT}
        unknown = [name for name, column in value.items() if column.column is not None and column.column not in in_file]
        if unknown:
            raise ValueError(f"in column: another column of the file, of type id or string; here: {', '.join(unknown)}")
        reserved = [name for name in value if name.startswith("quarantine_") or not name.strip()]
        if reserved:
            raise ValueError(f"column names that do not begin with quarantine_; here: {', '.join(reserved)}")
        return value

    @field_validator(
        "group_by",
        "event_id",
        "time",
        "arrival",
        "user_id",
        "anonymous_id",
        "identifiers",
        "channel",
        "currency",
        "properties",
        "events",
    )
    @classmethod
    def _columns_exist(cls, value: Any, info: ValidationInfo) -> Any:
        columns = info.data.get("columns")
        mistakes = _reference_mistakes(_references(str(info.field_name), value), columns) if columns else []
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return value

    @field_validator("event_id")
    @classmethod
    def _event_id_is_the_groups(cls, value: str, info: ValidationInfo) -> str:
        names = placeholders(value)
        if not names:
            raise ValueError("a template that names a column, such as {InvoiceNo}")
        group = info.data.get("group_by")
        outside = [name for name in names if group and name not in group]
        if outside:
            raise ValueError(f"only columns of group_by, which all rows of an event share; here: {', '.join(outside)}")
        return value

    @field_validator("events")
    @classmethod
    def _every_rule_is_complete(cls, value: tuple[EventRule, ...], info: ValidationInfo) -> tuple[EventRule, ...]:
        mistakes = []
        if info.data.get("channel", "") is None:
            mistakes += [f"events.{n} needs a channel" for n, rule in enumerate(value) if rule.channel is None]
        open_ended = [n for n, rule in enumerate(value[:-1]) if not rule.when]
        mistakes += [f"events.{n} has no when, so no rule after it is ever taken" for n in open_ended]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return value

    @model_validator(mode="after")
    def _has_someone(self) -> SourceConfig:
        if self.user_id is None and self.anonymous_id is None:
            raise ValueError("user_id or anonymous_id, so that an event belongs to someone")
        return self


def _references(field: str, value: Any) -> Iterable[Reference]:
    """Every column that the field of a source names."""
    timestamp: frozenset[ColumnType] = frozenset({"timestamp"})
    if value is None:
        return
    if field == "group_by":
        yield from (Reference(place=field, column=name) for name in value)
    elif field in ("event_id", "anonymous_id"):
        yield from (Reference(place=field, column=name) for name in placeholders(value))
    elif field == "user_id":
        yield Reference(place=field, column=value, types=TEXT)
    elif field == "identifiers":
        yield from (Reference(place=f"{field}.{kind}", column=name, types=TEXT) for kind, name in value.items())
    elif field in ("time", "arrival") and value.column is not None:
        yield Reference(place=field, column=value.column, types=timestamp)
    elif field in ("channel", "currency"):
        yield from _choice_references(value, field)
    elif field == "properties":
        yield from _expression_references(value, field)
    elif field == "events":
        for number, rule in enumerate(value):
            yield from rule.references(f"events.{number}")


def _choice_references(value: str | Choice | None, place: str) -> Iterator[Reference]:
    if isinstance(value, Choice):
        yield Reference(place=place, column=value.column, types=TEXT)


def _expression_references(expressions: dict[str, Expression], place: str) -> Iterator[Reference]:
    for name, expression in expressions.items():
        yield from expression.references(f"{place}.{name}")


def _reference_mistakes(references: Iterable[Reference], columns: dict[str, ColumnConfig]) -> list[str]:
    mistakes = []
    for reference in references:
        if reference.column not in columns:
            mistakes.append(f"declared columns in {reference.place}: {reference.column!r} is not in columns")
        elif reference.types is not None and columns[reference.column].type not in reference.types:
            wanted = " or ".join(sorted(reference.types))
            mistakes.append(
                f"a column of type {wanted} in {reference.place}: {reference.column!r}"
                f" is {columns[reference.column].type}"
            )
    return mistakes
