"""What an expression is once it is parsed: a small tree, from which both ways of evaluating it are made.

Trees are shared: a rule that is used in two places stands in both by reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["boolean", "number", "text"]
# None is unknown, as an empty feature is.
Value: TypeAlias = bool | int | float | str | None
Comparison: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Operation: TypeAlias = Literal["+", "-", "*", "/"]
Function: TypeAlias = Literal["min", "max", "abs", "coalesce"]


@dataclass(frozen=True, slots=True)
class Constant:
    """True or False, text, or a number, which is a float."""

    value: bool | float | str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Name:
    """What the scope has under `name`. `kind` is None where a mistake was made and told elsewhere.

    `choices` are all texts that it can be, where they are known.
    """

    name: str
    kind: Kind | None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node


@dataclass(frozen=True, slots=True)
class Logic:
    operator: Literal["and", "or"]
    operands: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Comparison
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class OneOf:
    operand: Node
    choices: tuple[float | str, ...]


@dataclass(frozen=True, slots=True)
class IsEmpty:
    operand: Node


@dataclass(frozen=True, slots=True)
class Arithmetic:
    operator: Operation
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Node


@dataclass(frozen=True, slots=True)
class Call:
    function: Function
    arguments: tuple[Node, ...]


Node: TypeAlias = Constant | Name | Not | Logic | Compare | OneOf | IsEmpty | Arithmetic | Negative | Call


def kind_of(node: Node) -> Kind | None:
    """What comes out; None where a mistake keeps it from being known."""
    match node:
        case Constant() | Name():
            return node.kind
        case Arithmetic() | Negative():
            return "number"
        case Call(function, arguments):
            kinds = [kind_of(argument) for argument in arguments]
            return "number" if function != "coalesce" else next((kind for kind in kinds if kind), None)
        case _:
            return "boolean"


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Constant() | Name():
            return ()
        case Logic():
            return node.operands
        case Call():
            return node.arguments
        case Compare() | Arithmetic():
            return (node.left, node.right)
        case _:
            return (node.operand,)


def names_of(node: Node) -> tuple[str, ...]:
    """Names that are read, each once, in the order of the tree."""
    return tuple(dict.fromkeys(part.name for part in _parts(node) if isinstance(part, Name)))


def _parts(node: Node) -> Iterator[Node]:
    yield node
    for child in children(node):
        yield from _parts(child)


def measure(node: Node) -> tuple[int, int]:
    """How many nodes the tree has, written out, and how deep it is."""
    return _measure(node, {})


def _measure(node: Node, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """`known` is by identity, so that shared parts are looked at once however often they are used."""
    if id(node) not in known:
        inner = [_measure(child, known) for child in children(node)]
        known[id(node)] = (1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0))
    return known[id(node)]
