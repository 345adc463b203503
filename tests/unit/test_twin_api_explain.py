"""Why a model said it, and decisions made again, over HTTP: sums hold, and every change is told."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from feature_repo.reasons import sigmoid
from pipelines.served_search import find_served
from pipelines.settings import Settings
from serving.champion import load_champion
from tests.states import open_reader
from tests.unit.desk_parts import EFFECTS, FALLBACK, NOON, Office, furnish, order, publish_fallback, says
from tests.unit.serving_client import check_shape
from tests.unit.test_replay import change
from tests.unit.twin_api_parts import Asking, asking, did, twin_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = twin_settings(tmp_path_factory.mktemp("explained"))
    furnish(made, customers=5)
    return made


@pytest.fixture(scope="module")
def ask(settings: Settings) -> Iterator[Asking]:
    with asking(settings) as made:
        yield made


def explain(ask: Asking, **body: Any) -> dict[str, Any]:
    answer = ask.post("/v1/explain", body)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def check_sums(said: dict[str, Any]) -> None:
    parts = [item["contribution"] for item in said["contributions"]]
    assert math.isclose(said["base_value"] + sum(parts) + said["rest"], said["log_odds"], abs_tol=1e-9)
    grouped = sum(group["contribution"] for group in said["groups"])
    assert math.isclose(said["base_value"] + grouped, said["log_odds"], abs_tol=1e-9)
    assert math.isclose(float(sigmoid(said["log_odds"])), said["probability"], abs_tol=1e-12)
    assert parts == sorted(parts, key=abs, reverse=True)


def test_all_contributions_add_up_to_the_score(ask: Asking, settings: Settings) -> None:
    said = explain(ask, customer_id="c1", model=FALLBACK)
    check_sums(said)
    assert (said["model"], said["model_version"], said["rest"], said["explained_request_id"]) == (
        FALLBACK,
        "1",
        0.0,
        None,
    )
    predicted = ask.client.post("/v1/predict", json={"customer_id": "c1", "model": FALLBACK}).json()
    assert said["probability"] == predicted["probability"]
    champion = load_champion(settings.workspace.bentoml_home, FALLBACK)
    reader = open_reader(settings.features, settings.workspace.state, champion.features)
    rows = reader.read(["c1"], reader.data_end() or 0)
    assert said["position"] == rows.positions[0]
    # The slow way: every contribution by its name, straight from the model.
    columns = champion.columns(rows.matrix)
    slow = dict(zip(champion.inputs.names, champion.contributions(columns)[0], strict=False))
    assert {i["feature"]: i["contribution"] for i in said["contributions"]} == {n: v for n, v in slow.items() if v != 0}
    assert all(item["sentence"].startswith(item["meaning"]) for item in said["contributions"])
    assert {group["view"] for group in said["groups"]} <= {
        feature.view for feature in settings.features.by_name.values()
    }


def test_the_strongest_are_shown_and_the_rest_is_summed(ask: Asking) -> None:
    whole, some = (explain(ask, customer_id="c1", model=FALLBACK, top=top) for top in (1000, 2))
    check_sums(some)
    assert some["contributions"] == whole["contributions"][:2]
    assert some["groups"] == whole["groups"]


def test_what_was_served_is_explained_though_events_came_since(ask: Asking, settings: Settings) -> None:
    served = ask.client.post(
        "/v1/predict", json={"customer_id": "c2", "model": FALLBACK}, headers={"X-Request-Id": "r-1"}
    )
    wait_for_log(settings, "r-1")
    ask.keep(order(300, "c2", NOON), order(301, "c2", NOON))
    said = explain(ask, request_id="r-1")
    assert said["request_id"] not in ("", "r-1")
    check_sums(said)
    assert (said["explained_request_id"], said["customer_id"]) == ("r-1", "c2")
    assert (said["probability"], said["as_of"]) == (served.json()["probability"], served.json()["as_of"])
    assert explain(ask, customer_id="c2", model=FALLBACK)["position"] > said["position"]


def wait_for_log(settings: Settings, request: str) -> None:
    until = time.monotonic() + 60
    while not find_served(settings.workspace.served, request):
        assert time.monotonic() < until, "the log was not written"
        time.sleep(0.02)


def test_of_several_one_is_named(ask: Asking, settings: Settings) -> None:
    body = {"customer_ids": ["c0", "c1"], "model": FALLBACK}
    ask.client.post("/v1/predict_many", json=body, headers={"X-Request-Id": "r-many"})
    wait_for_log(settings, "r-many")
    check_shape(ask.post("/v1/explain", {"request_id": "r-many"}), 400, "several_predictions")
    assert explain(ask, request_id="r-many", customer_id="c0")["customer_id"] == "c0"
    check_shape(ask.post("/v1/explain", {"request_id": "r-many", "customer_id": "c4"}), 404, "unknown_request")
    check_shape(ask.post("/v1/explain", {"request_id": "r-many", "model": EFFECTS}), 404, "unknown_request")
    check_shape(ask.post("/v1/explain", {"request_id": "never"}), 404, "unknown_request")


def test_what_was_served_before_a_merge_is_found_by_the_customers_ids(ask: Asking, settings: Settings) -> None:
    body = {"customer_ids": ["c0", "c3"], "model": FALLBACK}
    ask.client.post("/v1/predict_many", json=body, headers={"X-Request-Id": "r-merge"})
    wait_for_log(settings, "r-merge")
    ask.keep(did(settings, "merge", "Customer Aliased", 0, who="c2", properties={"previous_id": "c3"}))
    said = explain(ask, request_id="r-merge", customer_id="c3")
    assert (said["customer_id"], said["resolved_customer_id"]) == ("c3", "c2")


def test_of_a_version_that_is_gone_it_says_so(ask: Asking, settings: Settings) -> None:
    ask.client.post("/v1/predict", json={"customer_id": "c1", "model": FALLBACK}, headers={"X-Request-Id": "r-gone"})
    wait_for_log(settings, "r-gone")
    folder = settings.workspace.bentoml_home / "models" / FALLBACK
    publish_fallback(settings, version="2")
    shutil.move(folder / "1", folder.parent / "aside")
    try:
        details = check_shape(ask.post("/v1/explain", {"request_id": "r-gone"}), 410, "model_gone")
        assert "version 1" in details[0]["hint"]
    finally:
        shutil.move(folder.parent / "aside", folder / "1")
    assert explain(ask, request_id="r-gone")["model_version"] == "1"


def test_mistakes(ask: Asking) -> None:
    strange = {"customer_id": "c1", "model": FALLBACK, "context": {"strange": 1}}
    check_shape(ask.post("/v1/explain", strange), 400, "invalid_context")
    check_shape(ask.post("/v1/explain", {"request_id": "r-1", "context": {"a": 1}}), 400, "invalid_request")
    check_shape(ask.post("/v1/explain", {"customer_id": "c1", "model": "nothing"}), 404, "unknown_model")
    check_shape(ask.post("/v1/explain", {"customer_id": "c1", "model": EFFECTS}), 400, "not_a_probability")
    check_shape(ask.post("/v1/explain", {"customer_id": "nobody", "model": FALLBACK}), 404, "unknown_customer")
    check_shape(ask.post("/v1/explain", {"model": FALLBACK}), 400, "invalid_request")
    check_shape(ask.post("/v1/explain", {"customer_id": "c1", "top": 0}), 400, "invalid_request")


def replay(ask: Asking, decision_id: str) -> dict[str, Any]:
    answer = ask.post("/v1/decisions/replay", {"decision_id": decision_id}, "reviewer")
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def decide(ask: Asking, customer: str, name: str) -> dict[str, Any]:
    answer = ask.client.post("/v1/decide", json={"customer_id": customer, "decision_id": name})
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def test_a_decision_comes_out_the_same_though_events_came_since(ask: Asking) -> None:
    for number in range(8):
        made = decide(ask, f"c{number % 3}", f"again-{number}")
        ask.keep(order(400 + number, f"c{number % 3}", NOON + number))
        said = replay(ask, f"again-{number}")
        assert (said["differences"], said["not_replayed"]) == ([], [])
        assert said["recorded"] == said["again"]
        assert said["again"]["decision"]["action"] == made["action"]
        assert said["again"]["decision"]["propensity"] == made["propensity"]
        assert said["again"]["predicted"]["no_action"]
        assert (said["model"], said["as_of"]) == (EFFECTS, made["as_of"])


CHANGES: list[tuple[Any, tuple[str, str]]] = [
    (lambda r: r["decision"].update(propensity=0.123), ("record", "propensity")),
    (lambda r: r["situation"]["features"].update(order_completed_count_lifetime=99),
     ("log", "features.order_completed_count_lifetime")),
    (lambda r: r["situation"]["predicted"]["no_action"].update(response=1.5), ("log", "predicted.no_action")),
]  # fmt: skip


@pytest.mark.parametrize(("act", "place"), CHANGES)
def test_every_difference_is_told(ask: Asking, settings: Settings, act: Any, place: tuple[str, str]) -> None:
    decide(ask, "c1", "changed")
    office = Office(settings)
    put_back = change(office, "changed", act)
    try:
        said = replay(ask, "changed")
    finally:
        put_back()
        office.close()
    assert place in {(one["where"], one["field"]) for one in said["differences"]}
    for one in said["differences"]:
        assert one["recorded"] != one["again"]
        part, _, name = one["field"].rpartition(".")
        made = said["again"][part or "decision"]
        assert made[name] == one["again"]
        assert json.dumps(said["recorded"][part or "decision"][name]) == json.dumps(one["recorded"])


def test_decisions_that_cannot_be_replayed(ask: Asking) -> None:
    check_shape(ask.post("/v1/decisions/replay", {"decision_id": "never"}, "reviewer"), 404, "unknown_decision")
    check_shape(ask.post("/v1/decisions/replay", {"decision_id": "two words"}, "reviewer"), 400, "invalid_request")
    decide(ask, "c4", "denied")
    ask.keep(says("c4", "profiling", False, NOON))
    check_shape(ask.post("/v1/decisions/replay", {"decision_id": "denied"}, "reviewer"), 403, "consent_denied")
    ask.keep(says("c4", "profiling", True, NOON + 1))
    # What counts of this customer is not what counted then.
    said = replay(ask, "denied")
    assert "identifiers or consent changed" in said["not_replayed"][0]
    assert (said["again"]["decision"] is None, said["again"]["features"]) == (False, None)
