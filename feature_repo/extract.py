"""What a measure reads of one event, stated twice: for Python and as SQL, held equal by tests.

An integer measure is a JSON integer within int64; a text measure is a JSON string. Anything else,
a fraction or a number in quotes included, counts as empty: nothing is rounded or parsed on the way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feature_repo.spec import COLUMN_MEASURES, Measure

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def integer_of(measure: Measure, columns: Mapping[str, Any], properties: Mapping[str, Any]) -> int | None:
    """The value of an integer measure, or None."""
    value = columns[measure.path] if measure.path in COLUMN_MEASURES else properties.get(_key(measure))
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return value
    return None


def texts_of(measure: Measure, columns: Mapping[str, Any], properties: Mapping[str, Any]) -> list[str]:
    """The values of a text measure: none, one, or one for each object of a list."""
    if measure.path in COLUMN_MEASURES:
        found: list[Any] = [columns[measure.path]]
    elif "[]." in measure.path:
        key, inner = _key(measure).split("[].")
        items = properties.get(key)
        found = [item.get(inner) for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    else:
        found = [properties.get(_key(measure))]
    return [value for value in found if isinstance(value, str)]


def integer_sql(measure: Measure) -> str:
    """SQL (DuckDB) for an integer measure over the columns of `customer_events`: BIGINT or NULL."""
    if measure.path in COLUMN_MEASURES:
        return measure.path
    path = f"'$.{_key(measure)}'"
    whole = f"json_type(properties, {path}) IN ('BIGINT', 'UBIGINT')"
    return f"CASE WHEN {whole} THEN TRY_CAST(json_extract_string(properties, {path}) AS BIGINT) END"


def texts_sql(measure: Measure) -> str:
    """SQL (DuckDB) for a text measure over the columns of `customer_events`: VARCHAR[]."""
    if measure.path in COLUMN_MEASURES:
        return f"[{measure.path}]"
    path = _key(measure).replace("[].", "[*].")
    if "[*]" in path:
        strings = f"list_filter(json_extract(properties, '$.{path}'), lambda item: json_type(item) = 'VARCHAR')"
        return f"list_transform({strings}, lambda item: json_extract_string(item, '$'))"
    text = f"json_type(properties, '$.{path}') = 'VARCHAR'"
    return f"CASE WHEN {text} THEN [json_extract_string(properties, '$.{path}')] ELSE [] END"


def _key(measure: Measure) -> str:
    return measure.path.removeprefix("properties.")
