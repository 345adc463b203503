"""Calls of the Segment protocol become events: fields, limits, clocks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.access import AccessKey
from pipelines.events.plan_check import iso
from pipelines.settings import load_settings
from pipelines.settings.profile import IngestionProfile
from serving.api.ingest.clock import happened
from serving.api.ingest.segment import Refused, Rules, Sender, Taken

RULES = Rules(load_settings().tracking_plan, IngestionProfile(), load_settings().identity)
NOW = int(datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
SENDER = Sender(AccessKey("id", "web", ("ingest",), "web", "THB", 0), NOW)
TRACK = {"userId": "c1", "event": "Order Completed", "properties": {"order_id": "o1", "total": 25.5}}


def take(item: Any, kind: str | None = "track", sender: Sender = SENDER, rules: Rules = RULES) -> Taken:
    return rules.take(json.dumps(item).encode(), sender, kind)


def fields(item: Any, kind: str | None = "track", rules: Rules = RULES) -> set[str]:
    """Fields that are told to be wrong."""
    with pytest.raises(Refused) as caught:
        take(item, kind, rules=rules)
    assert all(problem.expected and problem.got for problem in caught.value.problems)
    return {problem.field for problem in caught.value.problems}


def test_a_track_call() -> None:
    item = {
        **TRACK,
        "messageId": "m1",
        "anonymousId": "a1",
        "timestamp": "2026-07-01T11:00:00.5Z",
        "context": {"ip": "1.2.3.4", "channel": "app", "locale": None},
        "integrations": {"All": True},
    }
    event = take(item).event
    assert (event.source, event.event_id, event.event, event.channel) == ("web", "m1", "Order Completed", "app")
    assert (event.user_id, event.anonymous_id, event.value, event.currency) == ("c1", "a1", 2550, "THB")
    assert (event.event_time, event.available_at) == (NOW - 3600 * SECOND + SECOND // 2, NOW)
    assert event.properties == {
        "order_id": "o1",
        "total": 2550,
        "$call": {"type": "track", "timestamp": item["timestamp"], "context": {"ip": "1.2.3.4", "channel": "app"}},
    }


@pytest.mark.parametrize(
    ("kind", "item", "name", "properties", "channel"),
    [
        ("page", {"name": "Home", "properties": {"path": "/"}}, "Page Viewed", {"name": "Home", "path": "/"}, "web"),
        ("screen", {"name": "Home"}, "Screen Viewed", {"name": "Home"}, "app"),
        (
            "identify",
            {"traits": {"plan": "x"}, "context": {"traits": {"plan": "y", "tier": 1}}},
            "Customer Identified",
            {"plan": "x", "tier": 1},
            "web",
        ),
        ("group", {"groupId": "g", "traits": {"n": 1.5}}, "Customer Grouped", {"group_id": "g", "n": 1.5}, "web"),
        ("alias", {"previousId": "a0"}, "Customer Aliased", {"previous_id": "a0"}, "web"),
        (
            "track",
            {"event": "Email Opened", "properties": {"message_id": "m"}},
            "Email Opened",
            {"message_id": "m"},
            "email",
        ),
    ],
)
def test_every_kind_of_call(
    kind: str, item: dict[str, Any], name: str, properties: dict[str, Any], channel: str
) -> None:
    taken = take({"userId": "c1", **item}, kind)
    assert taken.planned
    assert (taken.event.event, taken.event.channel) == (name, channel)
    assert {key: value for key, value in taken.event.properties.items() if key != "$call"} == properties
    assert take({"userId": "c1", "type": kind, **item}, None).event.event == name


def test_explicit_nulls_are_nothing() -> None:
    nulls = dict.fromkeys(("anonymousId", "messageId", "timestamp", "sentAt", "context", "integrations"))
    event = take({**TRACK, **nulls, "properties": {**TRACK["properties"], "coupon": None}}).event
    assert event.anonymous_id is None
    assert event.event_time == NOW
    assert "coupon" not in event.properties
    identify = take({"userId": "c1", "traits": None, "context": {"traits": None}}, "identify").event
    assert set(identify.properties) == {"$call"}


def test_a_message_id_is_made_where_there_is_none() -> None:
    assert take(TRACK).event.event_id != take(TRACK).event.event_id


def test_whole_numbers_are_ids_too() -> None:
    assert take({**TRACK, "userId": 17850}).event.user_id == "17850"


def test_the_batchs_context_and_time_hold_where_the_item_has_none() -> None:
    sender = replace(SENDER, context={"ip": "x", "channel": "app"}, sent_at=iso(NOW - 7200 * SECOND))
    own = {**TRACK, "type": "track", "context": {"ip": "y"}, "timestamp": iso(NOW - 7205 * SECOND)}
    event = take(own, None, sender).event
    assert event.properties["$call"]["context"] == {"ip": "y", "channel": "app"}
    assert event.channel == "app"
    assert event.event_time == NOW - 5 * SECOND
    assert event.properties["$call"]["corrected"]


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"userId": None}, {"userId"}),
        ({"userId": ""}, {"userId"}),
        ({"userId": "x" * 257}, {"userId"}),
        ({"userId": "a\0b"}, {"userId"}),
        ({"userId": 1.5}, {"userId"}),
        ({"userId": True}, {"userId"}),
        ({"userId": {"a": 1}}, {"userId"}),
        ({"anonymousId": []}, {"anonymousId"}),
        ({"event": None}, {"event"}),
        ({"event": ""}, {"event"}),
        ({"event": "x" * 201}, {"event"}),
        ({"messageId": "x" * 101}, {"messageId"}),
        ({"messageId": 5}, {"messageId"}),
        ({"timestamp": "yesterday"}, {"timestamp"}),
        ({"timestamp": 1_700_000_000}, {"timestamp"}),
        ({"timestamp": "2026-01-01T00:00:00"}, {"timestamp"}),
        ({"timestamp": "0000-01-01T00:00:00Z"}, {"timestamp"}),
        ({"sentAt": "x"}, {"sentAt"}),
        ({"properties": []}, {"properties", "properties.order_id", "properties.total"}),
        ({"properties": {"order_id": 1, "total": "x"}}, {"properties.order_id", "properties.total"}),
        ({"context": {"channel": "email"}}, {"context.channel"}),
        ({"userId": 5.5, "event": 1, "timestamp": 2}, {"userId", "event", "timestamp"}),
    ],
)
def test_mistakes_of_a_track_call(change: dict[str, Any], wrong: set[str]) -> None:
    assert fields({**TRACK, **change}) == wrong


def test_mistakes_of_other_calls() -> None:
    assert fields({"anonymousId": "a"}, "alias") == {"userId", "previousId"}
    assert fields({"userId": "c"}, "group") == {"groupId"}
    assert fields({"userId": "c"}, None) == {"type"}
    assert fields({"userId": "c", "type": "fly"}, None) == {"type"}
    assert fields({"userId": "c", "type": ["track"]}, None) == {"type"}
    assert fields([1]) == {"(event)"}


def test_an_event_may_be_as_large_as_the_limit() -> None:
    def sized(size: int) -> dict[str, Any]:
        item = {"userId": "c", "event": "Free Text Sent", "properties": {"text": ""}}
        item["properties"]["text"] = "x" * (size - len(json.dumps(item)))  # type: ignore[index]
        return item

    assert take(sized(32 * 1024)).event.event == "Free Text Sent"
    assert fields(sized(32 * 1024 + 1)) == {"(event)"}


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": NaN}', b"\xff", b"[" * 5000, b'"\\ud800"', b'{"userId": 1e}'])
def test_what_is_no_json(raw: bytes) -> None:
    with pytest.raises(Refused):
        RULES.take(raw, SENDER, "track")


def test_events_ahead_of_our_clock_are_clamped_or_refused() -> None:
    item = {**TRACK, "timestamp": iso(NOW + 1)}
    taken = take(item)
    assert taken.clamped
    assert taken.event.event_time == NOW
    assert taken.event.properties["$call"]["clamped"]
    strict = replace(RULES, limits=IngestionProfile(future_events="refuse"))
    assert fields(item, rules=strict) == {"timestamp"}
    assert take({**TRACK, "timestamp": "8999-12-31T23:59:59Z"}).event.event_time == NOW


def test_a_clock_so_wrong_that_no_time_is_left_is_refused() -> None:
    ancient = {**TRACK, "timestamp": "0001-01-02T00:00:00Z"}
    assert iso(take(ancient).event.event_time) == "0001-01-02T00:00:00.000000Z"
    assert fields({**ancient, "sentAt": "8999-01-01T00:00:00Z"}) == {"sentAt"}


def test_unknown_events_are_marked_or_refused() -> None:
    item = {"userId": "c", "event": "Door Opened", "properties": {"n": 1}}
    taken = take(item)
    assert not taken.planned
    assert taken.event.properties["$call"]["unplanned"]
    strict = replace(RULES, plan=RULES.plan.model_copy(update={"unknown_events": "refuse"}))
    assert fields(item, rules=strict) == {"event"}


@given(st.integers(-(10**15), 10**15), st.integers(-(10**6) * SECOND, 60 * SECOND))
def test_a_clock_that_is_wrong_is_corrected_and_one_that_is_right_is_believed(error: int, age: int) -> None:
    at = NOW + min(age, 0)
    when = happened(at + error, NOW + error, NOW, 60 * SECOND)
    assert when.corrected == (abs(error) > 60 * SECOND)
    assert when.at == (at if when.corrected else min(at + error, NOW))
    assert when.at <= NOW


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["userId", "anonymousId", "event", "type", "properties", "traits", "context", "timestamp", "sentAt", "messageId"]
)


@given(st.dictionaries(KEYS | st.text(max_size=5), JSON, max_size=9), st.sampled_from(["track", "identify", None]))
def test_anything_is_taken_or_refused(item: dict[str, Any], kind: str | None) -> None:
    for changed in (item, {**TRACK, **item}, {**TRACK, "properties": {**TRACK["properties"], **item}}):
        try:
            taken = RULES.take(json.dumps(changed).encode("utf-8", "surrogatepass"), SENDER, kind)
        except Refused:
            continue
        assert taken.event.user_id or taken.event.anonymous_id
        assert taken.event.event_time <= NOW
