"""Decisions over HTTP, the whole service in process: real states, identity, journal and ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.cli.decide import told
from pipelines.settings import Settings
from serving import connection, consent_gate, ingestion, served_log
from serving.connection import Connection
from serving.consent_gate import ConsentGate
from serving.decisions import catalogue_watch
from serving.ingestion import Ingestion
from serving.served_log import ServedLog
from serving.service import CustomerTwin
from tests.unit.desk_parts import EFFECTS, NOON, Office, changed, decision_settings, furnish, says, write_catalogue
from tests.unit.serving_client import SPECIMEN, check_shape


@contextmanager
def serve(settings: Settings) -> Iterator[TestClient]:
    patch = pytest.MonkeyPatch()
    patch.setattr(connection, "connect", lambda: Connection(settings))
    patch.setattr(consent_gate, "connect", lambda: ConsentGate(settings))
    patch.setattr(ingestion, "connect", lambda: Ingestion(settings))
    patch.setattr(served_log, "connect", lambda shadow_of: ServedLog(settings, shadow_of))
    patch.setattr(catalogue_watch, "LOOK_EVERY", 0.0)
    patch.setenv("PROMETHEUS_MULTIPROC_DIR", str(settings.workspace.root / "metrics"))
    try:
        with TestClient(app=CustomerTwin.to_asgi(), raise_server_exceptions=False) as client:
            yield client
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = decision_settings(tmp_path_factory.mktemp("served"))
    furnish(made, customers=4)
    return made


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[TestClient]:
    with serve(settings) as made:
        yield made


def test_the_answer_is_what_is_in_the_log(client: TestClient, settings: Settings) -> None:
    body = {"customer_id": "c1", "decision_id": "d1", "reasons": True}
    answer = client.post("/v1/decide", json=body, headers={"X-Request-Id": "call-1"})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    office = Office(settings)
    logged = next(one for one in office.logged() if one.decision.decision_id == "d1")
    office.close()
    decision = logged.decision
    assert (said["request_id"], said["decision_id"], said["customer_id"], said["repeated"]) == (
        "call-1",
        "d1",
        "c1",
        False,
    )
    for name in ("action", "variant", "channel", "cost", "propensity", "expected_value", "basis", "holdout", "stage"):
        assert said[name] == getattr(decision, name)
    assert [item["action"] for item in said["alternatives"]] == [item.action for item in decision.alternatives[1:]]
    assert all(item["lost"] != "chosen" and item["because"] for item in said["alternatives"])
    assert (said["model"], said["model_version"], said["currency"]) == (EFFECTS, "1", "THB")
    assert said["effect_reasons"]["reasons"][0]["sentence"]
    again = client.post("/v1/decide", json=body).json()
    assert (again["repeated"], again["effect_reasons"]) == (True, None)
    apart = {"request_id", "repeated", "effect_reasons"}
    assert {k: v for k, v in again.items() if k not in apart} == {k: v for k, v in said.items() if k not in apart}
    lines = told(said, {"THB": 2})
    assert lines[0].startswith(f"c1: {decision.action}")
    assert "decision d1" in lines[-1]


MISTAKES: list[tuple[Any, list[str]]] = [
    ({}, ["customer_id"]),
    ({"customer_id": 5}, ["customer_id"]),
    ({"customer_id": ""}, ["customer_id"]),
    ({"customer_id": "c1", "decision_id": ""}, ["decision_id"]),
    ({"customer_id": "c1", "decision_id": "two words"}, ["decision_id"]),
    ({"customer_id": "c1", "decision_id": "d" * 101}, ["decision_id"]),
    ({"customer_id": "c1", "reasons": "yes", "model": "churn"}, ["reasons", "model"]),
    ({"customer_id": "c1", "context": {"cart": [1]}}, ["context.cart.int", "context.cart.constrained-str"]),
    ([], ["body"]),
]


@pytest.mark.parametrize(("body", "fields"), MISTAKES)
def test_mistakes_are_told_all_at_once(client: TestClient, body: Any, fields: list[str]) -> None:
    details = check_shape(client.post("/v1/decide", json=body), 400, "invalid_request")
    assert len(details) == len(fields)
    assert {detail["field"].split(".")[0] for detail in details} == {field.split(".")[0] for field in fields}
    assert SPECIMEN not in str(details)


def test_what_is_refused_has_the_one_shape(client: TestClient) -> None:
    client.post("/v1/decide", json={"customer_id": "c1", "decision_id": "taken"})
    refused = {"customer_id": "c2", "decision_id": "taken"}
    assert check_shape(client.post("/v1/decide", json=refused), 409, "decision_id_taken")[0]["field"] == "decision_id"
    check_shape(client.post("/v1/decide", json={"customer_id": "nobody"}), 404, "unknown_customer")
    strange = {"customer_id": "c1", "context": {"strange": 1}}
    check_shape(client.post("/v1/decide", json=strange), 400, "invalid_context")
    check_shape(client.get("/v1/decide"), 405, "method_not_allowed")
    check_shape(client.post("/v1/decide", content=b"{"), 400, "invalid_json")


def test_who_said_no_is_refused_at_the_next_call(client: TestClient, settings: Settings) -> None:
    office = Office(settings)
    assert client.post("/v1/decide", json={"customer_id": "c3"}).status_code == 200
    office.keep(says("c3", "marketing", False, NOON))
    for _ in range(4):
        assert client.post("/v1/decide", json={"customer_id": "c3"}).json()["action"] == "no_action"
    office.keep(says("c3", "profiling", False, NOON))
    office.close()
    check_shape(client.post("/v1/decide", json={"customer_id": "c3"}), 403, "consent_denied")


def test_a_key_is_asked_for_as_for_predictions(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import service

    monkeypatch.setattr(service, "PROFILE", service.PROFILE.model_copy(update={"require_keys": True}))
    check_shape(client.post("/v1/decide", json={"customer_id": "c1"}), 401, "unauthorized")


def test_it_is_documented(client: TestClient) -> None:
    page = client.get("/docs.json").json()
    post = page["paths"]["/v1/decide"]["post"]
    assert {"200", "400", "401", "403", "404", "409", "503"} <= post["responses"].keys()
    assert post["responses"]["200"]["content"]["application/json"]["example"]["action"]
    assert page["components"]["schemas"]["DecideRequest"]["example"]["customer_id"]
    assert "get" in page["paths"]["/v1/actions"]


def test_actions_tells_what_decides(client: TestClient, settings: Settings) -> None:
    said = client.get("/v1/actions").json()
    assert (said["state"], said["held_back"], said["model"]) == ("current", None, EFFECTS)
    assert said["actions"] == ["email_coupon", "line_coupon"]
    assert said["catalogue"] == settings.catalogue.hash  # type: ignore[union-attr]


def test_without_any_good_catalogue_all_mistakes_are_told_and_predictions_go_on(tmp_path: Path) -> None:
    made = decision_settings(tmp_path)
    furnish(made, customers=1)
    (made.workspace.catalogues / "newest").unlink()
    bad = changed(budget={"amount": -1, "per": "1d"})
    bad["actions"] = [{**bad["actions"][0], "eligible": "no_such_feature > 1"}]
    write_catalogue(made.config_dir, bad)
    mistaken = decision_settings(tmp_path)
    assert mistaken.catalogue is None
    with serve(replace(mistaken, workspace=made.workspace)) as client:
        details = check_shape(client.post("/v1/decide", json={"customer_id": "c0"}), 503, "catalogue_unusable")
        assert len(details) >= 2
        assert all(detail["field"].startswith("actions.yaml: ") for detail in details)
        assert str(tmp_path) not in str(details)
        said = client.get("/v1/actions").json()
        assert (said["state"], said["catalogue"], len(said["held_back"]["details"])) == ("none", None, len(details))
        assert client.post("/v1/predict", json={"customer_id": "c0", "model": "conversion"}).status_code == 200
