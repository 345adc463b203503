"""`/metrics`: what it counts, for whom, and that no label holds what a caller sent."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.access import Keys
from pipelines.outbox import Edge, Message, Outbox, message_id
from pipelines.settings import CHECKOUT, Workspace
from pipelines.settings.webhooks import Endpoint
from serving import bootstrap, ingestion, service
from serving.api.authorisation import Access
from serving.ingestion import Ingestion
from serving.observing import gauges, measures
from serving.observing.exposition import Sharing, exposition
from serving.observing.tally import Gauge, Histogram, added
from serving.observing.watched import forget_outbox, watch_outbox
from tests.metrics import samples, value
from tests.unit.serving_client import SPECIMEN, check_shape, serve
from tests.unit.serving_parts import CUSTOMERS, Shop, ingest_key, make_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


@contextmanager
def serving(shop: Shop, folder: Path, **changes: bool) -> Iterator[TestClient]:
    """A client of the service over a workspace of its own for live events, with this changed in its profile."""
    workspace = Workspace("live", checkout=folder)
    profile = shop.settings.profile
    profile = profile.model_copy(update={"service": profile.service.model_copy(update=changes)})
    settings = replace(shop.settings, workspace=workspace, profile=profile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingestion, "connect", lambda: Ingestion(settings))
        patch.setattr(bootstrap, "connect_access", lambda: Access(workspace.access))
        patch.setattr(service, "service_settings", lambda: settings)
        with serve(shop) as made:
            yield made


@pytest.fixture
def client(shop: Shop, tmp_path: Path) -> Iterator[TestClient]:
    with serving(shop, tmp_path) as made:
        yield made


def scrape(client: TestClient) -> str:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def test_requests_are_counted_by_route_and_class_of_status(client: TestClient) -> None:
    before = scrape(client)
    client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]})
    client.post("/v1/predict", json={"customer_id": SPECIMEN})
    client.get(f"/v1/customers/{SPECIMEN}")
    after = scrape(client)

    def more(route: str, status: str) -> float:
        name, labels = "twin_request_seconds_count", {"route": route, "status": status}
        return value(after, name, **labels) - value(before, name, **labels)

    assert (more("/v1/predict", "2xx"), more("/v1/predict", "4xx"), more("other", "4xx")) == (1, 1, 1)
    assert SPECIMEN not in after


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (b"{", {"content-type": "application/json"}, "body"),
        (b"{}", {"content-type": "text/plain"}, "body"),
        (b"a" * 600_000, {"content-type": "application/json"}, "body"),
    ],
)
def test_refusals_are_counted_by_reason(
    client: TestClient, content: bytes, headers: dict[str, str], reason: str
) -> None:
    before = value(scrape(client), "twin_requests_rejected_total", reason=reason)
    assert client.post("/v1/predict", content=content, headers=headers).status_code >= 400
    assert value(scrape(client), "twin_requests_rejected_total", reason=reason) == before + 1


def test_a_live_call_without_a_key_is_refused_as_such(client: TestClient) -> None:
    before = value(scrape(client), "twin_requests_rejected_total", reason="auth")
    assert client.post("/v1/track", json={"event": "a", "userId": "b"}).status_code == 401
    assert value(scrape(client), "twin_requests_rejected_total", reason="auth") == before + 1


def test_predictions_are_counted_with_what_drifts(client: TestClient) -> None:
    before = scrape(client)
    answers = [client.post("/v1/predict", json={"customer_id": name}).json() for name in CUSTOMERS[:3]]
    after = scrape(client)

    def more(name: str) -> float:
        return value(after, name, model="churn") - value(before, name, model="churn")

    assert more("twin_predictions_total") == len(answers)
    assert more("twin_prediction_probability_count") == len(answers)
    assert more("twin_prediction_probability_sum") == pytest.approx(sum(answer["probability"] for answer in answers))
    assert more("twin_predictions_out_of_population_total") == sum(not answer["in_population"] for answer in answers)
    assert 0 < more("twin_features_empty_total") < more("twin_features_read_total")
    info = samples(after)["twin_model_info"]
    assert [dict(labels)["version"] for labels in info if ("model", "churn") in labels] == [answers[0]["model_version"]]


def test_what_became_of_events_is_counted(client: TestClient, tmp_path: Path) -> None:
    key = ingest_key(Workspace("live", checkout=tmp_path))
    before = scrape(client)
    good = {"messageId": "m1", "userId": "u", "event": "Order Completed", "properties": {"order_id": "1", "total": 1}}
    unknown = {"messageId": "m2", "userId": "u", "type": "track", "event": "Never Planned"}
    for body in (good, good):
        assert client.post("/v1/track", json=body, auth=(key, "")).status_code == 200
    assert client.post("/v1/batch", json={"batch": [unknown, {"type": "track"}]}, auth=(key, "")).status_code == 200
    after = scrape(client)

    def more(outcome: str) -> float:
        return value(after, "twin_events_total", outcome=outcome) - value(before, "twin_events_total", outcome=outcome)

    assert [more(outcome) for outcome in ("accepted", "duplicate", "rejected", "unplanned")] == [2, 1, 1, 1]
    assert value(after, "twin_journal_waiting_events") == 2


def test_where_keys_are_required_it_needs_one_that_may_read(shop: Shop, tmp_path: Path) -> None:
    keys = Keys(Workspace("live", checkout=tmp_path).access)
    predicting, reading = (keys.create(scope, (scope,))[1] for scope in ("predict", "read"))

    def ask(client: TestClient, key: str) -> httpx.Response:
        return client.get("/metrics", headers={"Authorization": f"Bearer {key}"})

    with serving(shop, tmp_path, require_keys=True) as client:
        check_shape(client.get("/metrics"), 401, "unauthorized")
        check_shape(ask(client, predicting), 403, "forbidden")
        assert ask(client, reading).status_code == 200
    with serving(shop, tmp_path, require_keys=True, open_metrics=True) as client:
        assert client.get("/metrics").status_code == 200


def test_a_gauge_that_cannot_be_read_hides_no_other(client: TestClient) -> None:
    def away() -> dict[tuple[str, ...], float]:
        raise OSError(SPECIMEN)

    gauges.register("twin_test_waiting", "What waits, by channel.", lambda: {("mail",): 3.0}, ("channel",))
    gauges.register("twin_test_away", "Of a store that is away.", away)
    try:
        text = scrape(client)
    finally:
        gauges.forget("twin_test_waiting")
        gauges.forget("twin_test_away")
    assert value(text, "twin_test_waiting", channel="mail") == 3
    assert value(text, "twin_scrape_failures") == 1
    assert "twin_test_away" not in samples(text)
    assert value(scrape(client), "twin_scrape_failures") == 0


def test_messages_that_wait_and_that_failed_are_counted_by_endpoint(client: TestClient, tmp_path: Path) -> None:
    endpoint = Endpoint(name="idle", url="https://idle.example/hooks")
    table = (CHECKOUT / "serving" / "README.md").read_text()
    with closing(Outbox(tmp_path / "outbox.db")) as outbox:
        for number, (takes, state) in enumerate(
            [("crm", "waiting"), ("crm", "waiting"), ("crm", "failed"), ("crm", "sent"), (None, "kept")]
        ):
            edge = Edge(f"c{number}", "t", "waiting", 1, 1)
            outbox.save([(edge, None)])
            name = message_id(f"c{number}", "t", 1, takes)
            assert outbox.fire(edge, 2, [Message(name, f"c{number}", "t", 1, takes, 2, "{}", state=state)])
        watch_outbox(outbox, [endpoint])
        text = scrape(client)
        forget_outbox()
    waiting = {name: value(text, "twin_outbox_waiting", endpoint=name) for name in ("crm", "idle")}
    failed = {name: value(text, "twin_outbox_failed", endpoint=name) for name in ("crm", "idle")}
    assert (waiting, failed) == ({"crm": 2, "idle": 0}, {"crm": 1, "idle": 0})
    assert "twin_outbox_waiting" not in samples(scrape(client)), "an outbox that is closed is not read"
    assert "`twin_outbox_waiting`" in table
    assert "`twin_outbox_failed`" in table


def test_every_metric_is_in_the_table_of_the_readme(client: TestClient) -> None:
    table = (CHECKOUT / "serving" / "README.md").read_text()
    told = [line.split()[2] for line in scrape(client).splitlines() if line.startswith("# TYPE ")]
    assert [name for name in told if f"`{name}`" not in table] == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(-1, 20)), max_size=50))
def test_a_histogram_is_what_sorting_by_hand_gives(seen: list[tuple[str, float]]) -> None:
    made = Histogram("h", "", (0.5, 1.0, 10.0), ("letter",))
    for letter, number in seen:
        made.observe(number, letter)
    for letter, numbers in ((labels[0], numbers) for labels, numbers in made.taken().items()):
        mine = [number for of, number in seen if of == letter]
        ends = (float("-inf"), 0.5, 1.0, 10.0, float("inf"))
        expected = [sum(low < number <= high for number in mine) for low, high in itertools.pairwise(ends)]
        assert numbers[:-1] == expected
        assert numbers[-1] == pytest.approx(sum(mine))


def test_what_workers_counted_adds_up() -> None:
    first = {"c": {("x",): [1.0], ("y",): [2.0]}, "h": {(): [1.0, 0.0, 0.5]}}
    second = {"c": {("x",): [4.0]}, "h": {(): [1.0, 2.0, 3.5]}, "other": {(): [1.0]}}
    assert added([first, second]) == {
        "c": {("x",): [5.0], ("y",): [2.0]},
        "h": {(): [2.0, 2.0, 4.0]},
        "other": {(): [1.0]},
    }
    assert first == {"c": {("x",): [1.0], ("y",): [2.0]}, "h": {(): [1.0, 0.0, 0.5]}}


def test_counts_of_a_worker_that_died_stay_and_its_gauges_go(tmp_path: Path) -> None:
    """In a process of its own, which ends."""
    code = """
