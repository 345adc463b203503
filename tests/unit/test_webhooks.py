"""Delivery: signed, retried, asked again whether it may, ended in time; and what an endpoint may be."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from feature_repo.configuration import ConfigurationError, parse
from pipelines.events.exclusion import nothing_taken
from pipelines.identity.store import IdentityStore, open_identity
from pipelines.outbox import Edge, Message, Outbox, message_id
from pipelines.settings import Settings
from pipelines.settings.webhooks import SECRET_VARIABLE, Endpoint, WebhooksProfile, secret_of
from serving.consent_gate import ConsentGate
from serving.triggers.backoff import LONGEST_WAIT_SECONDS, SECOND, delay_seconds, retry_after_seconds
from serving.triggers.delivery import Courier, Delivery, SecretMissing
from serving.triggers.sending import Sender, judged, signed
from tests.changed_spec import plain_settings
from tests.unit.trigger_parts import SECRET, with_endpoints
from tests.unit.webhook_parts import Receiver, receiving

NOW = 1_772_600_400_000_000


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("plain")
    return plain_settings(folder, folder / "configs")


class Post:
    """An outbox, a courier for one endpoint, and a clock that the test sets. Chance takes nothing off a delay."""

    def __init__(self, settings: Settings, outbox: Outbox, identity: IdentityStore) -> None:
        self.now = NOW
        self.outbox = outbox
        self.sender = Sender(settings.profile.webhooks.timeout_seconds)
        (endpoint,) = settings.profile.webhooks.endpoints
        self.courier = Courier(
            settings, outbox, endpoint, ConsentGate(settings), lambda: identity, self.sender,
            lambda: self.now, lambda: 0.0,
        )  # fmt: skip

    def put(self, number: int = 1, **parts: object) -> str:
        edge = Edge("c1", f"t{number}", "waiting", NOW, NOW)
        name = message_id("c1", f"t{number}", NOW, "crm")
        self.outbox.save([(edge, None)])
        body = f'{{"type":"trigger.t{number}","data":{{"text":"สวัสดี"}}}}'
        message = replace(Message(name, "c1", f"t{number}", NOW, "crm", NOW, body), **parts)  # type: ignore[arg-type]
        assert self.outbox.fire(edge, NOW, [message])
        return name

    def message(self, name: str) -> Message:
        found = self.outbox.find(name)
        assert found is not None
        return found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(SECRET) as made:
        yield made


def post(plain: Settings, folder: Path, url: str, **limits: object) -> Post:
    settings = with_endpoints(plain, {"name": "crm", "url": url}, **{"timeout_seconds": 2.0, **limits})
    workspace = replace(settings.workspace, checkout=folder)
    settings = replace(settings, workspace=workspace)
    identity = open_identity(settings)
    # Signatures are verified by the machine's clock.
    made = Post(settings, Outbox(workspace.outbox), identity)
    made.now = time.time_ns() // 1000
    return made


def test_a_message_arrives_signed_once(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    mine = post(plain, tmp_path, receiver.url())
    name = mine.put()
    assert mine.courier.deliver_one()
    assert not mine.courier.deliver_one()
    assert receiver.refused == []
    assert [(got, body["type"], body["data"]["text"]) for got, body, _ in receiver.received] == [
        (name, "trigger.t1", "สวัสดี")
    ]
    told = mine.message(name)
    assert (told.state, told.attempts, told.sent_at, told.error) == ("sent", 1, mine.now, None)


def test_every_attempt_has_the_same_id_and_delays_grow_until_it_failed(
    plain: Settings, tmp_path: Path, receiver: Receiver
) -> None:
    receiver.answers = [(500, {}), (302, {"location": receiver.url("/elsewhere")}), (404, {})]
    mine = post(plain, tmp_path, receiver.url(), attempts=3, first_delay_seconds=10)
    name, began = mine.put(), mine.now
    for delay, error in ((10, "the endpoint answered 500"), (20, "the endpoint answered 302")):
        assert mine.courier.deliver_one()
        told = mine.message(name)
        assert (told.state, told.error) == ("waiting", error)
        assert told.next_attempt_at == mine.now + delay * SECOND
        mine.now = told.next_attempt_at - 1
        assert not mine.courier.deliver_one()
        mine.now += 1
    # The signature's instant would be refused as too far ahead of the machine's: it is not what is tested here.
    mine.now = began + 31 * SECOND
    assert mine.courier.deliver_one()
    assert (mine.message(name).state, mine.message(name).attempts) == ("failed", 3)
    assert receiver.ids() == [name] * 3
    assert mine.outbox.retry(mine.now) == 1
    assert mine.courier.deliver_one()
    assert mine.message(name).state == "sent"


def test_what_the_receiver_asks_for_is_waited_for(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [(503, {"retry-after": "120"}), (500, {"retry-after": "120"})]
    mine = post(plain, tmp_path, receiver.url(), first_delay_seconds=1)
    name = mine.put()
    mine.courier.deliver_one()
    assert mine.message(name).next_attempt_at == mine.now + 120 * SECOND
    mine.now += 120 * SECOND
    mine.courier.deliver_one()
    assert mine.message(name).next_attempt_at == mine.now + 2 * SECOND


def test_an_endpoint_that_is_gone_gets_no_more(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    receiver.answers = [(410, {})]
    mine = post(plain, tmp_path, receiver.url())
    first, second = mine.put(1), mine.put(2)
    mine.courier.deliver_one()
    assert {mine.message(name).state for name in (first, second)} == {"failed"}
    third = mine.put(3)
    assert (mine.message(third).state, mine.message(third).error) == ("failed", "the endpoint wanted no more")
    assert mine.outbox.disabled() == {"crm"}
    assert mine.outbox.retry(mine.now, third) == 1
    assert mine.outbox.disabled() == set()
    assert mine.courier.deliver_one()
    assert mine.message(third).state == "sent"
    assert len(receiver.received) == 2


def test_nothing_is_sent_that_is_not_allowed_any_more(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    mine = post(plain, tmp_path, receiver.url())
    name = mine.put(purpose="marketing")
    assert mine.courier.deliver_one()
    told = mine.message(name)
    assert (told.state, told.error) == ("cancelled", "the customer does not allow marketing any more")
    cancelled = mine.put(2)
    assert mine.outbox.cancel(cancelled, "a person cancelled it")
    later = mine.put(3, not_before=mine.now + SECOND, next_attempt_at=mine.now + SECOND)
    assert not mine.courier.deliver_one()
    assert receiver.received == []
    mine.now += SECOND
    assert mine.courier.deliver_one()
    assert receiver.ids() == [later]


def test_while_somebody_is_erased_nothing_is_sent(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    mine = post(plain, tmp_path, receiver.url())
    mine.put()
    with nothing_taken(mine.courier.settings.workspace.erasure_lock):
        assert not mine.courier.deliver_one()
    assert receiver.received == []
    assert mine.courier.deliver_one()


def test_what_a_worker_that_died_had_taken_is_sent_by_another(
    plain: Settings, tmp_path: Path, receiver: Receiver
) -> None:
    mine = post(plain, tmp_path, receiver.url())
    name = mine.put()
    assert mine.outbox.lease("crm", mine.now, mine.now + 7 * SECOND, "the dead one's") is not None
    assert not mine.courier.deliver_one()
    mine.now += 7 * SECOND
    assert mine.courier.deliver_one()
    assert receiver.ids() == [name]
    # What the other one notes too late changes nothing.
    mine.outbox.again(name, "the dead one's", mine.now, "late")
    assert mine.message(name).state == "sent"


def test_an_answer_that_does_not_come_ends_in_time(plain: Settings, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]

        def drip() -> None:
            taken, _ = silent.accept()
            with taken:
                for letter in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
                    try:
                        taken.sendall(bytes([letter]))
                    except OSError:
                        return
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        mine = post(plain, tmp_path, f"http://127.0.0.1:{port}/", timeout_seconds=0.5)
        name = mine.put()
        mine.courier.deliver_one()
    assert mine.message(name).error == "no answer within 0.5 s"
    mine.courier.sender.close()


def test_who_is_not_there_is_tried_again(plain: Settings, tmp_path: Path) -> None:
    mine = post(plain, tmp_path, "http://127.0.0.1:9/")
    name = mine.put()
    mine.courier.deliver_one()
    assert mine.message(name).error == "not reached: ConnectError"
    assert mine.message(name).state == "waiting"


def test_without_a_secret_messages_wait(
    plain: Settings, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = post(plain, tmp_path, receiver.url())
    name = mine.put()
    for unfit in ("", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_!!"):
        monkeypatch.setenv(SECRET_VARIABLE, unfit)
        with pytest.raises(SecretMissing, match=SECRET_VARIABLE):
            mine.courier.deliver_one()
    assert (mine.message(name).state, mine.message(name).attempts) == ("waiting", 0)
    monkeypatch.setenv("TWIN_CRM_KEY", SECRET)
    named = Endpoint.model_validate({"name": "crm", "url": "https://x.example", "secret_variable": "TWIN_CRM_KEY"})
    assert secret_of(named) == SECRET


def _wait(release: threading.Event) -> None:
    release.wait(20)


def test_a_slow_endpoint_holds_up_no_other(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    release = threading.Event()
    with receiving(SECRET) as slow:
        slow.pause = partial(_wait, release)
        mine = post(plain, tmp_path, receiver.url())
        settings = with_endpoints(
            mine.courier.settings, {"name": "crm", "url": receiver.url()}, {"name": "slow", "url": slow.url()},
            timeout_seconds=20,
        )  # fmt: skip
        names = [mine.put(number) for number in range(3)]
        held = mine.put(9, endpoint="slow")
        delivery = Delivery(settings, mine.outbox, mine.courier.gate, mine.courier.identity)
        delivery.start()
        until = time.monotonic() + 60
        while len(receiver.received) < 3 or not slow.received:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert sorted(receiver.ids()) == sorted(names)
        assert mine.message(held).state == "waiting"
        release.set()
        delivery.close()
        assert mine.message(held).state == "sent"


def test_nothing_is_sent_before_events_of_before_the_start_were_looked_at(
    plain: Settings, tmp_path: Path, receiver: Receiver
) -> None:
    mine = post(plain, tmp_path, receiver.url())
    moot, wanted = mine.put(1), mine.put(2)
    looked = threading.Event()
    delivery = Delivery(mine.courier.settings, mine.outbox, mine.courier.gate, mine.courier.identity, looked)
    delivery.start()
    delivery.wake()
    # What the look finds.
    mine.outbox.cancel(moot, "an event made it moot")
    looked.set()
    until = time.monotonic() + 60
    while mine.message(wanted).state != "sent":
        assert time.monotonic() < until
        time.sleep(0.01)
    delivery.close()
    assert receiver.ids() == [wanted]


def test_what_is_done_is_removed_also_where_nobody_is_told(plain: Settings, tmp_path: Path) -> None:
    mine = post(plain, tmp_path, "http://127.0.0.1:9/")
    old = mine.put(1, state="kept", created_at=mine.now - 31 * 24 * 3600 * SECOND)
    fresh = mine.put(2, state="kept", created_at=mine.now)
    delivery = Delivery(with_endpoints(mine.courier.settings), mine.outbox, mine.courier.gate, mine.courier.identity)
    delivery.start()
    try:
        until = time.monotonic() + 10
        while mine.outbox.find(old) is not None and time.monotonic() < until:
            time.sleep(0.01)
        assert mine.outbox.find(old) is None
        assert mine.message(fresh).state == "kept"
    finally:
        delivery.close()


def test_workers_share_messages_and_each_arrives(plain: Settings, tmp_path: Path, receiver: Receiver) -> None:
    mine = post(plain, tmp_path, receiver.url())
    names = [mine.put(number) for number in range(20)]
    other = Outbox(mine.courier.settings.workspace.outbox)
    both = [
        Delivery(mine.courier.settings, outbox, mine.courier.gate, mine.courier.identity)
        for outbox in (mine.outbox, other)
    ]
    for delivery in both:
        delivery.start()
    until = time.monotonic() + 60
    while len(receiver.received) < len(names):
        assert time.monotonic() < until
        time.sleep(0.01)
    for delivery in both:
        delivery.close()
    assert sorted(receiver.ids()) == sorted(names)


@given(
    failures=st.integers(1, 10_000), first=st.floats(0.001, 1e6), longest=st.floats(0.001, 1e6),
    chance=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_delays_stay_between_half_and_all_of_what_they_grow_to(
    failures: int, first: float, longest: float, chance: float
) -> None:
    whole = delay_seconds(failures, first, longest, 0.0)
    assert whole <= longest
    assert whole <= delay_seconds(failures + 1, first, longest, 0.0)
    assert whole / 2 <= delay_seconds(failures, first, longest, chance) <= whole


@given(st.text(max_size=40))
def test_whatever_a_receiver_asks_for_is_bounded(text: str) -> None:
    wait = retry_after_seconds(text, datetime.now(UTC))
    assert wait is None or 0 <= wait <= LONGEST_WAIT_SECONDS


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 3, 4, 5, tzinfo=UTC)
    assert retry_after_seconds(None, now) is None
    assert retry_after_seconds("7", now) == 7
    assert retry_after_seconds("9" * 400, now) == LONGEST_WAIT_SECONDS
    assert retry_after_seconds(format_datetime(now.replace(minute=2), usegmt=True), now) == 120
    assert retry_after_seconds(format_datetime(now.replace(year=2025), usegmt=True), now) == 0
    assert judged(429, "7", now).wait_seconds == 7
    assert judged(299, None, now).verdict == "arrived"
    assert judged(301, None, now).verdict == "failed"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 300))
def test_signatures_are_those_that_receivers_verify(payload: str, age: int) -> None:
    at = datetime.fromtimestamp(time.time() - age + 10, UTC)
    Webhook(SECRET).verify(payload, signed(SECRET, "msg_1", payload, at), json_parse=False)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ({"url": "http://crm.example/"}, "https, or http to an address of this machine"),
        ({"url": "http://10.0.0.1/"}, "https, or http to an address of this machine"),
        ({"url": "ftp://crm.example/"}, "https, or http to an address of this machine"),
        ({"url": "https://user:word@crm.example/"}, "without user, password and fragment"),
        ({"url": "https://crm.example:99999/"}, "a URL"), ({"url": "https:///x"}, "a URL with a host"),
        ({"name": "No"}, "match pattern"), ({"secret": "whsec_x"}, "no such key"),
    ],
)  # fmt: skip
def test_an_endpoint_that_nothing_may_be_sent_to_is_a_mistake(endpoint: dict[str, str], expected: str) -> None:
    content = {"endpoints": [{"name": "crm", "url": "https://crm.example/", **endpoint}]}
    with pytest.raises(ConfigurationError) as caught:
        parse(content, WebhooksProfile, "local.yaml")
    assert expected in str(caught.value)


def test_endpoints_on_this_machine_need_no_https_and_names_differ() -> None:
    for url in ("http://localhost:1/x", "http://127.0.0.1/", "http://[::1]:8080/"):
        assert Endpoint(name="crm", url=url).url == url
    twice = {"endpoints": [{"name": "crm", "url": "https://a.example/"}] * 2}
    with pytest.raises(ConfigurationError, match="twice: crm"):
        parse(twice, WebhooksProfile)
