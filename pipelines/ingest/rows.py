"""SQL of single rows: text of the file to typed columns, with a reason for each that does not fit."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.ingest.layout import Layout
from pipelines.ingest.quoting import case, joined, json_pointer, literal
from pipelines.settings.mapping import TEXT, ColumnConfig, placeholders
from pipelines.settings.sources import SourceConfig

# Between two reasons of one row; a character that no reason holds.
REASON_SEPARATOR = "\x1f"

_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_LOCAL = _DATE + r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)?"
_WITH_OFFSET = _DATE + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_DECIMAL = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"
_EPOCH_UNITS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}
# To the year 5138; longer numbers are in another unit than declared.
_EPOCH_DIGITS = {"epoch_seconds": 11, "epoch_milliseconds": 14}

# What other programs can hold: no year 0, and room for delays before the year 10000.
_EARLIEST, _LATEST = "TIMESTAMPTZ '0001-01-02 00:00:00+00'", "TIMESTAMPTZ '9000-01-01 00:00:00+00'"

_NAMED = {
    "integer": "an integer",
    "decimal": "a number",
    "timestamp": "a time",
    "boolean": "true or false",
    "json": "a JSON array or object",
}


@dataclass(frozen=True, slots=True)
class RowNames:
    """Names that a declared column has in the table of typed rows: its text, and its value."""

    columns: tuple[str, ...]
    # Columns whose value is their text.
    plain: frozenset[str] = frozenset()

    def text(self, column: str) -> str:
        return f"t{self.columns.index(column)}"

    def value(self, column: str) -> str:
        return f"{'t' if column in self.plain else 'v'}{self.columns.index(column)}"


def names_of(source: SourceConfig) -> RowNames:
    """The names of a source's declared columns."""
    plain = frozenset(name for name, column in source.columns.items() if column.type in TEXT)
    return RowNames(tuple(source.columns), plain)


def raw_insert_sql(source: SourceConfig, layout: Layout) -> str:
    """Fill table `raw` (row, fault, text, and the columns of the file as text) from the relation `chunk`."""
    if layout.format.type != "jsonl":
        return f"INSERT INTO raw SELECT row, fault, text, {_as_text(layout)} FROM chunk"
    pointers = [literal(json_pointer(_path(name, column))) for name, column in source.columns.items()]
    parts = ", ".join(f"parts[{number}]" for number in range(1, len(pointers) + 1))
    return f"""
        WITH told AS (
            SELECT row, text, coalesce(fault, CASE WHEN json_valid(text) AND json_type(text) = 'OBJECT' THEN NULL
                                                   ELSE 'not a JSON object' END) AS fault
            FROM chunk
        ), split AS (
            SELECT row, fault, text,
                   CASE WHEN fault IS NULL THEN json_extract_string(text, [{", ".join(pointers)}]) END AS parts
            FROM told
        )
        INSERT INTO raw SELECT row, fault, text, {parts} FROM split
    """


def raw_columns(source: SourceConfig, layout: Layout) -> tuple[str, ...]:
    """Columns of table `raw` after row, fault and text: those of the file; of JSON lines those declared."""
    return tuple(f"c{n}" for n in range(len(source.columns))) if layout.format.type == "jsonl" else layout.columns


def typed_sql(source: SourceConfig, layout: Layout) -> str:
    """Table `typed`: row, reasons (null where the row is good), and text and value of each declared column."""
    names = names_of(source)
    texts = [f"{_text(source, layout, name)} AS {names.text(name)}" for name in source.columns]
    values = [
        f", {_value(column, names.text(name), source)} AS {names.value(name)}"
        for name, column in source.columns.items()
        if name not in names.plain
    ]
    reasons = [_reason(name, column, names, needed=name in _needed(source)) for name, column in source.columns.items()]
    return f"""
        CREATE TABLE typed AS
        WITH texts AS (SELECT row, fault, {", ".join(texts)} FROM raw),
             valued AS (SELECT *{"".join(values)} FROM texts)
        SELECT * EXCLUDE (fault), coalesce(fault, {joined(reasons, REASON_SEPARATOR)}) AS reasons FROM valued
    """


