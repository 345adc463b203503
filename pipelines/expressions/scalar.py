"""A tree as a chain of closures over the scope of one customer."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias

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
    Value,
)

Scope: TypeAlias = Mapping[str, Value]
Evaluated: TypeAlias = Callable[[Scope], Any]

COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
ARITHMETIC: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv
}  # fmt: skip


def evaluated(node: Node) -> Evaluated:
    """What gives the node's value in a scope: bool, float, str, or None where it is unknown."""
    match node:
        case Constant(value):
            return lambda scope: value
        case Name():
            return _name(node)
        case Not(operand):
            return _negated(evaluated(operand))
        case Logic(word, operands):
            return _decided_by(word == "or", tuple(evaluated(operand) for operand in operands))
        case Compare(symbol, left, right):
            return _both_known(COMPARE[symbol], evaluated(left), evaluated(right))
        case OneOf(operand, choices):
            return _one_of(evaluated(operand), frozenset(choices))
        case IsEmpty(operand):
            inner = evaluated(operand)
            return lambda scope: inner(scope) is None
        case Arithmetic(symbol, left, right):
            return _calculated(ARITHMETIC[symbol], evaluated(left), evaluated(right))
        case Negative(operand):
            return _of_known(operator.neg, evaluated(operand))
        case Call("abs", (operand,)):
            return _of_known(abs, evaluated(operand))
        case Call("coalesce", arguments):
            return _first_known(tuple(evaluated(argument) for argument in arguments))
        case Call(function, arguments):
            return _extreme(min if function == "min" else max, tuple(evaluated(argument) for argument in arguments))


def _name(node: Name) -> Evaluated:
    name = node.name
    if node.kind == "number":

        def number(scope: Scope) -> float | None:
            found = scope.get(name)
            if found is None:
                return None
            if isinstance(found, str):
                raise TypeError(f"{name}: expected a number, got text")
            as_float = float(found)
            return as_float if isfinite(as_float) else None

        return number
    expected = bool if node.kind == "boolean" else str

    def other(scope: Scope) -> Value:
        found = scope.get(name)
        if found is not None and not isinstance(found, expected):
            raise TypeError(f"{name}: expected a {node.kind}, got {type(found).__name__}")
        return found

    return other


def _negated(inner: Evaluated) -> Evaluated:
    def negated(scope: Scope) -> bool | None:
        found = inner(scope)
        return None if found is None else not found

    return negated


def _decided_by(decisive: bool, parts: tuple[Evaluated, ...]) -> Evaluated:
    """`or` is decided by one True, `and` by one False; else it is unknown where one is."""

    def decided(scope: Scope) -> bool | None:
        unknown = False
        for part in parts:
            found = part(scope)
            if found is decisive:
                return decisive
            unknown = unknown or found is None
        return None if unknown else not decisive

    return decided


def _both_known(compare: Callable[[Any, Any], Any], left: Evaluated, right: Evaluated) -> Evaluated:
    def compared(scope: Scope) -> Any:
        first = left(scope)
        if first is None:
            return None
        second = right(scope)
        return None if second is None else compare(first, second)

    return compared


def _calculated(calculate: Callable[[Any, Any], Any], left: Evaluated, right: Evaluated) -> Evaluated:
    """Unknown where a side is, and where the result is no finite number."""
    divides = calculate is operator.truediv

    def calculated(scope: Scope) -> float | None:
        first, second = left(scope), right(scope)
        if first is None or second is None or (divides and second == 0.0):
            return None
        found: float = calculate(first, second)
        return found if isfinite(found) else None

    return calculated


def _one_of(inner: Evaluated, choices: frozenset[float | str]) -> Evaluated:
    def one_of(scope: Scope) -> bool | None:
        found = inner(scope)
        return None if found is None else found in choices

    return one_of


def _of_known(change: Callable[[Any], Any], inner: Evaluated) -> Evaluated:
    def changed(scope: Scope) -> Any:
        found = inner(scope)
        return None if found is None else change(found)

    return changed


def _first_known(parts: tuple[Evaluated, ...]) -> Evaluated:
    def first_known(scope: Scope) -> Any:
        for part in parts:
            found = part(scope)
            if found is not None:
                return found
        return None

    return first_known


def _extreme(choose: Callable[..., Any], parts: tuple[Evaluated, ...]) -> Evaluated:
    def extreme(scope: Scope) -> float | None:
        found = [part(scope) for part in parts]
        return None if None in found else choose(found)

    return extreme
