"""Values of the mapping language: types, conditions, templates, choices, time zones, and exact money."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.configuration import load_yaml, parse
from pipelines.ingest.layout import Layout
from pipelines.ingest.protection import masking
from pipelines.ingest.rows import RowNames, _value
from pipelines.ingest.values import Values
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.mapping import ColumnConfig, Condition, FormatConfig
from pipelines.settings.sources import SourceConfig
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.workspace import CHECKOUT
from tests.unit.ingest_parts import ORDERS, ingest, mapping, settings_for, shop, stored, written


def value_of(text: str | None, column: ColumnConfig, zone: str = "UTC") -> Any:
    """What one text becomes as this column's value."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        sql = _value(column, "x", mapping(ORDERS, timezone=zone))
        return connection.execute(f"SELECT {sql} FROM (SELECT CAST(? AS VARCHAR) AS x)", [text]).fetchall()[0][0]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "12", 12),
        ("integer", "-3", -3),
        ("integer", "+4", 4),
        ("integer", "6.0", 6),
        ("integer", "6.", 6),
        ("integer", "6.5", None),
        ("integer", "1e3", None),
        ("integer", "0x1f", None),
        ("integer", "1_000", None),
        ("integer", "9" * 18, 10**18 - 1),
        ("integer", "9" * 19, None),
        ("decimal", "2.55", Decimal("2.55")),
        ("decimal", "-.5", Decimal("-0.5")),
        ("decimal", "1e3", Decimal(1000)),
        ("decimal", "12.123456785", Decimal("12.12345679")),
        ("decimal", "9999999999", Decimal(9999999999)),
        ("decimal", "10000000000", None),
        ("decimal", "1,000", None),
        ("decimal", "nan", None),
        ("decimal", "inf", None),
        ("boolean", "TRUE", True),
        ("boolean", "no", False),
        ("boolean", "0", False),
        ("boolean", "maybe", None),
        ("json", '{"a": [1, null]}', '{"a":[1,null]}'),
        ("json", "3", None),
        ("json", "{", None),
    ],
)
def test_texts_become_values(kind: Any, text: str, value: object) -> None:
    assert value_of(text, ColumnConfig(type=kind)) == value


@pytest.mark.parametrize(
    ("text", "form", "zone", "instant"),
    [
        ("2011-12-01 08:26:00", None, "Europe/London", "2011-12-01T08:26:00"),
        ("2011-06-01 08:26:00", None, "Europe/London", "2011-06-01T07:26:00"),
        ("2011-06-01T08:26", None, "Europe/London", "2011-06-01T07:26:00"),
        ("2011-06-01", None, "Asia/Bangkok", "2011-05-31T17:00:00"),
        ("2011-10-01T00:38:44.546+02:00", None, "Asia/Bangkok", "2011-09-30T22:38:44.546"),
        ("2011-10-01 00:38:44Z", None, "Asia/Bangkok", "2011-10-01T00:38:44"),
        # Skipped hour: an hour later. Hour that comes twice: the later.
        ("2011-03-27 01:30:00", None, "Europe/London", "2011-03-27T01:30:00"),
        ("2011-10-30 01:30:00", None, "Europe/London", "2011-10-30T01:30:00"),
        ("2018.02.01", "%Y.%m.%d", "UTC", "2018-02-01T00:00:00"),
        ("2018.02.26 19:58", "%Y.%m.%d %H:%M", "America/Sao_Paulo", "2018-02-26T22:58:00"),
        ("2018-02-01 10:00 +0700", "%Y-%m-%d %H:%M %z", "UTC", "2018-02-01T03:00:00"),
        ("1767225600.25", "epoch_seconds", "Asia/Bangkok", "2026-01-01T00:00:00.25"),
        ("1767225600123", "epoch_milliseconds", "UTC", "2026-01-01T00:00:00.123"),
        ("1767225600123", "epoch_seconds", "UTC", None),
        ("infinity", None, "UTC", None),
        ("epoch", None, "UTC", None),
        ("20110601", None, "UTC", None),
        ("2011-13-01", None, "UTC", None),
        ("2018-02-01", "%Y.%m.%d", "UTC", None),
    ],
)
def test_times_become_instants(text: str, form: str | None, zone: str, instant: str | None) -> None:
    got = value_of(text, ColumnConfig(type="timestamp", time_format=form), zone)
    assert (got and got.astimezone(UTC)) == (instant and datetime.fromisoformat(instant).replace(tzinfo=UTC))


