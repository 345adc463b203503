"""A checked expression over names: what rules of eligibility and of value are written in.

Home-made: of the libraries that are kept, CEL's and rule-engine fail where a value is empty, simpleeval checks nothing
before it runs, and none takes columns of numpy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipelines.expressions.columns import column_of
from pipelines.expressions.parse import parse
from pipelines.expressions.scalar import Evaluated, evaluated
from pipelines.expressions.tree import Kind, Name, Node, Value, kind_of, names_of

__all__ = ["Expression", "Kind", "Value", "compile_expression", "compile_tree"]


@dataclass(frozen=True, slots=True)
class Expression:
    """`names` are those of the scope that it reads, rules that it uses written out; `kind` is what comes out.

    Logic is that of SQL: a comparison with what is empty is unknown (None), `a and b` is False where one is False.
    Numbers are float64; one that is not finite, such as a division by 0, is unknown. `min`, `max` and `abs` are
    unknown where one of their values is; `coalesce` is the first that is known.
    """

    text: str
    kind: Kind
    names: tuple[str, ...]
    tree: Node = field(repr=False)
    _value: Evaluated = field(repr=False, compare=False)

    def value(self, scope: Mapping[str, Value]) -> Value:
        """Of one customer: bool, float, text, or None where it is unknown. Names that `scope` lacks are empty.

        Raises:
            TypeError: the scope has text where a number is expected, or the other way round.
        """
        found: Value = self._value(scope)
        return found

    def column(self, scope: Mapping[str, NDArray[Any]], rows: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of many customers: values, shape (rows,), and which of them are known, bool (rows,).

        Columns of `scope`: float64 with NaN for empty, or object with text and None; bool for what is true or false.
        Names that `scope` lacks are empty. Values that are not known say nothing.

        Raises:
            ValueError: a column has another shape.
        """
        return column_of(self.tree, scope, rows)


def compile_expression(text: str, names: Mapping[str, Kind | Node], kind: Kind | None = None) -> Expression:
    """The expression of `text`. `names` are the kinds of what the scope has, or what a name is short for.

    Raises:
        ExpressionError: with every mistake; a result that is not of `kind` among them.
    """
    nodes = {name: Name(name, known) if isinstance(known, str) else known for name, known in names.items()}
    return compile_tree(text, parse(text, nodes, kind))


def compile_tree(text: str, tree: Node) -> Expression:
    """The expression of a checked tree; raises ValueError where it holds a mistake that was told before."""
    kind = kind_of(tree)
    if kind is None:
        raise ValueError(f"{text!r} uses what is mistaken")
    return Expression(text, kind, names_of(tree), tree, evaluated(tree))