import sys
from pathlib import Path
from serving.observing import measures
from serving.observing.exposition import Sharing
from serving.observing.tally import Gauge
measures.EVENTS.add("accepted", by=7)
measures.gauge(Gauge("twin_test_open", "", lambda: 5.0))
Sharing(Path(sys.argv[1])).write()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT, check=True, timeout=120)
    measures.gauge(Gauge("twin_test_open", "", lambda: 2.0))
    try:
        own, all_of_them = exposition(None).decode(), exposition(tmp_path).decode()
    finally:
        measures.ALL[:] = [known for known in measures.ALL if known.name != "twin_test_open"]
    accepted = value(own, "twin_events_total", outcome="accepted")
    assert value(all_of_them, "twin_events_total", outcome="accepted") == accepted + 7
    assert value(all_of_them, "twin_test_open") == 2


def test_a_worker_does_not_count_its_own_file_again(tmp_path: Path) -> None:
    measures.EVENTS.add("accepted")
    sharing = Sharing(tmp_path)
    sharing.start()
    sharing.close()
    assert [file.name for file in tmp_path.iterdir()] == [f"worker-{os.getpid()}.json"]
    alone, shared = exposition(None).decode(), exposition(tmp_path).decode()
    assert value(shared, "twin_events_total") == value(alone, "twin_events_total") > 0
