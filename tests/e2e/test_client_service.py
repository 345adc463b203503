"""The client and the real service, from a customer's first event to their erasure."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pipelines.access import Keys
from pipelines.privacy import ENVIRONMENT_KEY, new_key
from pipelines.settings import Workspace
from serving.client import InvalidRequest, NotFound, TwinClient, Unauthorized
from tests.e2e.live_service import LiveService, live_service

pytestmark = pytest.mark.slow
SCOPES = ("ingest", "predict", "read", "review", "admin")


@pytest.fixture(scope="module")
def live() -> Iterator[LiveService]:
    patch = pytest.MonkeyPatch()
    patch.setenv(ENVIRONMENT_KEY, new_key())
    try:
        with live_service(Workspace(f"test-client-{os.getpid()}")) as service:
            service.check_well("first")
            yield service
    finally:
        patch.undo()


@pytest.fixture
def twin(live: LiveService) -> Iterator[TwinClient]:
    keys = Keys(live.workspace.access)
    key = keys.create("shop", SCOPES, "web", "THB", purposes=["profiling"], legal_basis="contract")[1]
    with TwinClient(live.server.url(), key) as client:
        yield client


def orders(customer: str, count: int) -> list[dict[str, object]]:
    return [
        {"type": "track", "event": "Order Completed", "userId": customer, "messageId": f"{customer}-{number}",
         "properties": {"order_id": f"{customer}-{number}", "total": 25.5, "note": "x" * 100}}
        for number in range(count)
    ]  # fmt: skip


def test_events_in_an_answer_out(twin: TwinClient) -> None:
    sent = twin.send(orders("mali", 230))
    assert (sent.accepted, sent.duplicates, sent.rejected_events) == (230, 0, 0)
    assert twin.send(orders("mali", 230)).duplicates == 230
    prediction = twin.predict("mali", reasons=True)
    assert 0 < prediction.probability < 1
    assert prediction.reasons
    one, unknown = twin.predict_many(["mali", "nobody"]).results
    assert one.error is None
    assert unknown.error is not None
    assert unknown.error.code == "unknown_customer"


def test_a_decision_is_made_once(twin: TwinClient) -> None:
    twin.send(orders("niran", 1))
    first, again = (twin.decide("niran", "campaign-1") for _ in range(2))
    assert (first.repeated, again.repeated) == (False, True)
    assert again.action == first.action
    assert twin.actions().state == "current"
    assert {model.model for model in twin.models().models if model.served} == {"churn"}


def test_consent_identity_and_rights(twin: TwinClient) -> None:
    twin.send(orders("arthit", 1))
    twin.identify({"email": "arthit@example.com"}, userId="arthit")
    said = {item.purpose: item for item in twin.consent({"marketing": True}, "arthit", note="by phone").permissions}
    assert (said["marketing"].allowed, said["marketing"].by) == (True, "own_word")
    assert twin.consent_read(identifier=("email", "arthit@example.com")).customer_id == "arthit"
    twin.send(orders("arthit-2", 1))
    ends = ("user_id", "arthit"), ("user_id", "arthit-2")
    assert twin.merge(*ends, "asked").one_customer
    assert {item.value for item in twin.resolve("arthit").identifiers} >= {"arthit", "arthit-2", "arthit@example.com"}
    assert not twin.unmerge(*ends).one_customer
    assert twin.waiting_pairs().pairs == []
    assert len(twin.privacy_access("case 1", "arthit").events) >= 3
    assert twin.privacy_erase("case 1", identifier=("email", "arthit@example.com")).found == []
    with pytest.raises(NotFound) as raised:
        twin.predict("arthit")
    assert raised.value.code == "unknown_customer"


def test_cloud_events_and_the_other_calls(twin: TwinClient) -> None:
    event = {"specversion": "1.0", "source": "/shop", "type": "order.completed", "subject": "suda"}
    answer = twin.events([{**event, "id": str(n), "data": {"order_id": str(n), "total": 1}} for n in range(3)])
    assert (answer.accepted, answer.unplanned) == (3, [])
    assert twin.page("Home", userId="suda").accepted == 1
    assert twin.screen("Home", userId="suda").accepted == 1
    assert twin.group("family", userId="suda").accepted == 1
    assert twin.alias("suda", "visitor-1").accepted == 1


def test_mistakes_are_told_field_by_field(twin: TwinClient, live: LiveService) -> None:
    with pytest.raises(InvalidRequest) as raised:
        twin.predict("")
    assert raised.value.details[0].field == "customer_id"
    assert raised.value.request_id
    rejected = twin.send([*orders("kamon", 120), {"type": "track", "event": "Order Completed"}])
    assert {item.index for item in rejected.rejected} == {120}
    with TwinClient(live.server.url(), "no such key") as stranger, pytest.raises(Unauthorized):
        stranger.consent_read("mali")
