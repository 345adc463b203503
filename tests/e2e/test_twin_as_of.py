"""The past of a twin over a real service: it is what a workspace says that never knew more than was known then."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest

from pipelines.access import Keys
from pipelines.events.journal import NewEvent
from pipelines.events.journal_sqlite import SQLiteJournal
from pipelines.events.plan_check import iso
from pipelines.privacy import ENVIRONMENT_KEY, new_key, seal_event, sealer_of
from pipelines.settings import CHECKOUT, Settings
from pipelines.state_build import build_state
from tests.e2e.cli import throwaway_workspace, twin
from tests.e2e.test_service import Server
from tests.unit.serving_parts import ingest_key, make_shop

pytestmark = pytest.mark.slow

DAY = 24 * 3_600_000_000
# The newest arrival of a month ago, and the instant just after it.
ARRIVED = (time.time_ns() // 1000 // DAY - 30) * DAY
THEN = ARRIVED + 1
EMAIL = "malee.wong@shop.example.org"
CUSTOMERS = ("malee", "somsak", "anan")
# Of the answer, not of the customer: which map of identities it was read by, and where it was read.
APART = ("request_id", "revision", "read_from", "predictions", "predictions_note")


@dataclass
class Place:
    """A workspace and the service over it. The keys are those of every scope."""

    settings: Settings
    server: Server
    keys: dict[str, str]
    sent: int = field(default=0)

    def post(self, path: str, body: Any, key: str = "reader", status: int = 200) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.keys[key]}"}
        answer = httpx.post(f"{self.server.url()}{path}", json=body, headers=headers, timeout=60, trust_env=False)
        until = time.monotonic() + 60
        # The first call imports engines; on a busy machine that takes longer than an answer may.
        while answer.status_code == 504 and time.monotonic() < until:
            answer = httpx.post(f"{self.server.url()}{path}", json=body, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == status, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def track(self, event: str, who: str, at: int | None = None, **properties: Any) -> None:
        self.sent += 1
        body = {"messageId": f"m{self.sent}", "userId": who, "event": event, "properties": properties}
        self.post("/v1/track", {**body, **({} if at is None else {"timestamp": iso(at)})}, "web")

    def twin(self, who: str, as_of: int | None = None) -> dict[str, Any]:
        body = {"customer_id": who, **({} if as_of is None else {"as_of": iso(as_of)})}
        return self.post("/v1/twin", body)

    def merge(self, act: str) -> None:
        left, right = ({"kind": "user_id", "value": value} for value in ("malee", "somsak"))
        self.post(f"/v1/identity/{act}", {"left": left, "right": right, "note": "asked"}, "reviewer")


@contextmanager
def place(name: str, events: list[NewEvent]) -> Iterator[Place]:
    """A service over a workspace whose journal has these events."""
    with throwaway_workspace(name) as workspace:
        shop = make_shop(CHECKOUT)
        settings = replace(shop.settings, workspace=workspace)
        shop.settings = settings
        shop.publish(version="5")
        keys = {"web": ingest_key(workspace)}
        scopes = {"reader": ["read"], "reviewer": ["review"], "admin": ["admin", "read"], "asker": ["predict"]}
        store = Keys(workspace.access)
        keys |= {name: store.create(name, of)[1] for name, of in scopes.items()}
        journal = SQLiteJournal(workspace.journal)
        sealer = sealer_of(workspace)
        journal.append([seal_event(event, settings.identity, sealer) for event in events])
        journal.close()
        # From here on they are in the lake, and what comes live is in the journal.
        build_state(settings)
        server = Server(workspace.name, "--port", "0")
        try:
            yield Place(settings, server, keys)
        finally:
            server.kill()
            shutil.rmtree(workspace.root, ignore_errors=True)


def a_month_ago() -> list[NewEvent]:
    """All that had arrived by then, the last of it just before `THEN`."""
    made: list[NewEvent] = []

    def did(who: str, event: str, days: float, arrived: float | None = None, **properties: Any) -> None:
        at, there = (ARRIVED - round(day * DAY) for day in (days, days if arrived is None else arrived))
        value = properties.pop("value", None)
        made.append(
            NewEvent("web", f"old-{len(made)}", event, at, there, "web", user_id=who, value=value, currency="THB",
                     identifiers={"email": EMAIL} if event == "Customer Identified" else {}, properties=properties)
        )  # fmt: skip

    did("malee", "Customer Identified", 40, email=EMAIL, city="Bangkok", language="th")
    for number in range(60):
        did("malee", "Product Viewed", 39 - number / 2, product_id=f"p{number % 4}")
    did("malee", "Order Completed", 9, order_id="o1", value=125_000)
    did("malee", "Consent Updated", 8, purpose="marketing", granted=True)
    did("somsak", "Product Viewed", 5, product_id="p1")
    did("somsak", "Product Added", 4, product_id="p1")
    # Known three days after it happened.
    did("somsak", "Email Opened", 6, arrived=3, message_id="e1")
    did("anan", "Order Completed", 300, order_id="o2", value=50_000)
    did("anan", "Survey Answered", 0.0, survey="nps", score=3)
    return made


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Place, Place]]:
    """The service of today, and one whose workspace ended a month ago."""
    patch = pytest.MonkeyPatch()
    patch.setenv(ENVIRONMENT_KEY, new_key())
    try:
        with ExitStack() as stack:
            today = stack.enter_context(place("twin-today", a_month_ago()))
            former = stack.enter_context(place("twin-former", a_month_ago()))
            live(today)
            yield today, former
    finally:
        patch.undo()


def live(today: Place) -> None:
    """What came over HTTP since, some of it about the time before."""
    today.track("Product Added", "malee", product_id="p9")
    today.track("Order Completed", "somsak", order_id="o3", total=990.0, currency="THB")
    # These happened before `THEN`, and nobody knew.
    today.track("Order Completed", "somsak", ARRIVED - 2 * DAY, order_id="o4", total=10.0, currency="THB")
    today.track("Product Viewed", "malee", ARRIVED - DAY, product_id="unknown-then")
    today.track("Consent Updated", "malee", purpose="marketing", granted=False)
    today.track("Order Completed", "new", order_id="o5", total=10.0, currency="THB")


def told(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in APART}


def check_the_past(today: Place, former: Place, customers: tuple[str, ...] = CUSTOMERS) -> None:
    for who in customers:
        now, then = former.twin(who), today.twin(who, THEN)
        assert (now["read_from"], then["read_from"]) == ("states", "log")
        assert now["as_of"] == iso(THEN)
        assert told(then) == told(now), who


def test_a_month_ago_is_what_was_said_then(places: tuple[Place, Place]) -> None:
    today, former = places
    check_the_past(today, former)
    for who in CUSTOMERS:
        assert told(today.twin(who)) != told(today.twin(who, THEN))
    today.post("/v1/twin", {"customer_id": "new", "as_of": iso(THEN)}, status=404)
    assert today.twin("malee", THEN)["consents"] != today.twin("malee")["consents"]


def test_now_is_what_the_log_says_of_now(places: tuple[Place, Place]) -> None:
    today, _ = places
    for who in (*CUSTOMERS, "new"):
        now = today.twin(who)
        again = today.post("/v1/twin", {"customer_id": who, "as_of": now["as_of"]})
        assert told(now) == told(again)
        assert now["revision"] == again["revision"]


def test_an_acknowledged_event_is_in_the_next_answer(places: tuple[Place, Place]) -> None:
    today, _ = places
    for number in range(5):
        today.track("Survey Answered", "anan", survey="nps", score=number + 1)
        said = today.twin("anan")
        cited = {event["event_id"] for trigger in said["triggers"] for event in trigger["evidence"]}
        cited |= {s["because"]["event_id"] for p in said["experience"]["touchpoints"] for s in p["signals"]}
        assert f"m{today.sent}" in cited
        page = today.post("/v1/timeline", {"customer_id": "anan", "limit": 1})
        assert page["events"][0]["event_id"] == f"m{today.sent}"


def test_a_merge_and_its_undoing_leave_the_past_as_it_was(places: tuple[Place, Place]) -> None:
    today, former = places
    today.merge("merge")
    one = today.twin("somsak").get("resolved_customer_id", "somsak")
    assert today.twin("malee").get("resolved_customer_id", "malee") == one
    check_the_past(today, former, (one, "anan"))
    together = today.twin(one)
    assert told(together) == told(today.post("/v1/twin", {"customer_id": one, "as_of": together["as_of"]}))
    today.merge("unmerge")
    check_the_past(today, former)


def test_the_command_says_the_same(places: tuple[Place, Place]) -> None:
    today, _ = places
    shown = twin(today.settings.workspace, "show", "malee", "--as-of", iso(THEN), "--view", "service", "--json")
    assert shown.returncode == 0, shown.stderr
    said = json.loads(shown.stdout)
    asked = today.post("/v1/twin", {"customer_id": "malee", "as_of": iso(THEN), "view": "service"})
    assert said == {name: value for name, value in asked.items() if name not in ("request_id", "read_from")}
    read = twin(today.settings.workspace, "show", "malee")
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith("malee, as of ")
    assert EMAIL not in read.stdout + shown.stdout
    listed = twin(today.settings.workspace, "timeline", "malee", "--limit", "2")
    assert "older ones: --before " in listed.stdout
    future = twin(today.settings.workspace, "show", "malee", "--as-of", "2999-01-01T00:00:00Z")
    assert (future.returncode, "the future is not in the log" in future.stderr) == (1, True)


def test_consent_that_is_taken_back_is_refused_at_the_next_call(places: tuple[Place, Place]) -> None:
    today, _ = places
    today.twin("somsak")
    today.track("Consent Updated", "somsak", purpose="profiling", granted=False)
    for body in ({"customer_id": "somsak"}, {"customer_id": "somsak", "as_of": iso(THEN)}):
        assert today.post("/v1/twin", body, status=403)["error"]["code"] == "consent_denied"
    explained = today.post("/v1/explain", {"customer_id": "somsak"}, status=403)
    assert explained["error"]["code"] == "consent_denied"
    refused = twin(today.settings.workspace, "show", "somsak")
    assert (refused.returncode, "denied the purpose profiling" in refused.stderr) == (1, True)
