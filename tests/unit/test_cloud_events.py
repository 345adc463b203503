"""CloudEvents 1.0: what each field becomes, the three modes of the HTTP binding, and the official SDK as a client."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from pipelines.access import Keys
from serving.api.errors import ApiError
from serving.api.ingest.cloudevents import CLOUD_EVENT, event_name, event_names, is_json, message_id
from serving.api.ingest.cloudevents_http import BATCH, STRUCTURED, open_cloud_events
from serving.api.ingest.segment import Refused, Taken
from tests.unit.serving_client import check_shape
from tests.unit.test_ingestion_api import JSON, NASTY, Live, live, shop  # noqa: F401
from tests.unit.test_segment_calls import NOW, RULES, SECOND, SENDER

PATH = "/v1/events"
ORDER = {
    "specversion": "1.0",
    "id": "e1",
    "source": "/shop/1",
    "type": "com.example.order.completed",
    "subject": "c1",
    "data": {"order_id": "o1", "total": 25.5},
}


def take(event: Any) -> Taken:
    return RULES.take(json.dumps(event).encode(), SENDER, CLOUD_EVENT)


def fields(event: Any) -> list[str]:
    with pytest.raises(Refused) as caught:
        take(event)
    assert all(problem.expected and problem.got for problem in caught.value.problems)
    return [problem.field for problem in caught.value.problems]


# --- an event --------------------------------------------------------------------------------


def test_an_event() -> None:
    sent = {**ORDER, "time": "2026-07-01T11:00:00.5Z", "traceparent": "00-1", "attempt": 2, "test": False}
    sent |= {"dataschema": "/s", "datacontenttype": "application/json", "dataref": None}
    taken = take(sent)
    event = taken.event
    assert taken.planned
    assert (event.source, event.event, event.channel, event.user_id) == ("web", "Order Completed", "web", "c1")
    assert (event.value, event.currency, event.anonymous_id) == (2550, "THB", None)
    assert (event.event_time, event.available_at) == (NOW - 3600 * SECOND + SECOND // 2, NOW)
    attributes = {key: value for key, value in sent.items() if key not in ("data", "dataref")}
    assert event.properties == {
        "order_id": "o1",
        "total": 2550,
        "$call": {"type": "cloudevent", "attributes": attributes, "timestamp": "2026-07-01T11:00:00.5Z"},
    }


def test_identifiers_in_the_data_come_first_and_are_no_properties() -> None:
    for named in ({"userId": "u"}, {"anonymousId": "a"}, {"userId": 5, "anonymousId": "a"}):
        event = take({**ORDER, "data": {**ORDER["data"], **named}}).event  # type: ignore[dict-item]
        assert (event.user_id, event.anonymous_id) == (
            str(named["userId"]) if "userId" in named else None,
            named.get("anonymousId"),
        )
        assert not {"userId", "anonymousId"} & event.properties.keys()
    nulls = {**ORDER["data"], "userId": None, "anonymousId": None}  # type: ignore[dict-item]
    assert take({**ORDER, "data": nulls}).event.user_id == "c1"


def test_a_channel_of_ours_is_taken() -> None:
    assert take({**ORDER, "channel": "app"}).event.channel == "app"
    assert take({**ORDER, "channel": "elsewhere"}).event.channel == "web"


def test_data_in_base64_is_the_same_to_the_last_digit() -> None:
    data = b'{"order_id": "o1", "total": 0.285, "note": 0.1}'
    packed = {key: value for key, value in ORDER.items() if key != "data"}
    packed["data_base64"] = base64.b64encode(data).decode()
    given = RULES.take(
        json.dumps(ORDER).replace(json.dumps(ORDER["data"]), data.decode()).encode(), SENDER, CLOUD_EVENT
    )
    assert take(packed).event == given.event


@pytest.mark.parametrize(
    "event", [{**ORDER, "type": "Door Opened", "data": None}, {"type": "x", **ORDER, "time": None}]
)
def test_what_is_null_or_missing_is_unset(event: dict[str, Any]) -> None:
    assert take(event).event.event_time == NOW
    assert take({key: value for key, value in event.items() if value is not None}).event == take(event).event


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"specversion": None}, ["specversion"]),
        ({"specversion": "0.3"}, ["specversion"]),
        ({"specversion": "1.0.2"}, ["specversion"]),
        ({"specversion": 1.0}, ["specversion"]),
        ({"id": None}, ["id"]),
        ({"id": ""}, ["id"]),
        ({"id": 5}, ["id"]),
        ({"source": None, "type": None}, ["source", "type"]),
        ({"source": "a\nb"}, ["source"]),
        ({"type": "x" * 201}, ["type"]),
        ({"time": "yesterday"}, ["time"]),
        ({"time": 5}, ["time"]),
        ({"time": "2026-01-01T00:00:00"}, ["time"]),
        ({"subject": None}, ["subject"]),
        ({"subject": "x" * 257}, ["subject"]),
        ({"data": {"userId": "", "order_id": "o", "total": 1}}, ["data.userId"]),
        ({"data": {"anonymousId": [], "order_id": "o", "total": 1}}, ["data.anonymousId"]),
        ({"data": {"order_id": "o1"}}, ["data.total"]),
        ({"data": [1]}, ["data"]),
        ({"data": "{}"}, ["data"]),
        ({"data_base64": "e30="}, ["data_base64"]),
        ({"datacontenttype": "application/xml"}, ["datacontenttype"]),
        ({"data": None, "datacontenttype": "text/plain"}, ["data.order_id", "data.total"]),
        ({"My-Extension": "x"}, ["(attribute)"]),
        ({"extension": {"a": 1}}, ["extension"]),
        ({"extension": 1.5}, ["extension"]),
        ({"type": "email.opened", "channel": "pos", "data": {"message_id": "m"}}, ["channel"]),
    ],
)
def test_mistakes_are_told_in_the_words_of_the_event(change: dict[str, Any], wrong: list[str]) -> None:
    assert sorted(fields({**ORDER, **change})) == sorted(wrong)


def test_what_is_no_json_in_base64() -> None:
    packed = {key: value for key, value in ORDER.items() if key != "data"}
    for content in ("%%%", "e3s=", base64.b64encode(b"[1]").decode(), base64.b64encode(b"\xff").decode(), 5, ["a"]):
        assert fields({**packed, "data_base64": content}) == ["data"]


PAIR = st.tuples(st.text(max_size=8), st.text(max_size=8))


@given(PAIR, PAIR)
def test_one_message_id_a_pair_of_source_and_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (message_id(*one) == message_id(*other)) == (one == other)
    assert len(message_id(*one)) <= 100
    assume(one[0] and one[1])
    assert message_id(one[0] + one[1][:1], one[1][1:]) != message_id(*one)


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Order Completed", "Order Completed"),
        ("order completed", "Order Completed"),
        ("com.example.order.completed", "Order Completed"),
        ("com.example.order.completed.v1", "Order Completed"),
        ("com.example.OrderCompleted", "Order Completed"),
        ("com.example.shop/order_completed", "Order Completed"),
        ("order-completed", "Order Completed"),
        ("order.completed.now", "order.completed.now"),
        ("com.example.preorder.completed", "com.example.preorder.completed"),
        ("completed", "completed"),
        ("v2", "v2"),
        ("...", "..."),
        ("com.example.email.link.clicked", "Email Link Clicked"),
        ("link.clicked", "link.clicked"),
    ],
)
def test_the_name_of_a_type(kind: str, name: str) -> None:
    assert event_name(kind, RULES.names) == name


def test_every_event_of_the_plan_is_reached_by_its_slug() -> None:
    names = list(RULES.plan.events)
    assert len(RULES.names) == len(names)
    for name in names:
        slug = re.sub(r"[^a-z0-9]+", ".", name.lower())
        for kind in (name, slug, f"com.example.{slug}", f"com.example.{slug}.v3"):
            assert event_name(kind, RULES.names) == name


def test_the_exact_name_comes_first_and_of_two_alike_the_first() -> None:
    names = event_names(["Order Completed", "ordercompleted", "Completed"])
    assert event_name("order.completed", names) == "Order Completed"
    assert event_name("other.completed", names) == "Completed"


def test_media_types_of_json() -> None:
    for kind in ("application/json", "text/json; charset=utf-8", "application/vnd.x+json", "Application/JSON"):
        assert is_json(kind)
    for kind in ("application/xml", "json", "application/jsonx", "", "a b/json", "application/+json"):
        assert not is_json(kind)


# --- the HTTP binding ------------------------------------------------------------------------


def binary(headers: dict[str, str], body: bytes = b"{}") -> Any:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    envelope, single = open_cloud_events(Headers(raw=raw), body, 10)
    assert single
    return json.loads(envelope.items[0])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_percent_encoded_headers_are_decoded_once(text: str) -> None:
    always = binary({"ce-subject": quote(text, safe="")})
    assert always["subject"] == text
    needed = "".join(quote(c) if c in ' "%' or not "!" <= c <= "~" else c for c in text)
    assert binary({"ce-subject": needed, "content-type": "application/json"})["subject"] == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%2541", "%41"),
        ('"a b"', "a b"),
        (r'"a \"b\" \\ %20"', 'a "b" \\  '),
        ("%zz%4", "%zz%4"),
        ("a+b", "a+b"),
        ("สมชาย".encode().decode("latin-1"), "สมชาย"),
    ],
)
def test_values_of_headers(value: str, text: str) -> None:
    assert binary({"CE-Subject": value})["subject"] == text


@pytest.mark.parametrize("value", ["%C0%A0", "%ff", "%ED%A0%80", "\xff"])
def test_encodings_that_are_no_utf_8_are_refused(value: str) -> None:
    with pytest.raises(ApiError) as caught:
        binary({"ce-subject": value})
    assert (caught.value.status, caught.value.details[0].field) == (400, "ce-subject")


@pytest.mark.parametrize("name", ["ce-datacontenttype", "ce-data", "ce-data_base64"])
def test_headers_for_what_stands_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        binary({name: "x"})
    assert caught.value.details[0].field == name


def test_a_header_twice_is_refused() -> None:
    raw = [(b"ce-id", b"1"), (b"ce-id", b"2")]
    with pytest.raises(ApiError):
        open_cloud_events(Headers(raw=raw), b"", 10)


@given(st.binary(max_size=30) | st.sampled_from([b'{}, "id": "x"', b'{} "id"', b'"\xff"', b"[" * 5000, b" {} "]))
def test_no_body_reaches_beyond_the_data(body: bytes) -> None:
    event = binary({"ce-id": "1", "content-type": "application/json"}, body)
    assert event["id"] == "1"
    payload = {key: value for key, value in event.items() if key not in ("id", "datacontenttype")}
    try:
        expected = {"data": json.loads(body)} if body else {}
    except (ValueError, RecursionError):
        expected = {"data_base64": base64.b64encode(body).decode()}
    assert payload == expected or payload == {"data_base64": base64.b64encode(body).decode()}


def sdk(live: Live, message: HTTPMessage) -> Any:  # noqa: F811
    return live.client.post(
        PATH, content=message.body, headers={**message.headers, "authorization": f"Bearer {live.key}"}
    )


def test_the_official_sdk_in_both_modes_and_once_is_enough(live: Live) -> None:  # noqa: F811
    attributes = {
        "type": "com.example.order.completed",
        "source": "/ร้าน/1",
        "id": 'an "id" with 100% อักษร',
        "subject": "c1",
        "time": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
        "datacontenttype": "application/json",
        "extension": "€ 😀",
    }
    event = CloudEvent(attributes, {"order_id": "o1", "total": 25.5})
    first = sdk(live, to_binary_event(event))
    assert (first.status_code, first.json()["accepted"]) == (200, 1), first.text
    for message in (to_structured_event(event), to_binary_event(event)):
        again = sdk(live, message).json()
        assert (again["accepted"], again["duplicates"]) == (0, 1)
    (stored,) = live.events()
    assert (stored.event.event, stored.event.user_id, stored.event.value) == ("Order Completed", "c1", 2550)
    assert stored.event.event_time == int(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()) * SECOND + 600
    kept = stored.event.properties["$call"]["attributes"]
    assert {name: kept[name] for name in ("source", "id", "extension")} == {
        name: attributes[name] for name in ("source", "id", "extension")
    }
    assert live.position() == stored.position
    other = CloudEvent({**attributes, "source": "/ร้าน/2"}, {"order_id": "o1", "total": 25.5})
    assert sdk(live, to_structured_event(other)).json()["accepted"] == 1
    assert len(live.events()) == 2


def test_the_official_sdk_with_bytes_and_without_data(live: Live) -> None:  # noqa: F811
    attributes = {"type": "com.example.order.completed", "source": "/s", "subject": "c1"}
    event = CloudEvent(
        {**attributes, "id": "1", "datacontenttype": "application/json"}, b'{"order_id": "o", "total": 1}'
    )
    for message in (to_structured_event(event), to_binary_event(event)):
        assert sdk(live, message).status_code == 200
    nothing = CloudEvent({"type": "Door Opened", "source": "/s", "id": "2", "subject": "c1"}, None)
    for message in (to_structured_event(nothing), to_binary_event(nothing)):
        assert sdk(live, message).json()["unplanned"] == [0]
    assert len(live.events()) == 2
    image = CloudEvent({**attributes, "id": "3", "datacontenttype": "image/png"}, b"\x89PNG")
    for message in (to_structured_event(image), to_binary_event(image)):
        assert check_shape(sdk(live, message), 400, "invalid_event")[0]["field"] == "datacontenttype"
    assert [json.loads(line["text"])["data_base64"] for line in live.quarantined()] == ["iVBORw=="] * 2


def post(live: Live, content: Any, kind: str = STRUCTURED, **headers: str) -> Any:  # noqa: F811
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return live.client.post(PATH, content=body, headers={"content-type": kind, **headers}, auth=(live.key, ""))


def test_a_batch_keeps_the_good_and_tells_the_bad(live: Live) -> None:  # noqa: F811
    batch = [
        {**ORDER, "id": "1"},
        {**ORDER, "id": "2", "specversion": "0.3", "subject": "secret-person"},
        5,
        {**ORDER, "id": "3", "type": "com.example.door.opened"},
        {**ORDER, "id": "1"},
        {**ORDER, "id": "4", "time": "8000-01-01T00:00:00Z"},
    ]
    answer = post(live, batch, f"{BATCH}; charset=UTF-8")
    content = answer.json()
    assert (content["accepted"], content["duplicates"], content["rejected_events"]) == (3, 1, 2)
    assert [(item["index"], item["field"], item["got"]) for item in content["rejected"]] == [
        (1, "specversion", "another version"),
        (2, "(event)", "a whole number"),
    ]
    assert (content["unplanned"], content["clamped"]) == ([3], [5])
    assert "secret-person" not in answer.text
    kept = live.quarantined()
    assert [(line["index"], line["call"]) for line in kept] == [(1, "cloudevent"), (2, "cloudevent")]
    assert json.loads(kept[0]["text"]) == batch[1]
    assert post(live, [], BATCH).json()["accepted"] == 0


def test_modes_limits_and_formats(live: Live) -> None:  # noqa: F811
    assert post(live, ORDER, "Application/CloudEvents+JSON; charset=utf-8").status_code == 200
    packed = gzip.compress(json.dumps([ORDER]).encode())
    assert post(live, packed, BATCH, **{"content-encoding": "gzip"}).json()["duplicates"] == 1
    for kind in ("application/cloudevents+avro", "application/cloudevents", f"{STRUCTURED}; charset=utf-16"):
        check_shape(post(live, ORDER, kind), 415, "unsupported_media_type")
    check_shape(post(live, [ORDER] * 2501, BATCH), 400, "too_many_events")
    check_shape(post(live, ORDER, BATCH), 400, "invalid_request")
    check_shape(post(live, b"[1", BATCH), 400, "invalid_json")
    check_shape(post(live, [ORDER]), 400, "invalid_request")
    check_shape(post(live, b" " * 600_000), 400, "body_too_large")
    (detail,) = check_shape(post(live, {**ORDER, "x": "y" * 33_000}), 400, "invalid_event")
    assert "32768" in detail["expected"]
    details = check_shape(post(live, ORDER, "application/json"), 400, "invalid_event")
    assert [detail["field"] for detail in details] == ["specversion", "id", "source", "type"]
    assert all("nothing" in detail["got"] for detail in details)


def test_the_same_keys_as_for_other_events(live: Live) -> None:  # noqa: F811
    _, weak = Keys(live.workspace.access).create("asking", ["predict"])

    def status(authorization: str | None) -> Any:
        headers = {"content-type": STRUCTURED} | ({"authorization": authorization} if authorization else {})
        return live.client.post(PATH, json={**ORDER, "writeKey": live.key}, headers=headers)

    for wrong in (None, "Bearer x"):
        check_shape(status(wrong), 401, "unauthorized")
    assert check_shape(status(f"Bearer {weak}"), 403, "forbidden")[0]["expected"] == "a key with the scope ingest"
    assert live.events() == []
    assert live.client.get(PATH).status_code == 405


NAMES = st.sampled_from(
    ["id", "source", "type", "specversion", "subject", "time", "data", "data_base64", "datacontenttype"]
)
EVENT = st.dictionaries(NAMES | st.text(max_size=5), JSON | NASTY, max_size=9) | st.fixed_dictionaries(
    {key: st.just(value) | JSON | NASTY for key, value in ORDER.items()}
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=EVENT | st.lists(EVENT, max_size=3) | JSON, kind=st.sampled_from([STRUCTURED, BATCH, "application/json"])
)
def test_never_a_500(live: Live, content: Any, kind: str) -> None:  # noqa: F811
    answer = post(live, json.dumps(content).encode("utf-8", "surrogatepass"), kind)
    assert answer.status_code in (200, 400), answer.text


HEADER = st.dictionaries(
    st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-subject", "ce-time", "ce-x", "ce-x-y"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=HEADER, body=st.binary(max_size=60), kind=st.sampled_from(["application/json", "text/plain", BATCH]))
def test_never_a_500_for_any_headers(live: Live, headers: dict[str, str], body: bytes, kind: str) -> None:  # noqa: F811
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = live.client.post(PATH, content=body, headers={**raw, "content-type": kind}, auth=(live.key, ""))  # type: ignore[dict-item]
    assert answer.status_code in (200, 400), answer.text
