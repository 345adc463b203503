"""A tree over columns of many customers: the same answers as `scalar`, by numpy.

A column is its values, shape (rows,), and which of them are known, bool (rows,). Values that are not known say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.expressions.scalar import ARITHMETIC, COMPARE
from pipelines.expressions.tree import (
    Arithmetic,
    Call,
    Compare,
    Constant,
    IsEmpty,
    Logic,
    Name,
    Negative,
    Node,
    Not,
    OneOf,
    kind_of,
)

Columns: TypeAlias = Mapping[str, NDArray[Any]]
Column: TypeAlias = tuple[NDArray[Any], NDArray[np.bool_]]

_EMPTY: Mapping[str | None, Any] = {"boolean": False, "number": 0.0, "text": ""}
_TYPE: Mapping[str | None, Any] = {"boolean": np.bool_, "number": np.float64, "text": object}


def column_of(node: Node, scope: Columns, rows: int) -> Column:
    """Raises ValueError where a column of the scope has another shape than (rows,)."""
    match node:
        case Constant(value, kind):
            return np.full(rows, value, dtype=_TYPE[kind]), np.ones(rows, dtype=bool)
        case Name():
            return _name(node, scope, rows)
        case Not(operand):
            values, known = column_of(operand, scope, rows)
            return ~values, known
        case Logic(word, operands):
            return _logic(word == "or", [column_of(operand, scope, rows) for operand in operands])
        case Compare(symbol, left, right):
            (first, one), (second, other) = column_of(left, scope, rows), column_of(right, scope, rows)
            return np.asarray(COMPARE[symbol](first, second), dtype=bool), one & other
        case OneOf(operand, choices):
            values, known = column_of(operand, scope, rows)
            hits = [np.asarray(values == choice, dtype=bool) for choice in choices]
            return np.logical_or.reduce(hits), known
        case IsEmpty(operand):
            return ~column_of(operand, scope, rows)[1], np.ones(rows, dtype=bool)
        case Arithmetic(symbol, left, right):
            return _arithmetic(symbol, column_of(left, scope, rows), column_of(right, scope, rows))
        case Negative(operand):
            values, known = column_of(operand, scope, rows)
            return -values, known
        case Call("abs", (operand,)):
            values, known = column_of(operand, scope, rows)
            return np.abs(values), known
        case Call("coalesce", arguments):
            return _first_known([column_of(argument, scope, rows) for argument in arguments])
        case Call(function, arguments):
            return _extreme(function, [column_of(argument, scope, rows) for argument in arguments])


def _name(node: Name, scope: Columns, rows: int) -> Column:
    kind = kind_of(node)
    column = scope.get(node.name)
    if column is None:
        return np.full(rows, _EMPTY[kind], dtype=_TYPE[kind]), np.zeros(rows, dtype=bool)
    if column.shape != (rows,):
        raise ValueError(f"{node.name}: expected shape ({rows},), got {column.shape}")
    if column.dtype == object:
        known = np.not_equal(column, np.array(None, dtype=object)).astype(bool)
        values = np.where(known, column, _EMPTY[kind]).astype(_TYPE[kind])
    else:
        values, known = column.astype(_TYPE[kind]), np.ones(rows, dtype=bool)
    if kind == "number":
        known = known & np.isfinite(values)
        values = np.where(known, values, 0.0)
    return values, known


def _logic(decisive: bool, columns: list[Column]) -> Column:
    decided = np.zeros_like(columns[0][1])
    all_known = np.ones_like(columns[0][1])
    for values, known in columns:
        decided |= known & (values if decisive else ~values)
        all_known &= known
    return (decided if decisive else ~decided), decided | all_known


def _arithmetic(symbol: str, left: Column, right: Column) -> Column:
    with np.errstate(all="ignore"):
        values = ARITHMETIC[symbol](left[0], right[0])
    known = left[1] & right[1] & np.isfinite(values)
    return np.where(known, values, 0.0), known


def _first_known(columns: list[Column]) -> Column:
    values, known = columns[0]
    for more, more_known in columns[1:]:
        values, known = np.where(known, values, more), known | more_known
    return values, known


def _extreme(function: str, columns: list[Column]) -> Column:
    """The first of equal ones, as Python's, so that the sign of zero is the same too."""
    values, known = columns[0]
    for more, more_known in columns[1:]:
        better = more < values if function == "min" else more > values
        values, known = np.where(better, more, values), known & more_known
    return values, known