IDENTITY = load_yaml(CHECKOUT / "configs" / "identity.yaml", IdentityConfig)
CONDITIONS = [
    ({"equals": "a"}, "who", {"a"}),
    ({"in": ["a", "1"]}, "who", {"a", "1"}),
    ({"not_in": ["a"]}, "who", {"1", "b'"}),
    ({"starts_with": "b'"}, "who", {"b'"}),
    ({"empty": True}, "who", {None}),
    ({"empty": False}, "who", {"a", "1", "b'"}),
    ({"equals": 1}, "units", {"1"}),
    ({"less_than": 2}, "units", {"1"}),
    ({"greater_than": 1.5}, "units", {"2"}),
    ({"greater_than": 0, "less_than": 2}, "units", {"1"}),
    ({"equals": 1}, "who", {"1"}),
]


@pytest.mark.parametrize(("raw", "column", "holds"), CONDITIONS)
def test_conditions(raw: dict[str, object], column: str, holds: set[str | None]) -> None:
    source = mapping(ORDERS)
    values = Values(source, RowNames(tuple(source.columns)), {}, masking(IDENTITY))
    names = values.names
    texts: list[str | None] = ["1", "2", None] if column == "units" else ["a", "1", "b'", None]
    kind = "BIGINT" if column == "units" else "VARCHAR"
    sql = values.condition(column, parse(raw, Condition))
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT x FROM (SELECT x, x AS {names.text(column)}, CAST(x AS {kind}) AS {names.value(column)}"
            f" FROM (SELECT unnest(?::VARCHAR[]) AS x)) WHERE {sql}",
            [texts],
        ).fetchall()
    assert {text for (text,) in rows} == holds


def test_a_rule_holds_only_when_every_row_satisfies_it(tmp_path: Path) -> None:
    order = yaml.safe_load(ORDERS)["events"][0]
    rules = [
        {"event": "Page Viewed", "when": {"units": {"greater_than": 1}}},
        {**order, "when": {"units": {"greater_than": 0}}},
    ]
    settings_ = shop(tmp_path, events=rules)
    report = ingest(
        settings_,
        written(
            tmp_path,
            "1,2026-03-01,1,2,1",
            "1,2026-03-01,1,3,1",
            "2,2026-03-01,1,2,1",
            "2,2026-03-01,1,1,1",
            "3,2026-03-01,1,2,1",
            "3,2026-03-01,1,0,1",
        ),
    )
    assert report.events == {"Order Completed": 1, "Page Viewed": 1}
    assert report.reasons == {"no rule of events holds for all rows of the event": 2}


