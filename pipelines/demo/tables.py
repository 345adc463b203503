"""Columns that grow day by day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]


def number_rows(day: int, columns: Mapping[str, NDArray[Any]]) -> Columns:
    """The columns with `number`: unique over all days, and the same whenever the day is drawn again."""
    count = len(next(iter(columns.values())))
    return {"number": day * 10**7 + np.arange(count, dtype=np.int64), **columns}


def stack(parts: Iterable[Columns]) -> Columns:
    """All days' columns, one below the other.

    Raises:
        ValueError: there is no part, or the parts differ in their columns.
    """
    listed = list(parts)
    if not listed or any(part.keys() != listed[0].keys() for part in listed):
        raise ValueError("at least one part, all with the same columns")
    return {name: np.concatenate([part[name] for part in listed]) for name in listed[0]}


def pick(columns: Columns, rows: NDArray[Any]) -> Columns:
    """The rows given by indices or flags."""
    return {name: values[rows] for name, values in columns.items()}


def look_up(values: NDArray[Any], rows: NDArray[np.int64], otherwise: int = 0) -> NDArray[Any]:
    """`values[rows]`, and `otherwise` where the row is -1; also where there are no values at all."""
    return np.concatenate([values, np.full((1, *values.shape[1:]), otherwise, dtype=values.dtype)])[rows]
