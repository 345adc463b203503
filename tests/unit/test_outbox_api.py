"""The outbox over HTTP: who may list it, whose messages are whose, and places that are no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from pipelines.events.journal import NewEvent
from pipelines.outbox import Edge, Message, message_id, open_outbox
from tests.unit.desk_parts import NOON, furnish, says
from tests.unit.serving_client import check_shape
from tests.unit.twin_api_parts import Asking, asking, twin_settings

SET_OFF = "cart_left"


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    settings = twin_settings(tmp_path_factory.mktemp("outbox"))
    furnish(settings, customers=3)
    with asking(settings) as made, closing(open_outbox(settings)) as outbox:
        for number in range(3):
            edge = Edge(f"c{number}", SET_OFF, "waiting", NOON, NOON)
            name = message_id(edge.customer_id, SET_OFF, NOON, None)
            outbox.save([(edge, None)])
            message = Message(name, edge.customer_id, SET_OFF, NOON, None, NOON + number, "{}", state="kept")
            assert outbox.fire(edge, NOON, [message])
        yield made


def listed(ask: Asking, **body: Any) -> list[str]:
    answer = ask.post("/v1/outbox", body)
    assert answer.status_code == 200, answer.text
    return [message["customer_id"] for message in answer.json()["messages"]]


def test_a_key_limited_to_views_sees_no_message(ask: Asking) -> None:
    """They say more than any view shows."""
    assert listed(ask) == ["c0", "c1", "c2"]
    for key in ("marketing", "sales"):
        check_shape(ask.post("/v1/outbox", {}, key), 403, "forbidden")


def test_a_page_after_a_message_that_is_gone_is_not_the_end(ask: Asking) -> None:
    after = message_id("c0", SET_OFF, NOON, None)
    assert listed(ask, after=after) == ["c1", "c2"]
    gone = message_id("c0", SET_OFF, NOON + 1, None)
    details = check_shape(ask.post("/v1/outbox", {"after": gone}), 400, "invalid_request")
    assert details[0]["field"] == "after"


def test_of_who_denied_profiling_a_message_says_nothing_more(ask: Asking) -> None:
    def payloads() -> list[Any]:
        return [message["payload"] for message in ask.post("/v1/outbox", {}).json()["messages"]]

    assert payloads() == [{}, {}, {}]
    ask.keep(says("c2", "profiling", False, NOON))
    assert payloads() == [{}, {}, None]


def test_messages_from_before_a_merge_are_the_customers(ask: Asking) -> None:
    assert listed(ask, customer_id="c1") == ["c1"]
    properties = {"previous_id": "c1"}
    ask.keep(NewEvent("web", "one", "Customer Aliased", NOON, NOON, "web", user_id="c0", properties=properties))
    assert listed(ask, customer_id="c0") == listed(ask, customer_id="c1") == ["c0", "c1"]
