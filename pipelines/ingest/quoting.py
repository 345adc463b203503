"""Put names and values of a mapping into SQL text safely."""

from __future__ import annotations

from decimal import Decimal


def literal(value: str | int | bool | Decimal) -> str:
    """A SQL literal of the value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"CAST('{value:f}' AS DECIMAL(18, 8))"
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def json_pointer(path: tuple[str, ...]) -> str:
    """RFC 6901 pointer to the value at `path`."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def joined(parts: list[str], separator: str) -> str:
    """SQL that joins the texts that are not null; null where all are."""
    if not parts:
        return "CAST(NULL AS VARCHAR)"
    return f"nullif(concat_ws({literal(separator)}, {', '.join(parts)}), '')"


def case(branches: list[tuple[str, str]], otherwise: str = "NULL") -> str:
    """`CASE WHEN ... THEN ... ELSE ... END`; without branches `otherwise`."""
    if not branches:
        return otherwise
    whens = " ".join(f"WHEN {condition} THEN {value}" for condition, value in branches)
    return f"CASE {whens} ELSE {otherwise} END"
