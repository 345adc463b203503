"""`twin features audit`: served vectors and states equal the events', and one that does not is found."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.state.plan import plan_state
from feature_repo.state.storage import StoredState
from feature_repo.state.storage_sqlite import SQLiteStateStorage
from feature_repo.state.tiles import decode, encode
from pipelines.cli.data import compact_live
from pipelines.cli.features import build_state
from pipelines.console import UserError
from pipelines.feature_audit import audit_states, audit_vectors
from pipelines.feature_audit.states import BEHIND, LEFT_OVER, MISSING, OTHER_BYTES
from pipelines.feature_audit.vectors import CHANGED, GONE, OTHER_SPEC, same_bits
from pipelines.privacy.erase import erase
from pipelines.served_log import log_files
from pipelines.settings import Settings
from serving import served_log
from serving.api import request_id
from serving.api.ingest.body import Envelope
from serving.bootstrap import wire
from serving.ingestion import Ingested, Ingestion
from serving.predictor import Predictor
from serving.served_log import ServedLog
from tests.unit.serving_parts import ingest_key, make_shop

CUSTOMERS = tuple(f"c{number}" for number in range(8))
DAY = 86_400


@dataclass
class Service:
    """The parts of the service that take events, predict and log, in this process."""

    settings: Settings
    key: str
    ingestion: Ingestion
    log: ServedLog
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    predictor: Predictor | None = None
    calls: int = 0

    def send(self, *items: dict[str, Any]) -> Ingested:
        envelope = Envelope([json.dumps(item).encode() for item in items], self.key)
        done = asyncio.run(self.ingestion.ingest(envelope, self.key, None))
        assert not done.rejected, done.rejected
        return done

    def order(self, number: int, who: str, seconds_ago: float = 0.0, **about: str) -> dict[str, Any]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))
        event = self.chance.choice(
            ["Order Completed", "Page Viewed", "Order Refunded", "Email Opened", "Product Viewed"]
        )
        properties = {"order_id": f"o{number}", "total": number / 4, "currency": "THB", "units": number % 7, "lines": 2,
                      "product_id": f"p{number % 3}", "message_id": f"e{number}", "channel": "web"}  # fmt: skip
        item = {"type": "track", "messageId": f"m{number}", "event": event, "timestamp": at, "properties": properties}
        return {**item, **(about or {"userId": who})}

    def predict(self, *customers: str) -> None:
        """Serve one prediction, or several in one call, as the routes do."""
        if self.predictor is None:
            self.predictor = wire(self.settings).predictor("churn")
        self.calls += 1
        request_id.current.set(f"request-{self.calls}")
        began = served_log.now()
        if len(customers) == 1:
            as_of, one = self.predictor.one(customers[0], False)
            predictions = [one]
        else:
            as_of, predictions = asyncio.run(self.predictor.many(customers, False))
        self.log.add(self.predictor.champion, began, as_of, predictions)

    def state(self, customer: str) -> StoredState:
        return self.storage.get_many(self.settings.features.hash, [customer])[customer]

    @property
    def storage(self) -> SQLiteStateStorage:
        return SQLiteStateStorage(self.settings.workspace.state)


@pytest.fixture(params=["wall", "data_end"])
def clock(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    yield from opened(tmp_path, "wall")


def opened(checkout: Path, clock: str) -> Iterator[Service]:
    shop = make_shop(checkout)
    shop.publish()
    settings = replace(shop.settings, profile=shop.settings.profile.model_copy(update={"clock": clock}))
    ingestion = Ingestion(settings)
    yield Service(settings, ingest_key(settings.workspace), ingestion, ServedLog(settings))
    ingestion.close()


def stream(service: Service, events: int, first: int = 0) -> None:
    """Live events of 8 customers: late ones, repeated ones, batches; predictions and compactions in between."""
    chance = service.chance
    sent: list[dict[str, Any]] = []
    for number in range(first, first + events):
        late = chance.choice([0, 0, 0, 1, 3600, 3 * DAY, 200 * DAY])
        sent.append(service.order(number, CUSTOMERS[number % len(CUSTOMERS)], late))
        batch = [sent[-1], *chance.sample(sent, min(len(sent), number % 3))]
        service.send(*batch)
        if number % 2 == 0:
            service.predict(str(sent[-1]["userId"]))
        if number % 5 == 0:
            service.predict(*{str(item["userId"]) for item in sent[-6:]})
        if number % 20 == 19:
            service.log.write()
            compact_live(service.settings)
    service.log.write()


def test_a_stream_of_live_events_has_no_difference(tmp_path: Path, clock: str) -> None:
    for service in opened(tmp_path, clock):
        stream(service, 60)
        audit = audit_vectors(service.settings, 10_000, seed=1)
        assert audit.passed
        assert audit.compared == audit.drawn == audit.logged > 60
        assert audit.values == audit.compared * len(service.settings.features.service_features("churn"))
        assert (audit.not_compared, audit.lost, audit.unreadable) == ({}, 0, 0)
        build_state(service.settings)
        stream(service, 10, first=60)
        again = audit_vectors(service.settings, 10_000, seed=1)
        assert again.passed
        assert again.logged > audit.logged
        assert audit_states(service.settings, 100, seed=1).passed


def test_one_wrong_state_is_found_and_nothing_else(service: Service) -> None:
    stream(service, 30)
    victim = CUSTOMERS[3]
    right = service.state(victim)
    state = decode(right.data)
    # An event that was folded, and is lost: an update that was overwritten would leave this.
    lost = state.waiting.pop()
    wrong = replace(right, data=encode(state))
    service.storage.replace_many(service.settings.features.hash, [wrong])
    before = service.calls
    service.predict(*CUSTOMERS)
    service.predict(victim)
    service.storage.replace_many(service.settings.features.hash, [right])
    service.predict(victim)
    service.log.write()
    audit = audit_vectors(service.settings, 10_000, seed=1)
    assert not audit.passed
    assert {(d.customer_id, d.request_id) for d in audit.differences} == {
        (victim, f"request-{before + 1}"), (victim, f"request-{before + 2}"),
    }  # fmt: skip
    event = plan_state(service.settings.features).streams[lost.streams[0]].stream.event
    slug = event.lower().replace(" ", "_")
    assert f"{slug}_count_90d" in {d.feature for d in audit.differences}
    assert all(slug in d.feature for d in audit.differences)
    first = audit.differences[0]
    assert all(text in audit.text() for text in (first.feature, victim, first.request_id))


def test_wrong_missing_behind_and_left_over_states_are_told_apart(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.feature_audit.states._SETTLE_SECONDS", 0.1)
    stream(service, 30)
    spec, storage = service.settings.features.hash, service.storage
    wrong, behind, missing, left = CUSTOMERS[:4]
    older = service.state(behind)
    service.send(service.order(900, behind))
    storage.replace_many(spec, [older])
    state = decode(service.state(wrong).data)
    state.newest_event += 1
    storage.replace_many(spec, [replace(service.state(wrong), data=encode(state))])
    storage.keep_only(spec, [who for who in CUSTOMERS if who != missing])
    audit = audit_states(service.settings, 100, seed=1)
    told = {difference.customer_id: difference.what for difference in audit.differences}
    assert told == {wrong: OTHER_BYTES, behind: BEHIND, missing: MISSING}
    assert not audit.passed
    assert audit.compared == audit.customers == len(CUSTOMERS)
    build_state(service.settings)
    assert audit_states(service.settings, 100, seed=1).passed
    storage.replace_many(spec, [replace(service.state(left), customer_id="nobody")])
    audit = audit_states(service.settings, 100, seed=1)
    assert (audit.left_over, audit.differences, audit.passed) == (1, (), False)
    assert LEFT_OVER not in audit.text()


def test_what_cannot_be_computed_again_is_counted_and_not_called_equal(service: Service) -> None:
    stream(service, 20)
    service.send(service.order(100, "", anonymousId="browser"), service.order(101, "c0"))
    service.predict("c0")
    service.predict("c1")
    # The browser turns out to be c0's: its event counts for c0 from now on.
    service.send(service.order(102, "", userId="c0", anonymousId="browser"))
    service.predict("c0")
    # Two customers turn out to be one: what was served of either was of other events than it has now.
    service.predict("c3", "c4")
    service.send({"type": "alias", "messageId": "alias", "userId": "c3", "previousId": "c4"})
    service.predict("c3")
    service.log.write()
    erase(service.settings, "c7", reason="case 1", actor="test")
    logged = audit_vectors(service.settings, 10_000, seed=1)
    assert not logged.differences
    assert logged.not_compared.keys() == {CHANGED}
    assert logged.compared + logged.not_compared[CHANGED] == logged.drawn
    file = log_files(service.settings.workspace.served)[0]
    text = file.read_text()
    file.write_text(text.replace('"customer_id":"c2"', '"customer_id":"c7"') + '{"kind":"served","req')
    gone = audit_vectors(service.settings, 10_000, seed=1)
    assert gone.unreadable == 1
    assert gone.not_compared[GONE] == text.count('"customer_id":"c2"')
    file.write_text(text.replace(service.settings.features.hash, "0123456789abcdef"))
    other = audit_vectors(service.settings, 10_000, seed=1)
    assert (other.compared, other.passed) == (0, False)
    assert other.not_compared == {OTHER_SPEC: other.drawn}
    assert "Nothing could be compared" in other.text()


def test_a_sample_is_drawn_alike_by_its_seed(service: Service) -> None:
    stream(service, 20)
    audits = [audit_vectors(service.settings, 5, seed) for seed in (1, 1)]
    assert audits[0] == audits[1]
    assert (audits[0].drawn, audits[0].compared) == (5, 5)


def test_without_a_log_or_states_it_is_told(service: Service) -> None:
    with pytest.raises(UserError, match="in a log"):
        audit_vectors(service.settings, 5, 1)
    with pytest.raises(UserError, match="twin state rebuild"):
        audit_states(service.settings, 5, 1)


@pytest.mark.parametrize(("left", "right", "same"), [
    (1, 1, True), (1, 1.0, False), (0.0, -0.0, False), (None, None, True), (None, 0, False), (0.1 + 0.2, 0.3, False),
    (2**53, 2**53 + 1, False), ("a", "a", True),
])  # fmt: skip
def test_bits_are_compared_not_values(left: object, right: object, same: bool) -> None:
    assert same_bits(left, right) is same  # type: ignore[arg-type]
