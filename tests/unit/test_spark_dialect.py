"""Each thing that feature SQL may use gives the same on DuckDB and on Spark; anything else is refused."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from feature_repo.spark.dialect import UntranslatableError, spark_sql
from tests.spark import spark_session

pytestmark = pytest.mark.xdist_group("spark")

END = 2**63
# JSON as sources write it: every type, numbers at the edges of int64, whole numbers that are written as fractions,
# texts with everything that has to be escaped, and lists of objects that lack what is asked for.
JSON_VALUES = [
    "0", "-0", "1", "-7", "1.0", "-0.0", "1e2", "1.5", "123.000", f"{2**53 + 1}", f"{END - 1}", f"{END}", f"{-END}",
    f"{-END - 1}", f"{2**64}", "1" * 30, "1" * 45, '"3"', '"true"', '""', '"é \'x"', r'"\u00e9\n\t\"\\\/"',
    r'"\ud83d\ude00"', r'"\u0000z"', "true", "false", "null", "[]", "[1]", '["a"]', "{}", '{"b": "x"}',
    '[{"b": "x"}, {"b": "x"}, {"b": ""}, {"c": 1}]', '[{"b": 1}, {"b": null}, {"b": ["x"]}, 3, null, "b"]',
    '[[{"b": "x"}]]', '{"k": {"b": "x"}}',
]  # fmt: skip
DOCUMENTS = [*(f'{{"a": {value}}}' for value in JSON_VALUES), "{}", "[]", "3", '{"A": 1, "a b": 2, "a.b": 3}']
ON_JSON = {
    "integer": "CASE WHEN json_type(p, '$.a') IN ('BIGINT', 'UBIGINT') THEN "
    "TRY_CAST(json_extract_string(p, '$.a') AS BIGINT) END",
    "text": "CASE WHEN json_type(p, '$.a') = 'VARCHAR' THEN json_extract_string(p, '$.a') END",
    "boolean": "CASE WHEN json_type(p, '$.a') = 'BOOLEAN' THEN json_extract_string(p, '$.a') END",
    "exists": "coalesce(json_type(p, '$.a') <> 'NULL', FALSE)",
    "key_with_space": "json_extract_string(p, '$.\"a b\"')",
    "texts": "list_transform(list_filter(json_extract(p, '$.a[*].b'), lambda item: json_type(item) = 'VARCHAR'), "
    "lambda item: json_extract_string(item, '$'))",
}

PAIRS = [(-7, 2), (7, -2), (7, 2), (0, 5), (END - 1, 10**9 + 7), (-END, 3), (2**53 + 1, 2**53), (10**12, 1), (None, 2)]
ON_NUMBERS = {
    "quotient": "CAST(x // y AS BIGINT)",
    "remainder": "x % y",
    "wide_quotient": "CAST((CAST(x AS HUGEINT) * x) // 9007199254740992 AS DOUBLE)",
    "wide_remainder": "CAST((CAST(x AS HUGEINT) * x) % 9007199254740992 AS BIGINT)",
    "too_wide": "TRY_CAST((CAST(x AS HUGEINT) * x) AS BIGINT)",
    "double": "CAST(x AS DOUBLE)",
    "ratio": "CAST(x AS DOUBLE) / CAST(y AS DOUBLE)",
    "root": "sqrt(CAST(greatest(x, 0) AS DOUBLE))",
    "greatest": "greatest(x, y)",
    "least": "least(x, 3)",
    "kept": "list_filter([CASE WHEN x > 0 THEN 'a\\b''c' END], lambda item: item IS NOT NULL)",
    "row": "row_number() OVER (PARTITION BY y ORDER BY x DESC)",
    "before": "lag(x) OVER (ORDER BY y, x DESC)",
    "running": "CAST(sum(y) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS BIGINT)",
}
ON_GROUPS = {
    "sum_beyond_int64": "CAST(sum(x) // 3 AS BIGINT)",
    "square_of_sum": "CAST((sum(y) * sum(y)) % 1000003 AS BIGINT)",
    "nothing": "CAST(sum(x) FILTER (WHERE y > 100 AND x IS NULL) AS BIGINT)",
    "count": "count(*) FILTER (WHERE x > 0)",
    "values": "count(x)",
    "newest": "(max({'at': y, 'value': x}) FILTER (WHERE x IS NOT NULL)).value",
    "first": "arg_min({'value': x}, n).value",
    "bounds": "max(y) - min(y)",
}


def both(query: str, table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The result of `query` over `table` as t, from DuckDB and from Spark."""
    from feature_repo.spark.session import private_session, share

    session = spark_session()
    private = private_session(session)
    share(session.createDataFrame(table), private, "t")
    connection = duckdb.connect()
    connection.register("t", table)
    return connection.sql(query).to_arrow_table(), private.sql(spark_sql(query)).toArrow()


