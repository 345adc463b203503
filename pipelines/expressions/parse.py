"""From text to a checked tree, by Python's own grammar; only what is listed here may stand in an expression.

Nothing is ever evaluated by Python: `ast.parse` reads, and each node that is known becomes one of `tree`.
"""

from __future__ import annotations

import ast
import difflib
import io
import math
import tokenize
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.expressions.tree import (
    Arithmetic,
    Call,
    Compare,
    Comparison,
    Constant,
    Function,
    IsEmpty,
    Kind,
    Logic,
    Name,
    Negative,
    Node,
    Not,
    OneOf,
    Operation,
    kind_of,
    measure,
)

LONGEST: Final = 2000
DEEPEST: Final = 100
# Nodes, the rules that are used written out.
LARGEST: Final = 5000
# Whole numbers up to here are exact in float64.
LARGEST_INTEGER: Final = 2**53

_COMPARISONS: Final[dict[type[ast.cmpop], Comparison]] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="
}  # fmt: skip
_OPERATIONS: Final[dict[type[ast.operator], Operation]] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"
}  # fmt: skip
_ARGUMENTS: Final[dict[Function, tuple[int, int]]] = {
    "min": (2, 20),
    "max": (2, 20),
    "abs": (1, 1),
    "coalesce": (2, 20),
}
_WORDS: Final = {"true": True, "false": False}
_MISTAKEN: Final = Name("", None)
_ALLOWED: Final = "names, numbers, texts, and or not, comparisons, in [..], is None, + - * /, min max abs coalesce"


@dataclass(frozen=True, slots=True)
class Mistake:
    """`position` is the character it begins at, from 1."""

    expected: str
    got: str
    hint: str = ""
    position: int = 1


class ExpressionError(ValueError):
    """Everything that is wrong with one expression."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("; ".join(f"expected {m.expected}, got {m.got}" for m in self.mistakes))


def parse(text: str, names: Mapping[str, Node], kind: Kind | None = None) -> Node:
    """The tree of `text`. `names` say what each name stands for: a name of the scope, or a tree that it is short for.

    Raises:
        ExpressionError: with every mistake of the text; a result that is not of `kind` among them.
    """
    read = _read(text)
    parser = _Parser(text, names)
    node = parser.node(read, 1)
    found = kind_of(node)
    if kind and found and found != kind:
        parser.mistake(read, f"a {kind}", f"a {found}", "compare it with a number, such as > 0" * (kind == "boolean"))
    size, depth = measure(node)
    if not parser.mistakes and (size > LARGEST or depth > DEEPEST):
        parser.mistake(read, f"at most {LARGEST} parts, {DEEPEST} deep, rules written out", f"{size}, {depth} deep")
    if parser.mistakes:
        raise ExpressionError(dict.fromkeys(parser.mistakes))
    return node


def names_written(text: str) -> tuple[str, ...]:
    """Names as they stand in `text`, each once; none where it cannot be read."""
    try:
        read = _read(text)
    except ExpressionError:
        return ()
    found = [name for part in ast.walk(read) if (name := _dotted(part))]
    return tuple(dict.fromkeys(found))


def _read(text: str) -> ast.expr:
    """Raises ExpressionError where it is not of Python's grammar."""
    if len(text) > LONGEST:
        raise ExpressionError([Mistake(f"at most {LONGEST} characters", f"{len(text)}")])
    if not text.strip():
        raise ExpressionError([Mistake("an expression", "nothing")])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read = ast.parse(_one_line(text), mode="eval").body
    except SyntaxError as error:
        position = max(error.offset or 1, 1)
        near = _one_line(text)[position - 1 : position + 20] or "its end"
        raise ExpressionError([Mistake("an expression", f"{error.msg} at {near!r}", position=position)]) from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError([Mistake("an expression", "what cannot be read")]) from None
    _check_no_comment(_one_line(text))
    return read


