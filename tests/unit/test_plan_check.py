"""Single events against the tracking plan; the SQL that checks files must come to the same verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.events.plan_check import OutsidePlan, channel_of, check_event, instant_of, iso, kept
from tests.unit.ingest_parts import PLAN, ingest, mapping, settings_for, stored

ORDER: dict[str, Any] = {"order_id": "7", "total": 25, "currency": "THB"}

AS_FILE = """
source: calls
description: The same properties as a file of JSON lines.
format: {type: jsonl}
timezone: UTC
currency: {column: currency}
columns:
  at: {type: timestamp, required: true}
  who: {type: string}
  id: {type: string, required: true}
  currency: {type: string}
  order_id: {type: string}
  total: {type: decimal}
  units: {type: integer}
  size: {type: string}
  share: {type: decimal}
  gift: {type: boolean}
  due: {type: timestamp}
  lines: {type: integer}
  products: {type: json}
  address: {type: json}
event_id: "{id}"
time: {column: at}
user_id: who
channel: web
events:
  - event: Order Completed
    properties:
      order_id: {column: order_id}
      total: {column: total, as: money}
      units: {column: units}
      size: {column: size}
      share: {column: share}
      gift: {column: gift}
      due: {column: due}
      lines: {column: lines}
      products: {column: products}
      address: {column: address}
