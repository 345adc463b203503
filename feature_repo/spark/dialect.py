"""SQL written for DuckDB, said again for Spark so that every value is the same to the last bit.

sqlglot translates the syntax. What the two engines mean differently is rewritten here, and a function
that nobody has compared on both is refused, for a near miss would be a silent skew:

- JSON is read through Spark's VARIANT, which keeps the type of a number: 1 is an integer and 1.0 is not.
- What DuckDB computes in 128 bits, Spark does in DECIMAL(38, 0); beyond a range ANSI mode raises.
- `//` of DuckDB is exact at any width; Spark's DIV is cut to 64 bits without a word.

The SQL is for a session in ANSI mode whose time zone is UTC (`session.private_session`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import sqlglot
from sqlglot import exp

# Functions with one meaning on both engines (compared in tests/unit/test_spark_dialect.py).
_ALIKE = (
    exp.And, exp.AnyValue, exp.ArgMin, exp.Array, exp.ArrayFilter, exp.Case, exp.Coalesce, exp.Count, exp.Explode,
    exp.Greatest, exp.If, exp.Lag, exp.Lead, exp.Least, exp.Max, exp.Min, exp.Or, exp.RowNumber, exp.Sqrt, exp.Struct,
    exp.Transform,
)  # fmt: skip

# A variant's type on Spark, and what DuckDB calls the same JSON; the first word of the type for those that go on.
# Whole numbers from 2^63 to 2^64 are UBIGINT to DuckDB and DOUBLE here; as an integer of a feature both are empty.
_PLAIN_TYPES = {"BIGINT": "BIGINT", "STRING": "VARCHAR", "BOOLEAN": "BOOLEAN", "VOID": "NULL", "DOUBLE": "DOUBLE"}
_TYPES_WITH_PARTS = {"DECIMAL(": "DOUBLE", "ARRAY<": "ARRAY", "OBJECT<": "OBJECT"}


class UntranslatableError(ValueError):
    """SQL that has no counterpart on Spark which is known to give the same values."""


def spark_sql(duckdb_sql: str) -> str:
    """One DuckDB statement as Spark SQL.

    Raises:
        UntranslatableError: it uses what was not compared on both engines.
    """
    return _translated(duckdb_sql).sql(dialect="spark")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a WITH, as Spark SQL that reads the steps before it by name, and how often others read it."""

    name: str
    sql: str
    readers: int


def spark_steps(duckdb_sql: str) -> tuple[list[Step], str]:
    """A query as the steps of its WITH, in order, and what is selected from them. Raises as `spark_sql`."""
    tree = _translated(duckdb_sql)
    read = Counter(table.name for table in tree.find_all(exp.Table))
    ctes = tree.args["with_"].expressions if tree.args.get("with_") else []
    steps = [Step(cte.alias, cte.this.sql(dialect="spark"), read[cte.alias]) for cte in ctes]
    tree.set("with_", None)
    return steps, tree.sql(dialect="spark")


def _translated(duckdb_sql: str) -> exp.Expr:
    tree = sqlglot.parse_one(duckdb_sql, read="duckdb")
    unknown = sorted({_name(node) for node in tree.find_all(exp.Func, exp.Bracket) if not _is_known(node)})
    if unknown:
        raise UntranslatableError(f"no counterpart on Spark is known for: {', '.join(unknown)}")
    for node in reversed(list(tree.walk())):
        rewrite = _REWRITES.get(_name(node))
        if rewrite:
            # Parts before the whole, so that what a rewrite moves or repeats is Spark's already.
            node.replace(rewrite(node))
    return tree


def _name(node: exp.Expr) -> str:
    return node.name.lower() if isinstance(node, exp.Anonymous) else type(node).__name__


def _is_known(node: exp.Expr) -> bool:
    return isinstance(node, _ALIKE) or _name(node) in _REWRITES


def _inlined(node: exp.Expr) -> exp.Expr:
    """Spark decides itself what of a WITH it computes once."""
    node.set("materialized", None)
    return node


def _cast(node: exp.Expr) -> exp.Expr:
    wide = node.args["to"].this == exp.DType.INT128
    return type(node)(this=node.this, to=_wide_type()) if wide else node


def _sum(node: exp.Expr) -> exp.Expr:
    """Sums that are said to fit into 64 bits are made there, much faster; one that does not fit raises."""
    whole = node.parent if isinstance(node.parent, exp.Filter | exp.Window) else node
    fits = isinstance(whole.parent, exp.Cast) and whole.parent.args["to"].this == exp.DType.BIGINT
    return node if fits else exp.Sum(this=_wide(node.this))


def _whole_quotient(node: exp.Expr) -> exp.Expr:
    """`a // b`, cut toward zero: what is left of `a` without its remainder divides exactly."""
    dividend = _wide(node.this)
    whole = exp.Sub(this=dividend, expression=exp.Mod(this=dividend.copy(), expression=_grouped(node.expression)))
    return _wide(exp.Div(this=exp.Paren(this=whole), expression=_wide(node.expression.copy())))