def _as_text(layout: Layout) -> str:
    return ", ".join(f"CAST({name} AS VARCHAR)" for name in layout.columns)


def _path(name: str, column: ColumnConfig) -> tuple[str, ...]:
    return tuple(column.path.split(".")) if column.path else (name,)


def _needed(source: SourceConfig) -> set[str]:
    """Columns without which there is no event, whatever they are declared as."""
    arrival = source.arrival.column if source.arrival and source.arrival.column else source.time.column
    declared = {name for name, column in source.columns.items() if column.required}
    return {*declared, *placeholders(source.event_id), source.time.column, arrival}


def _text(source: SourceConfig, layout: Layout, name: str) -> str:
    column = source.columns[name]
    if column.column is not None and column.map is not None:
        given = _text(source, layout, column.column)
        return case([(f"{given} = {literal(key)}", literal(text)) for key, text in column.map.items()])
    place = list(source.columns).index(name) if layout.format.type == "jsonl" else layout.header.index(name)
    text = f"nullif(trim(c{place}, E' \\t\\r\\n'), '')"
    return f"regexp_replace({text}, '^([0-9]+)\\.0+$', '\\1')" if column.type == "id" else text


def _value(column: ColumnConfig, text: str, source: SourceConfig) -> str:
    if column.type == "integer":
        whole = rf"regexp_full_match({text}, '[+-]?[0-9]{{1,18}}(\.0*)?')"
        return case([(whole, f"TRY_CAST(regexp_replace({text}, '\\..*$', '') AS BIGINT)")])
    if column.type == "decimal":
        return case([(f"regexp_full_match({text}, '{_DECIMAL}')", f"TRY_CAST({text} AS DECIMAL(18, 8))")])
    if column.type == "timestamp":
        instant = _timestamp(column, text, literal(source.timezone))
        return case([(f"{instant} BETWEEN {_EARLIEST} AND {_LATEST}", instant)])
    if column.type == "boolean":
        low = f"lower({text})"
        return case([(f"{low} IN ('true', 'yes', '1')", "true"), (f"{low} IN ('false', 'no', '0')", "false")])
    kind = f"CASE WHEN json_valid({text}) THEN json_type({text}) END IN ('ARRAY', 'OBJECT')"
    return case([(kind, f"CAST(json({text}) AS VARCHAR)")])


def _timestamp(column: ColumnConfig, text: str, zone: str) -> str:
    """Instant of a time; one without an offset is local time in `zone`."""
    form = column.time_format
    if form is None:
        return case(
            [
                (f"regexp_full_match({text}, '{_WITH_OFFSET}')", f"TRY_CAST({text} AS TIMESTAMPTZ)"),
                (f"regexp_full_match({text}, '{_LOCAL}')", f"timezone({zone}, TRY_CAST({text} AS TIMESTAMP))"),
            ]
        )
    if form in _EPOCH_UNITS:
        known = f"regexp_full_match({text}, '[0-9]{{1,{_EPOCH_DIGITS[form]}}}([.][0-9]+)?')"
        scaled = f"round(TRY_CAST({text} AS DECIMAL(24, 6)) * {_EPOCH_UNITS[form]}, 0)"
        return case([(known, f"make_timestamptz(CAST({scaled} AS BIGINT))")])
    # DuckDB takes the words infinity and epoch for times, whatever the format.
    parsed = case([(f"regexp_matches({text}, '[0-9]')", f"try_strptime({text}, {literal(form)})")])
    return parsed if "%z" in form or "%Z" in form else f"timezone({zone}, {parsed})"


def _reason(name: str, column: ColumnConfig, names: RowNames, needed: bool) -> str:
    """Why the column makes its row a bad one; null where it does not."""
    branches = [(f"{names.text(name)} IS NULL", literal(f"{name} is empty"))] if needed else []
    if name not in names.plain:
        wrong = f"{names.value(name)} IS NULL AND {names.text(name)} IS NOT NULL"
        branches.append((wrong, literal(f"{name} is not {_NAMED[column.type]}")))
    return case(branches, "CAST(NULL AS VARCHAR)")
