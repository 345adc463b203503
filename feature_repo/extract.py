"""What a measure or a condition reads of one event, stated twice: for Python and as SQL, held equal by tests.

An integer is a JSON integer of at most `LARGEST` in size, so that no sum of a customer's events leaves
int64; a text is a JSON string. Anything else, a fraction or a number in quotes included, counts as
empty: nothing is rounded or parsed on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.spec import COLUMN_MEASURES, Condition, Measure
from feature_repo.windows import DAY, HOUR, day_of

LARGEST = 10**12

# The columns that measures and conditions may read, derived ones included.
Columns = Mapping[str, Any]


def columns_of(event_time: int, channel: str, value: int | None, utc_offset: int) -> dict[str, Any]:
    """The columns of an event: `event_time` is microseconds UTC, `utc_offset` microseconds."""
    day = day_of(event_time, utc_offset)
    hour = (event_time + utc_offset - day * DAY) // HOUR
    # 1 January 1970 was a Thursday.
    return {"value": value, "channel": channel, "hour": hour, "weekday": (day + 3) % 7 + 1}


def columns_sql(utc_offset: int) -> str:
    """SQL for the derived columns of `columns_of`, over `event_time`."""
    local = f"(event_time + {utc_offset})"
    of_day = f"(({local} % {DAY} + {DAY}) % {DAY})"
    return (
        f"CAST({of_day} // {HOUR} AS BIGINT) AS hour, "
        f"CAST(((({local} - {of_day}) // {DAY} + 3) % 7 + 7) % 7 + 1 AS BIGINT) AS weekday"
    )


def integer_of(measure: Measure, columns: Columns, properties: Mapping[str, Any]) -> int | None:
    """The value of an integer measure, or None."""
    return whole_number(_lookup(measure.path, columns, properties))


def texts_of(measure: Measure, columns: Columns, properties: Mapping[str, Any]) -> list[str]:
    """The values of a text measure: none, one, or one for each object of a list."""
    if "[]." in measure.path:
        key, inner = _key(measure.path).split("[].")
        items = properties.get(key)
        found = [item.get(inner) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    else:
        found = [_lookup(measure.path, columns, properties)]
    return [value for value in found if isinstance(value, str)]


def holds(condition: Condition, columns: Columns, properties: Mapping[str, Any]) -> bool:
    """Whether an event meets `condition`. What is missing is like nothing but `missing` and `is_not`."""
    found = _lookup(condition.path, columns, properties)
    if condition.test == "exists":
        return found is not None
    if condition.test == "missing":
        return found is None
    if condition.test in ("is", "is_not"):
        return _is_one_of(found, condition) == (condition.test == "is")
    number = whole_number(found)
    if number is None:
        return False
    bound = condition.integers[0]
    if condition.test == "at_least":
        return number >= bound
    if condition.test == "at_most":
        return number <= bound
    return number > bound if condition.test == "above" else number < bound


def _is_one_of(found: Any, condition: Condition) -> bool:
    if isinstance(found, str):
        return found in condition.texts
    if isinstance(found, bool):
        return found in condition.booleans
    number = whole_number(found)
    return number is not None and number in condition.integers


def whole_number(found: Any) -> int | None:
    """`found` where it is a whole number that counts, else None."""
    return found if type(found) is int and -LARGEST <= found <= LARGEST else None


def _lookup(path: str, columns: Columns, properties: Mapping[str, Any]) -> Any:
    return columns[path] if path in COLUMN_MEASURES else properties.get(_key(path))


def integer_sql(path: str) -> str:
    """SQL (DuckDB) for the integer at `path` over the columns of `customer_events`: BIGINT or NULL."""
    if COLUMN_MEASURES.get(path) == "text":
        return "CAST(NULL AS BIGINT)"
    if path in COLUMN_MEASURES:
        return f"CASE WHEN {path} BETWEEN -{LARGEST} AND {LARGEST} THEN {path} END"
    # Every whole number within the bounds is of at most 13 digits, so that the cast cannot fail.
    whole = f"json_type(properties, {_json_path(path)}) IN ('BIGINT', 'UBIGINT')"
    number = f"TRY_CAST(json_extract_string(properties, {_json_path(path)}) AS BIGINT)"
    return f"CASE WHEN {whole} AND {number} BETWEEN -{LARGEST} AND {LARGEST} THEN {number} END"


def text_sql(path: str) -> str:
    """SQL (DuckDB) for the one text at `path`: VARCHAR or NULL."""
    if path in COLUMN_MEASURES:
        return path if COLUMN_MEASURES[path] == "text" else "CAST(NULL AS VARCHAR)"
    text = f"json_type(properties, {_json_path(path)}) = 'VARCHAR'"
    return f"CASE WHEN {text} THEN json_extract_string(properties, {_json_path(path)}) END"


def texts_sql(path: str) -> str:
    """SQL (DuckDB) for all texts at `path`: VARCHAR[]."""
    if "[]." in path:
        inside = _json_path(path)
        strings = f"list_filter(json_extract(properties, {inside}), lambda item: json_type(item) = 'VARCHAR')"
        return f"list_transform({strings}, lambda item: json_extract_string(item, '$'))"
    return f"list_filter([{text_sql(path)}], lambda item: item IS NOT NULL)"


def condition_sql(condition: Condition) -> str:
    """SQL (DuckDB) for a condition: TRUE or FALSE, never NULL."""
    path = condition.path
    if condition.test in ("exists", "missing"):
        return _exists_sql(path) if condition.test == "exists" else f"NOT {_exists_sql(path)}"
    if condition.test in ("is", "is_not"):
        return _is_sql(condition) if condition.test == "is" else f"NOT {_is_sql(condition)}"
    sign = {"at_least": ">=", "at_most": "<=", "above": ">", "below": "<"}[condition.test]
    return f"coalesce({integer_sql(path)} {sign} {condition.integers[0]}, FALSE)"


def _is_sql(condition: Condition) -> str:
    ways = []
    if condition.texts:
        ways.append(f"{text_sql(condition.path)} IN ({', '.join(map(literal, condition.texts))})")
    if condition.integers:
        ways.append(f"{integer_sql(condition.path)} IN ({', '.join(map(str, condition.integers))})")
    if condition.booleans and condition.path not in COLUMN_MEASURES:
        boolean = f"json_type(properties, {_json_path(condition.path)}) = 'BOOLEAN'"
        found = f"json_extract_string(properties, {_json_path(condition.path)})"
        wanted = ", ".join(literal(str(value).lower()) for value in condition.booleans)
        ways.append(f"({boolean} AND {found} IN ({wanted}))")
    return "(" + " OR ".join(f"coalesce({way}, FALSE)" for way in ways or ["FALSE"]) + ")"


def _exists_sql(path: str) -> str:
    if path in COLUMN_MEASURES:
        return f"({path} IS NOT NULL)"
    return f"coalesce(json_type(properties, {_json_path(path)}) <> 'NULL', FALSE)"


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _json_path(path: str) -> str:
    return f"'$.{_key(path).replace('[].', '[*].')}'"


def _key(path: str) -> str:
    return path.removeprefix("properties.")