def _window(node: exp.Expr) -> exp.Expr:
    """Rows are numbered in 32 bits by Spark."""
    return exp.cast(node.copy(), "BIGINT") if isinstance(node.this, exp.RowNumber) else node


def _json_type(node: exp.Expr) -> exp.Expr:
    kind = _call("schema_of_variant", _variant(node))
    plain = [exp.If(this=_text(spark), true=_text(duckdb)) for spark, duckdb in _PLAIN_TYPES.items()]
    with_parts = [
        exp.If(this=_call("startswith", kind.copy(), _text(spark)), true=_text(duckdb))
        for spark, duckdb in _TYPES_WITH_PARTS.items()
    ]
    return exp.Case(this=kind, ifs=plain, default=exp.Case(ifs=with_parts))


def _json_text(node: exp.Expr) -> exp.Expr:
    """The text of a string, a whole number or a boolean. DuckDB has one for all JSON; no feature reads it."""
    kinds = [_text(kind) for kind in ("STRING", "BIGINT", "BOOLEAN")]
    plain = exp.In(this=_call("schema_of_variant", _variant(node)), expressions=kinds)
    return exp.Case(ifs=[exp.If(this=plain, true=_call("try_variant_get", *_place(node), _text("string")))])


def _json_list(node: exp.Expr) -> exp.Expr:
    """`json_extract(document, '$.list[*].key')`: the values of `key` in the items of `list` that have one."""
    steps = node.expression.expressions
    star = [isinstance(step.this, exp.JSONPathWildcard) for step in steps]
    if sum(star) != 1:
        raise UntranslatableError(f"json_extract is known on Spark for one [*], not for {node.sql(dialect='duckdb')}")
    before, after = steps[: star.index(True)], steps[star.index(True) + 1 :]
    items = _call("try_variant_get", _document(node), _path(before), _text("array<variant>"))
    value = _call("try_variant_get", exp.to_identifier("element"), _path(after), _text("variant"))
    values = exp.Transform(this=exp.Coalesce(this=items, expressions=[exp.Array()]), expression=_lambda(value))
    present = exp.Not(this=exp.Is(this=exp.to_identifier("element"), expression=exp.Null()))
    return exp.ArrayFilter(this=values, expression=_lambda(present))


def _lambda(body: exp.Expr) -> exp.Expr:
    return exp.Lambda(this=body, expressions=[exp.to_identifier("element")])


def _variant(node: exp.Expr) -> exp.Expr:
    return _call("try_variant_get", *_place(node), _text("variant"))


def _place(node: exp.Expr) -> tuple[exp.Expr, exp.Expr]:
    path = node.expression
    return _document(node), _path(path.expressions if isinstance(path, exp.JSONPath) else _steps(path))


def _steps(path: exp.Expr | None) -> list[exp.Expr]:
    """The steps of a path that sqlglot left as text; without a path, the document itself."""
    parsed = sqlglot.jsonpath.parse(path.name) if path is not None else None
    return list(parsed.expressions) if parsed is not None else []


def _document(node: exp.Expr) -> exp.Expr:
    """A column holds JSON as text; the variable of a lambda is an item of a list, a variant already."""
    is_item = isinstance(node.this, exp.Identifier)
    return node.this.copy() if is_item else _call("parse_json", node.this.copy())


def _path(steps: list[exp.Expr]) -> exp.Expr:
    keys = [step.name for step in steps if not isinstance(step, exp.JSONPathRoot)]
    if any(not isinstance(step, exp.JSONPathRoot | exp.JSONPathKey) for step in steps) or "'" in "".join(keys):
        raise UntranslatableError("a path into JSON can have only plain keys, and one [*] in json_extract")
    return _text("$" + "".join(f"['{key}']" for key in keys))


def _microseconds(node: exp.Expr) -> exp.Expr:
    return _call("unix_micros", *node.expressions)


def _wide_type() -> exp.DataType:
    """The widest whole number of Spark, for DuckDB's HUGEINT."""
    return exp.DataType.build("DECIMAL(38, 0)")


def _wide(node: exp.Expr) -> exp.Expr:
    return exp.Cast(this=node, to=_wide_type())


def _grouped(node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node.copy())


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this=name, expressions=list(arguments))


def _text(value: str) -> exp.Expr:
    return exp.Literal.string(value)


# By class of sqlglot, or by name where sqlglot has no class.
_REWRITES: dict[str, Callable[[exp.Expr], exp.Expr]] = {
    "CTE": _inlined,
    "Cast": _cast,
    "TryCast": _cast,
    "Sum": _sum,
    "Window": _window,
    "IntDiv": _whole_quotient,
    "JSONType": _json_type,
    "JSONExtractScalar": _json_text,
    "JSONExtract": _json_list,
    "epoch_us": _microseconds,
}
