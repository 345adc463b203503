"""SQL of single values: expressions, choices and conditions of a mapping, over one row or one event."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from pipelines.ingest.folds import Fold
from pipelines.ingest.protection import Protection
from pipelines.ingest.quoting import case, joined, literal
from pipelines.ingest.rows import RowNames
from pipelines.settings.mapping import Choice, ColumnType, Condition, Expression, ValueType, placeholders
from pipelines.settings.sources import SourceConfig

# An amount of more minor units than this does not fit 64 bits.
_LARGEST_AMOUNT = 90_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Values:
    """Compiles what a mapping says about values. `decimals` says how many a currency has."""

    source: SourceConfig
    names: RowNames
    decimals: dict[str, int]
    protection: Protection

    def choice(self, value: str | Choice | None) -> str:
        """Name (VARCHAR) over one row; null where the row has none."""
        if value is None:
            return "CAST(NULL AS VARCHAR)"
        if isinstance(value, str):
            return literal(value)
        return _mapped(self.names.text(value.column), value.map, value.otherwise)

    def template(self, template: str) -> str:
        """Text over one row; null where one of its columns is empty."""
        parts: list[str] = []
        rest = template
        for column in placeholders(template):
            before, rest = rest.split("{" + column + "}", 1)
            parts += [literal(before)] if before else []
            parts.append(self.names.text(column))
        parts += [literal(rest)] if rest else []
        return "(" + " || ".join(parts) + ")" if parts else "CAST(NULL AS VARCHAR)"

    def condition(self, column: str, condition: Condition) -> str:
        """Boolean (or null) over one row."""
        text, value = self.names.text(column), self.names.value(column)
        tests = []
        if condition.equals is not None:
            tests.append(_equals(text, value, condition.equals, self.source.columns[column].type))
        if condition.one_of is not None:
            tests.append(f"{text} IN ({', '.join(map(literal, condition.one_of))})")
        if condition.not_in is not None:
            tests.append(f"{text} NOT IN ({', '.join(map(literal, condition.not_in))})")
        if condition.starts_with is not None:
            tests.append(f"starts_with({text}, {literal(condition.starts_with)})")
        if condition.less_than is not None:
            tests.append(f"{value} < {_number(condition.less_than)}")
        if condition.greater_than is not None:
            tests.append(f"{value} > {_number(condition.greater_than)}")
        if condition.empty is not None:
            tests.append(f"{text} IS {'' if condition.empty else 'NOT '}NULL")
        return "(" + " AND ".join(tests) + ")"

    def folded(self, name: str, expression: Expression, fold: Fold) -> str:
        """The expression of property `name` over the rows of one event. Money is not scaled yet (see `scaled`)."""
        if expression.sum is not None:
            sign = "-" if expression.negate else ""
            return f"{sign}{fold.total(' * '.join(self._factor(name, expression.sum) for name in expression.sum))}"
        if expression.count is not None:
            return f"CAST({fold.rows()} AS BIGINT)"
        if expression.list is not None:
            return fold.entries(self._entry(name, expression.list))
        return fold.first(self._single(expression))

    def scaled(self, expression: Expression, value: str, currency: str) -> str:
        """`value` in its final type: money in minor units of `currency`, sums of integers in 64 bits."""
        kind = expression.value_type(self.source.columns)
        if kind == "money":
            return self._minor_units(expression, value, currency)
        return f"TRY_CAST({value} AS BIGINT)" if kind == "integer" else value

    def _minor_units(self, expression: Expression, value: str, currency: str) -> str:
        """Rounded once, half away from zero (DuckDB's `round` of a DECIMAL)."""
        plain = expression.model_copy(update={"as_": None}).value_type(self.source.columns)
        exact = f"CAST({value} AS DECIMAL(38, 0))" if plain == "integer" else value
        used = self._currencies()
        branches = []
        for digits in sorted({self.decimals[name] for name in used}):
            these = ", ".join(literal(name) for name in used if self.decimals[name] == digits)
            amount = f"TRY_CAST(round({exact}, {digits}) * {10**digits} AS BIGINT)"
            branches.append((f"{currency} IN ({these}) AND abs({exact}) < {_LARGEST_AMOUNT}", amount))
        return case(branches, "CAST(NULL AS BIGINT)")

    def _currencies(self) -> tuple[str, ...]:
        currency = self.source.currency
        if currency is None:
            return ()
        names = (currency,) if isinstance(currency, str) else currency.names()
        return tuple(self.decimals) if names is None else tuple(dict.fromkeys(names))

    def _factor(self, name: str, factors: tuple[str, ...]) -> str:
        """DuckDB multiplies decimals of 18 digits in 64 bits; of 38 digits in 128, which no product fills."""
        value = self.names.value(name)
        scale = 0 if self.source.columns[name].type == "integer" else 8
        return f"CAST({value} AS DECIMAL(38, {scale}))" if len(factors) > 1 else value

    def _single(self, expression: Expression) -> str:
        """A column, a constant or a template over one row."""
        if expression.constant is not None:
            return literal(expression.constant)
        if expression.template is not None:
            return self.template(expression.template)
        column = str(expression.column)
        if expression.map is not None:
            return _mapped(self.names.text(column), expression.map, expression.otherwise)
        return f"-{self.names.value(column)}" if expression.negate else self.names.value(column)

    def property_field(self, parent: str, name: str, value: str, kind: ValueType) -> str:
        """`json_field` of a property of `parent`, protected where it names a person."""
        if not self.protection.identity.is_personal(parent, name):
            inside = self.protection.inside(name, value) if kind == "json" else value
            return json_field(name, inside, kind)
        protected = self.protection.text if kind == "string" else self.protection.json
        return json_field(name, protected(name, value if kind == "string" else _json(value, kind)), "string")

    def _entry(self, parent: str, parts: dict[str, Expression]) -> str:
        """One row as a JSON object of the list `parent`; what is empty is left out."""
        currency = self.choice(self.source.currency)
        fields = []
        for key, part in parts.items():
            value = self.scaled(part, self._single(part), currency)
            fields.append(self.property_field(parent, key, value, part.value_type(self.source.columns)))
        return json_object(fields)


def json_object(fields: list[str]) -> str:
    """JSON text of an object of `json_field`s; a field that is null is left out."""
    return f"('{{' || coalesce({joined(fields, ',')}, '') || '}}')"


def json_field(key: str, value: str, kind: ValueType) -> str:
    """`"key":value` as JSON text; null where the value is null."""
    return f"({literal(_json_key(key))} || {_json(value, kind)})"


def _json_key(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}":'


def _json(value: str, kind: ValueType) -> str:
    if kind == "string":
        return f"CAST(to_json({value}) AS VARCHAR)"
    if kind == "decimal":
        return f"regexp_replace(CAST(CAST({value} AS DECIMAL(38, 8)) AS VARCHAR), '\\.?0+$', '')"
    if kind == "timestamp":
        return f"""('"' || strftime(timezone('UTC', {value}), '%Y-%m-%dT%H:%M:%S.%fZ') || '"')"""
    if kind == "list":
        return f"('[' || {value} || ']')"
    return value if kind == "json" else f"CAST({value} AS VARCHAR)"


def _mapped(text: str, table: dict[str, str] | None, otherwise: str | None) -> str:
    if table is None:
        return text
    branches = [(f"{text} = {literal(key)}", literal(name)) for key, name in table.items()]
    if otherwise is not None:
        branches.append((f"{text} IS NOT NULL", literal(otherwise)))
    return case(branches, "CAST(NULL AS VARCHAR)")


def _equals(text: str, value: str, wanted: bool | int | Decimal | str, kind: ColumnType) -> str:
    if kind in ("integer", "decimal") and not isinstance(wanted, str):
        return f"{value} = {_number(Decimal(wanted))}"
    if kind == "boolean":
        yes = wanted if isinstance(wanted, bool) else str(wanted).lower() in ("true", "yes", "1")
        return f"{value} = {literal(yes)}"
    return f"{text} = {literal(str(wanted).lower() if isinstance(wanted, bool) else str(wanted))}"


def _number(value: Decimal) -> str:
    return f"CAST('{value:f}' AS DECIMAL(28, 8))"
