"""Expressions: one customer and many give what SQL's logic says; what is mistaken or hostile is told, and never run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.expressions import ExpressionError, Kind, Mistake, Value, compile_expression
from pipelines.expressions.parse import DEEPEST, LARGEST_INTEGER, LONGEST, names_written, parse
from pipelines.expressions.tree import Name
from tests.reference.expressions import AND, NOT, OR, naive_value

NAMES: dict[str, Kind] = {
    "orders": "number", "spent": "number", "language": "text", "stage": "text", "consent.marketing": "boolean",
    "member": "boolean",
}  # fmt: skip
TYPES = {"boolean": object, "number": np.float64, "text": object}


def mistakes(text: str, kind: Kind | None = None) -> tuple[Mistake, ...]:
    with pytest.raises(ExpressionError) as raised:
        compile_expression(text, NAMES, kind)
    return raised.value.mistakes


def one(text: str, **scope: Value) -> Value:
    return compile_expression(text, NAMES).value(scope)


# --- against the oracle ----------------------------------------------------------------------

NUMBERS = st.one_of(
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, 2.0**53]),
)
TEXTS = st.sampled_from(["th", "en", "", "ไทย", "usage", "it's"])


def written(number: float) -> str:
    return f"({number!r})"


def numbers(depth: int) -> st.SearchStrategy[str]:
    leaves = st.one_of(st.sampled_from(["orders", "spent"]), NUMBERS.map(written))
    if depth == 0:
        return leaves
    inner = numbers(depth - 1)
    return st.one_of(
        leaves,
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda p: f"(-{p})"),
        inner.map(lambda p: f"abs({p})"),
        st.tuples(st.sampled_from(["min", "max", "coalesce"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
    )


def texts() -> st.SearchStrategy[str]:
    plain = st.one_of(st.sampled_from(["language", "stage"]), TEXTS.map(repr))
    return st.one_of(plain, st.tuples(plain, plain).map(lambda p: f"coalesce({p[0]}, {p[1]})"))


def conditions(depth: int) -> st.SearchStrategy[str]:
    amounts = numbers(min(depth, 2))
    orders = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    leaves = st.one_of(
        st.sampled_from(["consent.marketing", "member", "True", "false"]),
        st.tuples(amounts, orders, amounts).map(" ".join),
        st.tuples(amounts, orders, amounts, orders, amounts).map(" ".join),
        st.tuples(texts(), st.sampled_from(["==", "!="]), texts()).map(" ".join),
        st.tuples(texts(), st.sampled_from(["in", "not in"]), st.lists(TEXTS, min_size=1, max_size=3).map(repr)).map(
            " ".join
        ),
        st.tuples(amounts, st.sampled_from(["in", "not in"]), st.sampled_from(["[1, 2]", "(0, -3.5)"])).map(" ".join),
        st.tuples(st.one_of(amounts, texts()), st.sampled_from(["is None", "is not None"])).map(" ".join),
    )
    if depth == 0:
        return leaves
    inner = conditions(depth - 1)
    return st.one_of(
        leaves,
        st.lists(inner, min_size=2, max_size=3).map(lambda p: f"({' and '.join(p)})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda p: f"({' or '.join(p)})"),
        inner.map(lambda p: f"(not {p})"),
        st.tuples(inner, st.sampled_from(["==", "!="]), inner).map(lambda p: f"(({p[0]}) {p[1]} ({p[2]}))"),
    )


EXPRESSIONS = st.one_of(numbers(3), texts(), conditions(3)).filter(lambda text: len(text) <= LONGEST)
SCOPES = st.fixed_dictionaries(
    {
        "orders": st.one_of(st.none(), NUMBERS, st.sampled_from([math.inf, math.nan])),
        "spent": st.one_of(st.none(), NUMBERS),
        "language": st.one_of(st.none(), TEXTS),
        "stage": st.one_of(st.none(), TEXTS),
        "consent.marketing": st.booleans(),
        "member": st.one_of(st.none(), st.booleans()),
    }
)


def same(one: Any, other: Any) -> bool:
    """Of the same type, and for numbers the same to the sign of zero."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return type(one) is type(other) and bool(one == other)


@settings(max_examples=400, deadline=None)
@given(EXPRESSIONS, st.lists(SCOPES, min_size=1, max_size=5))
def test_one_customer_many_and_the_oracle_agree(text: str, scopes: list[dict[str, Value]]) -> None:
    expression = compile_expression(text, NAMES)
    columns = {name: np.array([scope[name] for scope in scopes], dtype=TYPES[kind]) for name, kind in NAMES.items()}
    values, known = expression.column(columns, len(scopes))
    assert values.shape == known.shape == (len(scopes),)
    for row, scope in enumerate(scopes):
        expected = naive_value(text, scope)
        found = expression.value(scope)
        assert same(found, expected), (text, scope, found, expected)
        of_many = values[row].item() if isinstance(values[row], np.generic) else values[row]
        assert same(of_many if known[row] else None, expected), (text, scope, of_many, expected)


