"""Quotients of whole numbers that may leave 64 bits: one rule for Python and SQL, so that all bits agree."""

from __future__ import annotations

from math import sqrt

# A double holds whole numbers up to here exactly.
_EXACT = 2**53
_INT64_END = 2**63


def variance(n: int, total: int, squares: int) -> float | None:
    """Sample variance of n whole numbers with this sum and sum of squares.

    (n S2 - S1^2) / (n (n - 1)), its numerator exact; empty below two numbers, and where the numerator
    reaches 2^116.
    """
    if n < 2:
        return None
    top = wide_float(n * squares - total * total)
    return None if top is None else top / float(n * (n - 1))


def deviation(n: int, total: int, squares: int) -> float | None:
    """Sample standard deviation, the root of `variance`."""
    found = variance(n, total, squares)
    return None if found is None else sqrt(found)


def wide_float(number: int) -> float | None:
    """A whole number from 0 on as a double: rounded once below 2^106, None from 2^116 on."""
    high, low = divmod(number, _EXACT)
    return float(high) * float(_EXACT) + float(low) if high < _INT64_END else None


def variance_sql(n: str, total: str, squares: str) -> str:
    """`variance` as SQL (DuckDB); `total` and `squares` are HUGEINT."""
    top = f"({n} * {squares} - {total} * {total})"
    high, low = f"TRY_CAST({top} // {_EXACT} AS BIGINT)", f"CAST({top} % {_EXACT} AS BIGINT)"
    wide = f"(CAST({high} AS DOUBLE) * CAST({_EXACT} AS DOUBLE) + CAST({low} AS DOUBLE))"
    return f"CASE WHEN {n} > 1 THEN {wide} / CAST({n} * ({n} - 1) AS DOUBLE) END"