def _check_no_comment(text: str) -> None:
    """Raises ExpressionError: lines are read as one, and a comment would take those after it along."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            hint = "YAML's own comments stand outside of the text"
            raise ExpressionError([Mistake("an expression", "a comment, #", hint, token.start[1] + 1)])


def _one_line(text: str) -> str:
    return text.strip().replace("\n", " ").replace("\r", " ")


def _dotted(part: ast.AST) -> str | None:
    """`a` or `a.b` as it is written; None for any other node."""
    if isinstance(part, ast.Name):
        return part.id
    if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
        return f"{part.value.id}.{part.attr}"
    return None


class _Parser:
    """Turns Python's nodes into ours; a mistake is noted, and `_MISTAKEN` stands in so that the rest is read too."""

    def __init__(self, text: str, names: Mapping[str, Node]) -> None:
        self._text = _one_line(text).encode()
        self._names = names
        self.mistakes: list[Mistake] = []

    def mistake(self, part: ast.expr, expected: str, got: str, hint: str = "") -> Node:
        # Python counts in bytes of UTF-8.
        position = len(self._text[: part.col_offset].decode(errors="ignore")) + 1
        self.mistakes.append(Mistake(expected, got, hint, position))
        return _MISTAKEN

    def node(self, part: ast.expr, depth: int) -> Node:
        if depth > DEEPEST:
            return self.mistake(part, f"at most {DEEPEST} deep", "deeper")
        match part:
            case ast.Constant(value):
                return self._constant(part, value)
            case ast.Name() | ast.Attribute():
                return self._name(part)
            case ast.BoolOp(operator, values):
                nodes = tuple(self._of(value, "boolean", depth) for value in values)
                return Logic("and" if isinstance(operator, ast.And) else "or", nodes)
            case ast.UnaryOp(ast.Not(), operand):
                return Not(self._of(operand, "boolean", depth))
            case ast.UnaryOp(ast.USub(), operand):
                return Negative(self._of(operand, "number", depth))
            case ast.BinOp(left, operation, right) if type(operation) in _OPERATIONS:
                sides = self._of(left, "number", depth), self._of(right, "number", depth)
                return Arithmetic(_OPERATIONS[type(operation)], *sides)
            case ast.Compare():
                return self._comparisons(part, depth)
            case ast.Call():
                return self._call(part, depth)
        return self.mistake(part, _ALLOWED, self._written(part))

    def _of(self, part: ast.expr, kind: Kind, depth: int) -> Node:
        node = self.node(part, depth + 1)
        found = kind_of(node)
        if found and found != kind:
            hint = "compare it, such as > 0" if kind == "boolean" else ""
            return self.mistake(part, f"a {kind}", f"a {found}: {self._written(part)}", hint)
        return node

    def _constant(self, part: ast.Constant, value: object) -> Node:
        match value:
            case bool():
                return Constant(value, "boolean")
            case str():
                return Constant(value, "text")
            case int() if value <= LARGEST_INTEGER:
                return Constant(float(value), "number")
            case float() if math.isfinite(value):
                return Constant(value, "number")
            case int() | float():
                return self.mistake(part, f"whole numbers up to {LARGEST_INTEGER}, or finite ones", "a larger one")
            case None:
                return self.mistake(part, "a value", "None", "x is None asks whether x is empty")
        return self.mistake(part, "a number, a text, True or False", self._written(part))

    def _name(self, part: ast.expr) -> Node:
        name = _dotted(part)
        if name is None:
            return self.mistake(part, _ALLOWED, self._written(part))
        if name in _WORDS:
            return Constant(_WORDS[name], "boolean")
        if name == "null":
            return self.mistake(part, "a value", "null", "x is None asks whether x is empty")
        if name in self._names:
            return self._names[name]
        near = difflib.get_close_matches(name, self._names, n=3, cutoff=0.6)
        hint = f"near: {', '.join(near)}" if near else ""
        return self.mistake(part, "a known name", f"{name!r}", hint)

    def _comparisons(self, part: ast.Compare, depth: int) -> Node:
        sides = [part.left, *part.comparators]
        pairs = zip(sides, part.ops, sides[1:], strict=False)
        nodes = tuple(self._comparison(part, left, operator, right, depth + 1) for left, operator, right in pairs)
        return nodes[0] if len(nodes) == 1 else Logic("and", nodes)

    def _comparison(self, whole: ast.expr, left: ast.expr, operator: ast.cmpop, right: ast.expr, depth: int) -> Node:
        first = self.node(left, depth + 1)
        if isinstance(operator, ast.Is | ast.IsNot):
            if not _is_none(right):
                return self.mistake(whole, "is None, or is not None", self._written(whole), "== compares")
            return IsEmpty(first) if isinstance(operator, ast.Is) else Not(IsEmpty(first))
        if isinstance(operator, ast.In | ast.NotIn):
            within = self._one_of(first, left, right)
            return within if isinstance(operator, ast.In) else Not(within)
        if _is_none(right) or _is_none(left):
            return self.mistake(whole, "is None, or is not None", self._written(whole), "== None is always unknown")
        second = self.node(right, depth + 1)
        kinds = kind_of(first), kind_of(second)
        if None not in kinds and kinds[0] != kinds[1]:
            got = f"a {kinds[0]} with a {kinds[1]}: {self._written(whole)}"
            return self.mistake(whole, "a comparison of the same kind", got)
        symbol = _COMPARISONS[type(operator)]
        if symbol not in ("==", "!=") and set(kinds) & {"text", "boolean"}:
            return self.mistake(whole, f"numbers about {symbol}", self._written(whole), "use == or in")
        for one, other in ((first, second), (second, first)):
            if isinstance(other, Constant):
                self._check_choice(whole, one, other.value)
        return Compare(symbol, first, second)

    def _one_of(self, operand: Node, left: ast.expr, right: ast.expr) -> Node:
        if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
            return self.mistake(right, "a list of values, such as ['th', 'en']", self._written(right))
        values: list[float | str] = []
        for element in right.elts:
            node = self.node(element, 1) if isinstance(element, ast.Constant) else _negative(element)
            if not isinstance(node, Constant) or node.kind == "boolean":
                if node is not _MISTAKEN:
                    self.mistake(element, "a number or a text", self._written(element))
                continue
            if kind_of(operand) not in (None, node.kind):
                got = f"a {kind_of(operand)} with a {node.kind}: {self._written(element)}"
                self.mistake(element, "a comparison of the same kind", got)
                continue
            self._check_choice(element, operand, node.value)
            values.append(node.value)
        return OneOf(operand, tuple(values))

    def _check_choice(self, part: ast.expr, node: Node, value: object) -> None:
        if isinstance(node, Name) and node.choices and value not in node.choices:
            self.mistake(part, f"one of: {', '.join(node.choices)}", repr(value))

    def _call(self, part: ast.Call, depth: int) -> Node:
        function = _dotted(part.func)
        found = next((known for known in _ARGUMENTS if known == function), None)
        if found is None or part.keywords:
            return self.mistake(part, f"a function of: {', '.join(_ARGUMENTS)}", self._written(part))
        least, most = _ARGUMENTS[found]
        if not least <= len(part.args) <= most:
            expected = f"{least} to {most} values in {found}" if most > least else f"{least} value in {found}"
            return self.mistake(part, expected, str(len(part.args)))
        if found != "coalesce":
            return Call(found, tuple(self._of(argument, "number", depth) for argument in part.args))
        nodes = tuple(self.node(argument, depth + 1) for argument in part.args)
        kinds = {kind_of(node) for node in nodes} - {None}
        if len(kinds) > 1:
            return self.mistake(part, "values of the same kind", self._written(part))
        return Call(found, nodes)

    def _written(self, part: ast.expr) -> str:
        text = self._text[part.col_offset : part.end_col_offset].decode(errors="ignore")
        return text if len(text) <= 60 else f"{text[:59]}…"


def _is_none(part: ast.expr) -> bool:
    return (isinstance(part, ast.Constant) and part.value is None) or (isinstance(part, ast.Name) and part.id == "null")


def _negative(part: ast.expr) -> Constant | None:
    """`-3`, which Python's grammar has as an operation."""
    match part:
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)) if not isinstance(value, bool):
            return Constant(-float(value), "number") if abs(value) <= LARGEST_INTEGER else None
    return None