# --- what is unknown -------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), list(AND))
def test_logic_is_that_of_sql(first: bool | None, second: bool | None) -> None:
    names: dict[str, Kind] = {"a": "boolean", "b": "boolean"}
    scope = {"a": first, "b": second}
    columns = {name: np.array([value], dtype=object) for name, value in scope.items()}
    for text, expected in (("a and b", AND[first, second]), ("a or b", OR[first, second]), ("not a", NOT[first])):
        expression = compile_expression(text, names)
        values, known = expression.column(columns, 1)
        assert expression.value(scope) is expected
        assert (bool(values[0]) if known[0] else None) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("orders > 0", None),
        ("orders == orders", None),
        ("not orders > 0", None),
        ("orders in [1, 2]", None),
        ("orders not in [1, 2]", None),
        ("orders is None", True),
        ("orders is not None", False),
        ("orders is null", True),
        ("(orders > 0) is None", True),
        ("orders > 0 and spent < 0", False),
        ("orders > 0 or spent > 0", True),
        ("min(orders, spent)", None),
        ("coalesce(orders, spent)", 5.0),
        ("coalesce(orders, 0) == 0", True),
        ("spent / 0", None),
        ("spent / 0 > 1 or true", True),
        ("1e308 * 10", None),
        ("0 < spent < 10", True),
        ("0 < spent < orders", None),
        ("9 < spent < orders", False),
        ("-spent", -5.0),
        ("language == 'th' and consent.marketing", True),
        ("true", True),
    ],
)
def test_what_is_empty(text: str, expected: Value) -> None:
    scope: dict[str, Value] = {"orders": None, "spent": 5, "language": "th", "consent.marketing": True}
    assert compile_expression(text, NAMES).value(scope) == expected


def test_a_name_that_the_scope_lacks_is_empty() -> None:
    expression = compile_expression("orders is None and language is None", NAMES)
    assert expression.value({}) is True
    values, known = expression.column({}, 3)
    assert values.tolist() == known.tolist() == [True] * 3


def test_the_scope_must_have_what_was_promised() -> None:
    with pytest.raises(TypeError, match="orders: expected a number"):
        one("orders > 0", orders="3")
    with pytest.raises(TypeError, match="language: expected a text"):
        one("language == 'th'", language=3)
    with pytest.raises(ValueError, match="orders: expected shape"):
        compile_expression("orders > 0", NAMES).column({"orders": np.zeros(2)}, 3)


def test_columns_are_left_as_they_are() -> None:
    columns = {"orders": np.array([1.0, np.nan]), "language": np.array(["th", None], dtype=object)}
    compile_expression("coalesce(-orders, 0) == 0 or not language == 'th'", NAMES).column(columns, 2)
    assert columns["orders"][0] == 1.0
    assert np.isnan(columns["orders"][1])
    assert columns["language"].tolist() == ["th", None]


# --- what is written -------------------------------------------------------------------------


def test_what_an_expression_is() -> None:
    expression = compile_expression("orders > 0 and (spent / orders > 3 or consent.marketing)", NAMES)
    assert expression.kind == "boolean"
    assert expression.names == ("orders", "spent", "consent.marketing")
    assert expression == compile_expression(expression.text, NAMES)


def test_a_name_may_stand_for_a_tree() -> None:
    rule = compile_expression("orders > 0", NAMES)
    expression = compile_expression("not loyal and member", {"loyal": rule.tree, **NAMES})
    assert expression.names == ("orders", "member")
    assert expression.value({"orders": 0, "member": True}) is True


def test_lines_and_spaces_do_not_matter() -> None:
    assert one("  orders > 0\n  and spent > 0\n", orders=1, spent=1) is True


