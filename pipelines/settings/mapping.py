"""Building blocks of a source mapping: columns, conditions, and where a value comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from feature_repo.configuration import ConfigModel

ColumnType = Literal["string", "id", "integer", "decimal", "timestamp", "boolean", "json"]
ValueType = Literal["string", "integer", "decimal", "money", "timestamp", "boolean", "json", "list"]
Constant = bool | int | Decimal | str

TEXT: frozenset[ColumnType] = frozenset({"string", "id"})
NUMERIC: frozenset[ColumnType] = frozenset({"integer", "decimal"})
EPOCH_FORMATS = ("epoch_seconds", "epoch_milliseconds")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def _text_keys(raw: Any) -> Any:
    """YAML reads unquoted keys such as 1 as numbers; in a file they are text."""
    return {_text(key): value for key, value in raw.items()} if isinstance(raw, dict) else raw


def _text(raw: Any) -> Any:
    if isinstance(raw, bool):
        raise ValueError('quotes around words such as "yes", "no" and "on", which YAML reads as true or false')
    return str(raw) if isinstance(raw, int) else raw


PlainText = Annotated[str, BeforeValidator(_text)]
TextKeys = BeforeValidator(_text_keys)
ValueMap = Annotated[dict[str, str], TextKeys]


class Reference(ConfigModel):
    """One mention of a column, and the types it may have there."""

    place: str
    column: str
    types: frozenset[ColumnType] | None = None


def placeholders(template: str) -> tuple[str, ...]:
    """Names of the columns in `"{A}-{B}"`, in order."""
    return tuple(_PLACEHOLDER.findall(template))


class FormatConfig(ConfigModel):
    """How the file is written. A name that ends in `.gz` is read as gzip."""

    type: Literal["csv", "jsonl", "parquet"]
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: Literal["utf-8", "latin-1", "windows-1252"] = "utf-8"

    @field_validator("delimiter")
    @classmethod
    def _delimiter_can_part(cls, value: str) -> str:
        if not value.isascii() or value.isalnum() or value in '"\r\n\0':
            raise ValueError('an ASCII character such as , ; | or "\\t", no letter, digit, quote or line end')
        return value


class ColumnConfig(ConfigModel):
    """One column of the file. `path` says where it stands in a JSON object (`a.b`), its name by default.

    With `column` and `map` the file has no such column: its text is that of `column`, put through `map`.
    """

    type: ColumnType
    required: bool = False
    time_format: str | None = None
    path: str | None = None
    column: str | None = None
    map: ValueMap | None = Field(default=None, min_length=1)
    personal: bool = Field(default=False, description="names a person: encrypted wherever the row is kept")

    @model_validator(mode="after")
    def _is_in_the_file_or_mapped(self) -> ColumnConfig:
        if (self.column is None) != (self.map is None):
            raise ValueError("column and map together, or neither")
        if self.column is not None and self.path is not None:
            raise ValueError("path, or column with map; not both")
        return self

    @field_validator("time_format")
    @classmethod
    def _time_format_is_known(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("type") not in (None, "timestamp"):
            raise ValueError("time_format only with type: timestamp")
        if value is not None and "%" not in value and value not in EPOCH_FORMATS:
            raise ValueError(f"a strptime format such as %Y.%m.%d, or one of {', '.join(EPOCH_FORMATS)}")
        return value


class Condition(ConfigModel):
    """What one column must satisfy in every row of the event. All that is given must hold."""

    equals: Constant | None = None
    one_of: tuple[PlainText, ...] | None = Field(default=None, alias="in", min_length=1)
    not_in: tuple[PlainText, ...] | None = Field(default=None, min_length=1)
    starts_with: str | None = Field(default=None, min_length=1)
    less_than: Decimal | None = None
    greater_than: Decimal | None = None
    empty: bool | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Condition:
        if all(value is None for value in self.model_dump().values()):
            raise ValueError("one of: equals, in, not_in, starts_with, less_than, greater_than, empty")
        return self

    def types(self) -> frozenset[ColumnType] | None:
        """Types the column may have; None for any."""
        if self.less_than is not None or self.greater_than is not None:
            return NUMERIC
        if self.starts_with is not None or self.one_of is not None or self.not_in is not None:
            return TEXT
        return None


class Expression(ConfigModel):
    """Where one value comes from: exactly one of column, constant, template, sum, count, list.

    `sum` adds one column, or the product of two, over the rows of the event, exactly. `as: money`
    turns an amount in whole currency units into minor units, rounded once, half away from zero.
    """

    column: str | None = None
    constant: Constant | None = None
    template: str | None = None
    sum: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=2)
    count: Literal["rows"] | None = None
    list: dict[str, Expression] | None = Field(default=None, min_length=1)
    map: ValueMap | None = None
    otherwise: str | None = None
    as_: Literal["money"] | None = Field(default=None, alias="as")
    negate: bool = False

    @model_validator(mode="after")
    def _is_one_thing(self) -> Expression:
        kinds = ("column", "constant", "template", "sum", "count", "list")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        mistakes = []
        if len(given) != 1:
            mistakes.append(f"exactly one of {', '.join(kinds)}; here: {', '.join(given) or 'none'}")
        if self.map is not None and self.column is None:
            mistakes.append("map only with column")
        if self.otherwise is not None and self.map is None:
            mistakes.append("otherwise only with map")
        if (self.as_ or self.negate) and (self.map is not None or not (self.column or self.sum)):
            mistakes.append("as and negate only with sum, or with column without map")
        if any(part.sum or part.count or part.list for part in (self.list or {}).values()):
            mistakes.append("in a list only column, constant and template: each entry is one row")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def references(self, place: str) -> Iterator[Reference]:
        """Every column this names."""
        arithmetic = NUMERIC if self.as_ or self.negate else None
        if self.column is not None:
            yield Reference(place=place, column=self.column, types=TEXT if self.map is not None else arithmetic)
        for name in self.sum or ():
            yield Reference(place=f"{place}.sum", column=name, types=NUMERIC)
        for name in placeholders(self.template or ""):
            yield Reference(place=f"{place}.template", column=name)
        for key, part in (self.list or {}).items():
            yield from part.references(f"{place}.list.{key}")

    def value_type(self, columns: dict[str, ColumnConfig]) -> ValueType:
        """The type this gives, with `columns` as declared."""
        if self.as_ is not None:
            return "money"
        if self.count is not None:
            return "integer"
        if self.list is not None:
            return "list"
        if self.sum is not None:
            return "integer" if all(columns[name].type == "integer" for name in self.sum) else "decimal"
        if self.constant is not None:
            return _constant_type(self.constant)
        if self.column is None or self.map is not None:
            return "string"
        kind = columns[self.column].type
        return "string" if kind == "id" else kind


def _constant_type(value: Constant) -> ValueType:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    return "integer" if isinstance(value, int) else "decimal"


class Choice(ConfigModel):
    """A name taken from a column: as it stands, or through `map` (and `otherwise` for the rest)."""

    column: str
    map: ValueMap | None = None
    otherwise: str | None = None

    def names(self) -> tuple[str, ...] | None:
        """All names this can give; None where the column itself holds them."""
        if self.map is None:
            return None
        return (*self.map.values(), *((self.otherwise,) if self.otherwise else ()))