"""

EXAMPLES: list[dict[str, Any]] = [
    {},
    {"total": 25.00},
    {"total": 0.1},
    {"total": 1.005},
    {"total": 2.675},
    {"total": -2.675},
    {"total": 0.0049999999999},
    {"total": 1e3},
    {"total": "25.00"},
    {"total": "1e2"},
    {"total": "12,50"},
    {"total": "nan"},
    {"total": 9_999_999_999},
    {"total": 10_000_000_000},
    {"total": None},
    {"total": ""},
    {"total": True},
    {"total": 99.5, "currency": "JPY"},
    {"total": 1.2345, "currency": "KWD"},
    {"currency": "XXX"},
    {"currency": None},
    {"order_id": None},
    {"order_id": "  "},
    {"order_id": " 7 "},
    {"units": 0},
    {"units": 1},
    {"units": 1000},
    {"units": 1001},
    {"units": 2.0},
    {"units": 2.5},
    {"units": "many"},
    {"units": 10**18},
    {"lines": 10**18 - 1},
    {"size": "small"},
    {"size": "huge"},
    {"size": ""},
    {"share": 0.25},
    {"share": -1},
    {"share": 10**10},
    {"share": "much"},
    {"gift": True},
    {"gift": False},
    {"gift": "perhaps"},
    {"due": "2026-01-31T09:30:00Z"},
    {"due": "2026-01-31T09:30:00.123456+07:00"},
    {"due": "2026-02-30T09:30:00Z"},
    {"due": "9999-12-31T23:59:59Z"},
    {"due": "soon"},
    {"products": [{"product_id": "a", "price": 1.5}, None]},
    {"products": {"product_id": "a"}},
    {"products": []},
    {"address": {"city": "กรุงเทพ"}},
    {"address": []},
    {"order_id": None, "total": None, "size": "huge"},
]


def parsed(properties: dict[str, Any]) -> dict[str, Any]:
    """As it comes from JSON, fractions as Decimal."""
    decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
    return decoder.decode(json.dumps(properties))


def live(properties: dict[str, Any]) -> dict[str, Any] | None:
    """Value, currency and declared properties; None where the event is refused."""
    try:
        found = check_event(PLAN, "Order Completed", "web", parsed(properties))
    except OutsidePlan:
        return None
    declared = PLAN.events["Order Completed"].properties
    kept_properties = {name: value for name, value in found.properties.items() if name in declared}
    return {"value": found.value, "currency": found.currency, "properties": kept_properties}


def test_files_and_calls_come_to_the_same_verdict(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, mapping(AS_FILE))
    # What is compared is the verdict, so nothing is sealed.
    nothing_personal = settings.identity.model_copy(update={"personal_properties": ()})
    settings = replace(settings, identity=nothing_personal)
    rows = [{"at": "2026-01-01T00:00:00Z", "who": "c", "id": str(i), **ORDER, **e} for i, e in enumerate(EXAMPLES)]
    file = tmp_path / "calls.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    ingest(settings, file, "calls")
    accepted = {
        int(row["event_id"]): {name: row[name] for name in ("value", "currency", "properties")}
        for row in stored(settings)
    }
    verdicts = [live({**ORDER, **example}) for example in EXAMPLES]
    assert {i: verdict for i, verdict in enumerate(verdicts) if verdict is not None} == accepted
    assert 20 < len(accepted) < len(EXAMPLES)


@given(st.decimals(min_value=-9_999_999, max_value=9_999_999, places=8))
def test_money_is_rounded_once_half_away_from_zero(amount: Decimal) -> None:
    for given_amount in (amount, f"{amount:f}"):
        found = check_event(PLAN, "Order Completed", "web", {**ORDER, "total": given_amount})
        assert found.value == int((amount * 100).to_integral_value(ROUND_HALF_UP))


@given(st.integers(-999_999_999, 999_999_999))
def test_amounts_with_two_decimals_are_exact(cents: int) -> None:
    sign, digits = ("-" if cents < 0 else ""), f"{abs(cents):03}"
    found = live({**ORDER, "total": json.loads(f"{sign}{digits[:-2]}.{digits[-2:]}")})
    assert found is not None
    assert found["value"] == cents


def test_every_mistake_is_told_without_its_value() -> None:
    with pytest.raises(OutsidePlan) as caught:
        check_event(PLAN, "Order Completed", "app", {"total": "secret", "currency": "zzz", "units": 0, "gift": "x"})
    problems = {problem.field: problem for problem in caught.value.problems}
    assert set(problems) == {
        "context.channel",
        "properties.currency",
        "properties.total",
        "properties.order_id",
        "properties.units",
        "properties.gift",
    }
    assert "secret" not in str(caught.value)
    assert problems["properties.order_id"].got == "nothing"


def test_unknown_events_are_kept_or_refused_by_configuration() -> None:
    found = check_event(PLAN, "Door Opened", "web", {"n": Decimal("1.5"), "empty": None})
    assert (found.properties, found.planned) == ({"n": 1.5}, False)
    with pytest.raises(OutsidePlan):
        check_event(PLAN.model_copy(update={"unknown_events": "refuse"}), "Door Opened", "web", {})


def test_the_senders_currency_holds_where_the_event_names_none() -> None:
    properties = {"order_id": "7", "total": 3}
    assert check_event(PLAN, "Order Completed", "web", properties, "JPY").value == 3
    assert check_event(PLAN, "Order Completed", "web", {**properties, "currency": "thb"}, "JPY").value == 300
    with pytest.raises(OutsidePlan):
        check_event(PLAN, "Order Completed", "web", properties)


def test_an_event_of_one_channel_is_of_that_channel() -> None:
    one = PLAN.events["Page Viewed"].model_copy(update={"channels": ("app",)})
    plan = PLAN.model_copy(update={"events": {**PLAN.events, "Page Viewed": one}})
    assert channel_of(plan, "Page Viewed", "web") == "app"
    assert channel_of(plan, "Order Completed", "app") == "app"
    assert channel_of(plan, "Door Opened", "app") == "app"


def test_numbers_and_depths_that_cannot_be_stored() -> None:
    deep: Any = 1
    for _ in range(60):
        deep = [deep]
    for value in (Decimal("1e400"), deep):
        with pytest.raises(ValueError, match=r"."):
            kept(value)
        with pytest.raises(OutsidePlan):
            check_event(PLAN, "Door Opened", "web", {"x": value})
        with pytest.raises(OutsidePlan):
            check_event(PLAN, "Order Completed", "web", {**ORDER, "x": value})
    for huge in (Decimal("1e999999999"), Decimal("-1e999999999"), Decimal("1e-999999999")):
        live_total = {**ORDER, "total": huge}
        try:
            check_event(PLAN, "Order Completed", "web", live_total)
        except OutsidePlan:
            continue
        assert abs(huge) < 1


@given(st.integers(-62_135_510_400_000_000, 221_845_392_000_000_000))
def test_instants_go_there_and_back(instant: int) -> None:
    assert instant_of(iso(instant)) == instant


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", 5, None, "9999-12-31T00:00:00Z"]
)
def test_what_is_no_instant(text: object) -> None:
    assert instant_of(text) is None