def test_templates_choices_maps_and_first_values(tmp_path: Path) -> None:
    columns = {
        **yaml.safe_load(ORDERS)["columns"],
        "kind": {"type": "string"},
        "money": {"type": "string"},
        "place": {"type": "string"},
        "due": {"type": "timestamp"},
        "gift": {"type": "boolean"},
    }
    properties = {
        "order_id": {"template": "it's {number}/{place}"},
        "total": {"sum": ["price"], "as": "money", "negate": True},
        "size": {"column": "kind", "map": {"s": "small"}, "otherwise": "large"},
        "share": {"column": "price"},
        "gift": {"constant": True},
        "due": {"column": "due"},
        "units": {"constant": 5},
        "products": {"list": {"price": {"column": "price", "as": "money"}, "place": {"column": "place"}}},
    }
    settings_ = shop(
        tmp_path,
        columns=columns,
        arrival={"column": "due"},
        time={"column": "at", "of_group": "last"},
        channel={"column": "place", "map": {"p": "pos", "q": "web"}},
        currency={"column": "money"},
        identifiers={"till": "place", "kind": "kind"},
        events=[
            {
                "event": {"column": "kind", "map": {"p": "Page Viewed"}, "otherwise": "Order Completed"},
                "properties": properties,
            }
        ],
    )
    header = "number,at,who,units,price,kind,money,place,due,gift"
    report = ingest(
        settings_,
        written(
            tmp_path,
            "1,2026-03-01 01:00,9,1,-0.125,s,KWD,p,2026-03-03,",
            "1,2026-03-01 02:00,9,1,-1.5,,,,2026-03-02,",
            "2,2026-03-01,9,1,-2.5,z,JPY,q,2026-03-01,",
            "3,2026-03-01,9,1,1,p,THB,q,2026-03-01,",
            "4,2026-03-01,9,1,1,s,THB,nowhere,2026-03-01,",
            "5,2026-03-01,9,1,1,s,XXX,p,2026-03-01,",
            "6,2026-03-01,9,1,1,,THB,p,2026-03-01,",
            header=header,
        ),
    )
    one, two, three = stored(settings_)
    assert one["properties"] == {
        "order_id": "it's 1/p",
        "total": 1625,
        "size": "small",
        "share": -0.125,
        "gift": True,
        "units": 5,
        "due": "2026-03-02T17:00:00.000000Z",
        "products": [{"price": -125, "place": "p"}, {}],
    }
    assert one["identifiers"] == {"kind": "s", "till": "p"}
    assert (one["channel"], one["currency"], one["value"]) == ("pos", "KWD", 1625)
    assert one["available_at"] - one["event_time"] == (46 * 3600) * 1_000_000
    # Half away from zero: 2.5 yen are 3, and back.
    assert (two["value"], two["properties"]["size"]) == (3, "large")
    assert two["properties"]["products"] == [{"price": -3, "place": "q"}]
    assert (three["event"], three["properties"], three["currency"]) == ("Page Viewed", {}, None)
    assert report.reasons["its channel is not one of the tracking plan"] == 1
    assert report.reasons["its currency is not one of the tracking plan"] == 1
    assert report.reasons["its kind of event has no canonical name"] == 1


amounts = st.decimals(min_value=-(10**6), max_value=10**6, places=5, allow_nan=False)
lines = st.lists(st.tuples(st.integers(-999, 999), amounts), min_size=1, max_size=6)


@settings(max_examples=20, deadline=None)
@given(orders=st.lists(lines, min_size=1, max_size=20))
def test_money_is_exact_and_rounded_once_half_away_from_zero(orders: list[list[tuple[int, Decimal]]]) -> None:
    order = yaml.safe_load(ORDERS)["events"][0]
    del order["properties"]["units"]
    with TemporaryDirectory() as folder:
        settings_ = shop(Path(folder), events=[order])
        rows = [f"{n},2026-03-01,,{units},{price}" for n, group in enumerate(orders) for units, price in group]
        ingest(settings_, written(Path(folder), *rows))
        got = {int(event["event_id"]): event["value"] for event in stored(settings_)}
    for number, group in enumerate(orders):
        exact = sum((units * price for units, price in group), Decimal(0))
        assert got[number] == int((exact * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def test_the_worked_example_of_the_readme(tmp_path: Path) -> None:
    text = (CHECKOUT / "configs/sources/README.md").read_text()
    line = re.search(r'^    (\{"id".*\})$', text, re.MULTILINE)
    yaml_text = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert line
    assert yaml_text
    plan = load_yaml(CHECKOUT / "configs/events.yaml", TrackingPlan)
    settings_ = settings_for(tmp_path, parse(yaml.safe_load(yaml_text[1]), SourceConfig), plan=plan)
    (tmp_path / "app.jsonl").write_text(line[1] + "\n")
    ingest(settings_, tmp_path / "app.jsonl", "app")
    (event,) = stored(settings_)
    at = int(datetime(2026, 3, 1, 2, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert (event["event"], event["event_id"], event["event_time"]) == ("Product Viewed", "a-1", at)
    assert event["available_at"] - at == timedelta(minutes=5) // timedelta(microseconds=1)
    assert (event["user_id"], event["channel"], event["currency"]) == ("C042", "app", "THB")
    said = re.search(r"properties `(\{.*?\})`", text)
    assert said
    assert event["properties"] == json.loads(said[1])


def test_layout_knows_which_columns_are_the_sources() -> None:
    layout = Layout(FormatConfig(type="csv"), ("a", "b", "quarantine_row", "quarantine_reason"))
    assert (layout.source_width, layout.columns) == (2, ("c0", "c1", "c2", "c3"))
