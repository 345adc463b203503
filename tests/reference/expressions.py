"""The oracle of expressions: Python's tree walked for each value, SQL's logic as tables, no kinds and no closures."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from functools import reduce
from typing import Any

T, F, U = True, False, None
AND = {(T, T): T, (T, F): F, (T, U): U, (F, T): F, (F, F): F, (F, U): F, (U, T): U, (U, F): F, (U, U): U}
OR = {(T, T): T, (T, F): T, (T, U): T, (F, T): T, (F, F): F, (F, U): U, (U, T): T, (U, F): U, (U, U): U}
NOT = {T: F, F: T, U: U}


def naive_value(text: str, scope: Mapping[str, Any]) -> Any:
    """What `text` is in `scope`; it must be free of mistakes."""
    return _value(ast.parse(text, mode="eval").body, scope)


def _value(part: ast.expr, scope: Mapping[str, Any]) -> Any:
    match part:
        case ast.Constant(value):
            return float(value) if type(value) is int else value
        case ast.Name(name):
            return {"true": True, "false": False}[name] if name in ("true", "false") else _finite(scope.get(name))
        case ast.Attribute(ast.Name(first), second):
            return scope.get(f"{first}.{second}")
        case ast.BoolOp(operator, parts):
            table = AND if isinstance(operator, ast.And) else OR
            return reduce(lambda one, other: table[one, other], [_value(inner, scope) for inner in parts])
        case ast.UnaryOp(ast.Not(), inner):
            return NOT[_value(inner, scope)]
        case ast.UnaryOp(ast.USub(), inner):
            value = _value(inner, scope)
            return None if value is None else -value
        case ast.BinOp(left, operator, right):
            return _calculated(type(operator), _value(left, scope), _value(right, scope))
        case ast.Compare(left, operators, others):
            sides = [left, *others]
            found = [_compared(op, sides[i], sides[i + 1], scope) for i, op in enumerate(operators)]
            return reduce(lambda one, other: AND[one, other], found)
        case ast.Call(ast.Name(function), arguments):
            return _called(function, [_value(inner, scope) for inner in arguments])
    raise AssertionError(ast.dump(part))


def _finite(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return value


def _calculated(operator: type[ast.operator], one: float | None, other: float | None) -> float | None:
    if one is None or other is None or (operator is ast.Div and other == 0):
        return None
    if operator is ast.Div:
        return _finite(one / other)
    return _finite({ast.Add: one + other, ast.Sub: one - other, ast.Mult: one * other}[operator])


def _compared(operator: ast.cmpop, left: ast.expr, right: ast.expr, scope: Mapping[str, Any]) -> bool | None:
    one = _value(left, scope)
    if isinstance(operator, ast.Is):
        return one is None
    if isinstance(operator, ast.IsNot):
        return one is not None
    if isinstance(operator, ast.In | ast.NotIn):
        assert isinstance(right, ast.List | ast.Tuple)
        return (
            None
            if one is None
            else (one in [_value(each, scope) for each in right.elts]) ^ isinstance(operator, ast.NotIn)
        )
    other = _value(right, scope)
    if one is None or other is None:
        return None
    if isinstance(operator, ast.Eq | ast.NotEq):
        return (one == other) ^ isinstance(operator, ast.NotEq)
    return {ast.Lt: one < other, ast.LtE: one <= other, ast.Gt: one > other, ast.GtE: one >= other}[type(operator)]


def _called(function: str, values: list[Any]) -> Any:
    if function == "coalesce":
        return next((value for value in values if value is not None), None)
    if None in values:
        return None
    return {"min": min, "max": max, "abs": lambda found: abs(found[0])}[function](values)