def selected(expressions: dict[str, str]) -> str:
    return ", ".join(f"{sql} AS {name}" for name, sql in expressions.items())


def differing(duck: pa.Table, spark: pa.Table, rows: list[object]) -> Iterator[str]:
    assert duck.num_rows == spark.num_rows == len(rows)
    for name in duck.column_names:
        if duck.schema.field(name).type != spark.schema.field(name).type:
            yield f"{name}: {duck.schema.field(name).type} and {spark.schema.field(name).type}"
        for row, left, right in zip(rows, duck.column(name).to_pylist(), spark.column(name).to_pylist(), strict=True):
            if left != right:
                yield f"{name} of {row}: {left!r} and {right!r}"


def test_json_is_read_alike() -> None:
    table = pa.table({"n": range(len(DOCUMENTS)), "p": DOCUMENTS})
    duck, spark = both(f"SELECT {selected(ON_JSON)} FROM t ORDER BY n", table)
    assert list(differing(duck, spark, DOCUMENTS)) == []
    assert spark.column("integer").to_pylist()[:5] == [0, 0, 1, -7, None]


def test_numbers_are_computed_alike() -> None:
    x, y = zip(*PAIRS, strict=True)
    table = pa.table({"n": range(len(PAIRS)), "x": pa.array(x, pa.int64()), "y": pa.array(y, pa.int64())})
    assert list(differing(*both(f"SELECT {selected(ON_NUMBERS)} FROM t ORDER BY n", table), PAIRS)) == []
    assert list(differing(*both(f"SELECT {selected(ON_GROUPS)} FROM t", table), ["all"])) == []


def test_lists_and_joins_are_taken_apart_alike() -> None:
    table = pa.table({"n": [1, 2, 3, 4], "texts": pa.array([["b", "a", "a"], [], None, ["ß"]], pa.list_(pa.string()))})
    query = """
    WITH listed AS MATERIALIZED (SELECT n, texts FROM t),
    items AS (SELECT n, unnest(texts) AS item FROM listed),
    seen AS (SELECT n FROM t SEMI JOIN items USING (n) WHERE n < 4)
    SELECT item, count(*) AS times FROM items JOIN seen USING (n) GROUP BY item ORDER BY item DESC"""
    assert list(differing(*both(query, table), ["b", "a"])) == []


def test_a_key_that_stands_twice_has_no_value() -> None:
    from feature_repo.spark.session import private_session

    sql = spark_sql("SELECT json_extract_string('{\"a\": 1, \"a\": 2}', '$.a')")
    with pytest.raises(Exception, match="VARIANT_DUPLICATE_KEY"):
        private_session(spark_session()).sql(sql).toArrow()


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT median(x), list_sort(y), date_trunc('day', z) FROM t", "ArraySort, Median, TimestampTrunc"),
        ("SELECT texts[1] FROM t", "Bracket"),
        ("SELECT json_extract(p, '$.a') FROM t", r"one \[\*\]"),
        ("SELECT json_type(p, '$.a[0]') FROM t", "plain keys"),
    ],
)
def test_what_was_not_compared_is_refused(sql: str, named: str) -> None:
    with pytest.raises(UntranslatableError, match=named):
        spark_sql(sql)


def test_ci_cannot_leave_spark_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    start = spark_session.__wrapped__
    monkeypatch.setenv("CI", "true")
    with pytest.raises(RuntimeError, match="PySpark"):
        start()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="PySpark"):
        start()