@pytest.mark.parametrize(
    "text",
    [
        "orders.__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "consent.marketing.__doc__",
        "__import__('os').system('true')",
        "open('/etc/passwd')",
        "eval('1')",
        "coalesce.__globals__",
        "min(orders, key=abs)",
        "min(*[orders, spent])",
        "lambda: 1",
        "(lambda: 1)()",
        "[x for x in [1]]",
        "{x for x in [1]}",
        "f'{orders}'",
        "'%s' % language",
        "language + 'x'",
        "orders[0]",
        "orders if member else 1",
        "(orders := 3)",
        "9 ** 9 ** 9",
        "orders // 2",
        "orders % 2",
        "1 << 64",
        "~1",
        "+orders",
        "await orders",
        "(yield 1)",
        "...",
        "b'x' == language",
        "1j > 0",
        "{'a': 1}",
        "{1, 2}",
        "[1, 2]",
        "orders in language",
        "orders in [spent]",
        "orders in []",
        "orders in [[1]]",
        "language in ['a', None]",
        "orders is True",
        "orders == None",
        "None",
        "print",
        "",
        "   ",
        "# nothing",
        "import os",
        "orders = 3",
        "orders > 0; spent",
        "orders >",
        "orders\x00",
        "'\ud800' == language",
        "ordеrs > 0",  # a Cyrillic letter
        "(" * 500 + "orders" + ")" * 500,
        "-" * 1900 + "orders",
        "not " * 400 + "member",
        "orders" + " + orders" * (DEEPEST + 1),
        "1" * 400,
        "1" * 1990,
        "1e999",
        "-1e999",
        str(LARGEST_INTEGER + 1),
        "true " + "or true" * 400,
    ],
)
def test_what_is_no_expression_is_told(text: str) -> None:
    for mistake in mistakes(text):
        assert mistake.expected
        assert mistake.got
        assert mistake.position >= 1


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("()[]{}<>=!+-*/%'\".,:@ \n\\0123456789abnotrdis", max_size=2500)))
def test_any_text_is_an_expression_or_a_mistake(text: str) -> None:
    try:
        expression = compile_expression(text, NAMES)
    except ExpressionError:
        return
    expression.value({})
    expression.column({}, 2)


def test_rules_that_use_rules_do_not_explode() -> None:
    tree = parse("orders > 0", {"orders": Name("orders", "number")})
    for _ in range(10):
        tree = parse("r and r", {"r": tree})
    with pytest.raises(ExpressionError, match="rules written out"):
        parse("r and r", {"r": tree})


def test_the_largest_numbers_are_exact() -> None:
    assert one(f"orders == {LARGEST_INTEGER}", orders=LARGEST_INTEGER) is True
    assert one(f"orders == {LARGEST_INTEGER - 1}", orders=LARGEST_INTEGER) is False


@pytest.mark.parametrize(
    ("text", "kind", "expected", "got", "hint", "position"),
    [
        ("order > 0", None, "a known name", "'order'", "near: orders", 1),
        ("true and traits.lang == 'th'", None, "a known name", "'traits.lang'", "", 10),
        ("language > 3", None, "a comparison of the same kind", "a text with a number: language > 3", "", 1),
        ("orders == 'three'", None, "a comparison of the same kind", "a number with a text: orders == 'three'", "", 1),
        ("language < 'th'", None, "numbers about <", "language < 'th'", "use == or in", 1),
        ("member > false", None, "numbers about >", "member > false", "use == or in", 1),
        ("language in ['th', 3]", None, "a comparison of the same kind", "a text with a number: 3", "", 20),
        ("not orders", None, "a boolean", "a number: orders", "compare it, such as > 0", 5),
        ("member and orders", None, "a boolean", "a number: orders", "compare it, such as > 0", 12),
        ("-language", None, "a number", "a text: language", "", 2),
        ("'ไทย' == language and order > 0", None, "a known name", "'order'", "near: orders", 23),
        ("coalesce(orders, 'none')", None, "values of the same kind", "coalesce(orders, 'none')", "", 1),
        ("min(orders)", None, "2 to 20 values in min", "1", "", 1),
        ("round(orders)", None, "a function of: min, max, abs, coalesce", "round(orders)", "", 1),
        ("orders", "boolean", "a boolean", "a number", "compare it with a number, such as > 0", 1),
        ("orders > 0", "number", "a number", "a boolean", "", 1),
    ],
)
def test_a_mistake_says_what_was_expected_and_where(
    text: str, kind: Kind | None, expected: str, got: str, hint: str, position: int
) -> None:
    assert mistakes(text, kind) == (Mistake(expected, got, hint, position),)


def test_all_mistakes_come_at_once() -> None:
    found = mistakes("order > 0 and language > 3 or round(spent) == 1")
    assert [mistake.position for mistake in found] == [1, 15, 31]


def test_a_value_that_a_name_cannot_have_is_told() -> None:
    names = {"stage": Name("stage", "text", ("usage", "retention"))}
    for text in ("stage == 'usages'", "'usages' != stage", "stage in ['usage', 'usages']"):
        with pytest.raises(ExpressionError, match="one of: usage, retention, got 'usages'"):
            compile_expression(text, names)
    assert compile_expression("stage == 'usage'", names).value({"stage": "usage"}) is True


def test_names_as_they_are_written() -> None:
    assert set(names_written("a > 0 and traits.b == 'c' or f(d)")) >= {"a", "traits.b", "d"}
    assert names_written("a >") == ()


def test_a_comment_takes_no_condition_along() -> None:
    with pytest.raises(ExpressionError) as raised:
        compile_expression("orders > 1  # who bought\nand asked == 'yes'", {"orders": "number", "asked": "text"})
    assert [(mistake.got, mistake.position) for mistake in raised.value.mistakes] == [("a comment, #", 13)]
    assert compile_expression("asked == '#1'", {"asked": "text"}).value({"asked": "#1"}) is True
