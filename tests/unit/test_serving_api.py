"""The service in process: real model, real model store, real BentoML; customers in memory."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from feature_repo.words import words_of
from pipelines.served_log import draw
from serving import connection
from serving.api.answers import iso
from serving.bootstrap import wire
from serving.features import MemoryReader, MemoryRows
from serving.service import PROFILE
from tests.unit.serving_client import SPECIMEN, check_shape, serve
from tests.unit.serving_parts import CUSTOMERS, POPULATION_DAYS, RECENCY, Shop, make_shop

Serve = Callable[[Shop], TestClient]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


@pytest.fixture
def client(shop: Shop) -> Iterator[TestClient]:
    with serve(shop) as made:
        yield made


@pytest.fixture
def empty_shop(tmp_path: Path) -> Shop:
    return make_shop(tmp_path)


# --- predictions -----------------------------------------------------------------------------


def test_the_probability_is_the_models(client: TestClient, shop: Shop) -> None:
    booster = wire(shop.settings, shop.open_reader).predictor("churn").champion.scorer
    customer = CUSTOMERS[5]
    answer = client.post("/v1/predict", json={"customer_id": customer}, headers={"X-Request-Id": "call-1"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "call-1"
    assert answer.json() == {
        "request_id": "call-1",
        "customer_id": customer,
        "model": "churn",
        "model_version": "3",
        "as_of": "2011-08-31T17:19:00.000001Z",
        "probability": float(booster.predict(shop.values[customer].reshape(1, -1))[0]),
        "in_population": bool(shop.values[customer][shop.features.index(RECENCY)] <= POPULATION_DAYS),
        "reasons": None,
    }


def test_customers_outside_the_population_are_marked(client: TestClient, shop: Shop) -> None:
    results = client.post("/v1/predict_many", json={"customer_ids": list(CUSTOMERS)}).json()["results"]
    recency = [shop.values[customer][shop.features.index(RECENCY)] for customer in CUSTOMERS]
    assert [item["in_population"] for item in results] == [bool(days <= POPULATION_DAYS) for days in recency]
    assert {item["in_population"] for item in results} == {True, False}


def test_reasons_are_signed_ordered_and_additive(client: TestClient, shop: Shop) -> None:
    customer = CUSTOMERS[0]
    content = client.post("/v1/predict", json={"customer_id": customer, "reasons": True}).json()
    reasons = content["reasons"]
    assert 1 <= len(reasons) <= 5
    sizes = [abs(reason["contribution"]) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)
    for reason in reasons:
        value = shop.values[customer][shop.features.index(reason["feature"])]
        assert reason["value"] == (None if np.isnan(value) else value)
        assert np.sign(reason["contribution"]) == np.sign(reason["change_in_probability"])
        words = words_of(shop.settings.features, reason["feature"])
        assert reason["sentence"].startswith(f"{words} is ")
        log_odds = np.log(content["probability"] / (1 - content["probability"]))
        without = 1 / (1 + np.exp(reason["contribution"] - log_odds))
        assert reason["change_in_probability"] == pytest.approx(content["probability"] - without, abs=1e-9)


@pytest.mark.parametrize("reasons", [False, True])
def test_many_agrees_with_one_and_keeps_the_order(client: TestClient, reasons: bool) -> None:
    asked = [CUSTOMERS[3], "nobody", CUSTOMERS[1], CUSTOMERS[3], *CUSTOMERS[:30]]
    answer = client.post("/v1/predict_many", json={"customer_ids": asked, "reasons": reasons})
    assert answer.status_code == 200
    content = answer.json()
    assert [item["customer_id"] for item in content["results"]] == asked
    for item in content["results"]:
        if item["customer_id"] == "nobody":
            assert item["probability"] is None
            assert item["error"]["code"] == "unknown_customer"
            assert item["error"]["details"][0]["field"] == "customer_ids.1"
            continue
        one = client.post("/v1/predict", json={"customer_id": item["customer_id"], "reasons": reasons}).json()
        assert (item["probability"], item["reasons"], item["error"]) == (one["probability"], one["reasons"], None)


def test_a_customer_without_any_value_still_gets_a_prediction(empty_shop: Shop) -> None:
    empty_shop.publish()
    empty_shop.values["blank"] = np.full(len(empty_shop.features), np.nan)
    with serve(empty_shop) as client:
        content = client.post("/v1/predict", json={"customer_id": "blank", "reasons": True}).json()
    assert 0 < content["probability"] < 1
    assert {reason["value"] for reason in content["reasons"]} == {None}


def test_all_unknown_is_a_list_of_errors(client: TestClient) -> None:
    answer = client.post("/v1/predict_many", json={"customer_ids": ["a", "b"]})
    assert answer.status_code == 200
    assert [item["error"]["code"] for item in answer.json()["results"]] == ["unknown_customer"] * 2


def test_models_says_what_is_served(client: TestClient, shop: Shop) -> None:
    (model,) = client.get("/v1/models").json()["models"]
    assert model["served"]
    assert model["model_version"] == "3"
    assert model["features"] == list(shop.features)
    assert model["spec_hash"] == shop.settings.features.hash
    assert model["manifest"]["trained_on"] == {"rows": 400}


# --- mistakes in requests --------------------------------------------------------------------

JSON = {"content-type": "application/json"}
PREDICT_MISTAKES: list[tuple[Any, list[tuple[str, str]]]] = [
    ({}, [("customer_id", "nothing")]),
    ({"customer_id": None}, [("customer_id", "null")]),
    ({"customer_id": 17850}, [("customer_id", "a whole number")]),
    ({"customer_id": 1.5}, [("customer_id", "a number")]),
    ({"customer_id": True}, [("customer_id", "true")]),
    ({"customer_id": ["1"]}, [("customer_id", "a list of 1 items")]),
    ({"customer_id": {"a": 1}}, [("customer_id", "an object of 1 keys")]),
    ({"customer_id": ""}, [("customer_id", "text of 0 characters")]),
    ({"customer_id": "x" * 257}, [("customer_id", "text of 257 characters")]),
    ({"customer_id": "1\x00"}, [("customer_id", "text with control characters")]),
    ({"customer_id": "1\n"}, [("customer_id", "text with control characters")]),
    ({"customer_id": "1", "reasons": "yes"}, [("reasons", "text of 3 characters")]),
    ({"customer_id": "1", "reasons": None}, [("reasons", "null")]),
    ({"customer_id": "1", "model": ""}, [("model", "text of 0 characters")]),
    ({"customer_id": "1", "modle": "churn"}, [("modle", "an unknown key")]),
    ({"customer_id": "1", SPECIMEN: 1}, [("(not a plain name)", "an unknown key")]),
    (
        {"customer_id": 1, "model": 2, "reasons": 3, "x": 4},
        [
            ("customer_id", "a whole number"),
            ("model", "a whole number"),
            ("reasons", "a whole number"),
            ("x", "an unknown key"),
        ],
    ),
    ([], [("body", "a list of 0 items")]),
    ("text", [("body", "text of 4 characters")]),
    (None, [("body", "null")]),
]


@pytest.mark.parametrize(("body", "found"), PREDICT_MISTAKES)
def test_every_mistake_is_named_at_once(client: TestClient, body: Any, found: list[tuple[str, str]]) -> None:
    answer = client.post("/v1/predict", content=json.dumps(body), headers=JSON)
    details = check_shape(answer, 400, "invalid_request")
    assert [(detail["field"], detail["got"]) for detail in details] == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"customer_ids": []}, "customer_ids"),
        ({"customer_ids": "1"}, "customer_ids"),
        ({"customer_ids": ["1", 2]}, "customer_ids.1"),
        ({"customer_ids": ["1", "2", "x" * 300]}, "customer_ids.2"),
        ({"customer_id": "1"}, "customer_ids"),
    ],
)
def test_mistakes_in_lists_name_the_item(client: TestClient, body: Any, field: str) -> None:
    details = check_shape(client.post("/v1/predict_many", json=body), 400, "invalid_request")
    assert details[0]["field"] == field


def test_a_thousand_mistakes_are_counted_but_not_all_listed(client: TestClient) -> None:
    answer = client.post("/v1/predict_many", json={"customer_ids": [1] * 1000})
    assert len(check_shape(answer, 400, "invalid_request")) == 100
    assert answer.json()["error"]["message"] == "1000 mistakes in the request"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"not json", b'{"customer_id": }', b"\xff\xfe", b'{"customer_id": "\xff"}',
        b'{"customer_id": "\\ud800"}', b"[" * 200_000, b'{"customer_id":' * 30_000,
        b'{"customer_id": 1' + b"0" * 10_000 + b"}", b"\x00", b'{"customer_id": "a\x00"}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(client: TestClient, raw: bytes) -> None:
    details = check_shape(client.post("/v1/predict", content=raw, headers=JSON), 400, "invalid_json")
    assert details[0]["field"] == "body"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ({"content-type": "text/plain"}, "Content-Type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "Content-Type"),
        ({"content-type": "multipart/form-data; boundary=x"}, "Content-Type"),
        ({"content-type": "application/vnd.bentoml+pickle"}, "Content-Type"),
        ({"content-type": "application/json; charset=tis-620"}, "Content-Type"),
        ({"content-type": SPECIMEN}, "Content-Type"),
        ({**JSON, "content-encoding": "gzip"}, "Content-Encoding"),
    ],
)
def test_other_kinds_of_body_are_refused(client: TestClient, headers: dict[str, str], field: str) -> None:
    answer = client.post("/v1/predict", content=b'{"customer_id": "1"}', headers=headers)
    assert [detail["field"] for detail in check_shape(answer, 415, "unsupported_media_type")] == [field]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
def test_json_may_be_said_in_any_way(client: TestClient, kind: str) -> None:
    body = json.dumps({"customer_id": CUSTOMERS[0]})
    assert client.post("/v1/predict", content=body, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_refused_with_the_limit_named(client: TestClient, announced: bool) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield b"a" * 100_000

    raw = b"a" * (PROFILE.maximum_body_bytes + 1)
    answer = client.post("/v1/predict", content=raw if announced else chunks(), headers=JSON)
    details = check_shape(answer, 413, "body_too_large")
    assert details[0]["expected"] == f"at most {PROFILE.maximum_body_bytes} bytes"
    assert answer.headers["connection"] == "close"


def test_a_body_at_the_limit_is_read(client: TestClient) -> None:
    body = json.dumps({"customer_id": CUSTOMERS[0]}).encode()
    padded = body + b" " * (PROFILE.maximum_body_bytes - len(body))
    assert client.post("/v1/predict", content=padded, headers=JSON).status_code == 200


def test_too_many_customers_are_refused_with_the_limit_named(client: TestClient) -> None:
    answer = client.post("/v1/predict_many", json={"customer_ids": ["1"] * (PROFILE.maximum_customers + 1)})
    details = check_shape(answer, 400, "too_many_customers")
    assert str(PROFILE.maximum_customers) in details[0]["expected"]


def test_an_unknown_customer_is_404_without_its_id(client: TestClient) -> None:
    answer = client.post("/v1/predict", json={"customer_id": SPECIMEN})
    assert check_shape(answer, 404, "unknown_customer")[0]["field"] == "customer_id"
    assert SPECIMEN not in answer.text


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("/v1/predict", "customer_id", "1"),
        ("/v1/predict_many", "customer_ids", ["1"]),
    ],
)
def test_an_unknown_model_is_404_and_the_known_are_named(client: TestClient, path: str, key: str, value: Any) -> None:
    details = check_shape(client.post(path, json={key: value, "model": "curn"}), 404, "unknown_model")
    assert details[0]["expected"] == "one of: churn"
    answer = client.post(path, json={key: value, "model": SPECIMEN})
    check_shape(answer, 404, "unknown_model")
    assert SPECIMEN not in answer.text


# --- the whole server ------------------------------------------------------------------------


def test_every_route_answers_wrong_methods_and_bodies_in_the_shape(client: TestClient) -> None:
    documented = client.get("/docs.json").json()["paths"]
    paths = [*documented, "/docs.json", "/schema.json", "/", "/nowhere", "/v1", "/v1/", "/v1/predict/x", "/metrics"]
    for path in paths:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "SPAM"):
            answer = client.request(method, path)
            assert answer.headers["x-request-id"]
            if answer.status_code >= 400:
                check_shape(answer, answer.status_code, answer.json()["error"]["code"])
                assert answer.status_code in (400, 401, 404, 405), (method, path, answer.text)


def test_a_mistyped_path_is_told_the_right_ones(client: TestClient) -> None:
    details = check_shape(client.post("/v1/predictt", json={}), 404, "not_found")
    assert "/v1/predict, /v1/predict_many" in details[0]["expected"]


def test_a_wrong_method_is_told_the_right_one(client: TestClient) -> None:
    answer = client.get("/v1/predict")
    check_shape(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 101, "<script>", SPECIMEN, "สมชาย".encode()])
def test_only_a_sane_request_id_is_taken_over(client: TestClient, bad: str | bytes) -> None:
    answer = client.get("/livez", headers={"X-Request-Id": bad})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_the_documentation_shows_bodies_examples_and_our_errors(client: TestClient) -> None:
    page = client.get("/docs.json").json()
    assert {"/v1/predict", "/v1/predict_many", "/v1/models", "/v1/events", "/readyz"} <= page["paths"].keys()
    assert {} in page["paths"]["/v1/predict"]["post"]["security"]
    asked = {name for way in page["paths"]["/v1/events"]["post"]["security"] for name in way}
    assert asked == page["components"]["securitySchemes"].keys()
    post = page["paths"]["/v1/predict"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PredictRequest")
    body = page["components"]["schemas"]["PredictRequest"]
    assert set(body["properties"]) == {"customer_id", "model", "models", "reasons", "context"}
    assert body["example"]["customer_id"]
    assert post["responses"]["400"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorResponse")
    assert client.post("/v1/predict", json=body["example"]).status_code == 404
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(page)))
    assert references <= page["components"]["schemas"].keys()


def test_the_page_for_people_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "http" not in page.text
    for asset in re.findall(r'"\.(/static_content/[^"]+)"', page.text):
        assert client.get(asset).status_code == 200


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NEAR_MISS = st.fixed_dictionaries({}, optional={
    "customer_id": ANY_JSON | st.sampled_from(CUSTOMERS), "customer_ids": ANY_JSON | st.lists(st.text(), max_size=5),
    "model": ANY_JSON | st.just("churn"), "models": ANY_JSON | st.lists(st.just("churn") | st.text()),
    "reasons": ANY_JSON | st.booleans(),
})  # fmt: skip
BODIES = st.binary(max_size=200) | (ANY_JSON | NEAR_MISS).map(lambda value: json.dumps(value).encode())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=BODIES, path=st.sampled_from(["/v1/predict", "/v1/predict_many"]))
def test_no_body_is_a_fault_of_the_server(client: TestClient, raw: bytes, path: str) -> None:
    answer = client.post(path, content=raw, headers=JSON)
    if answer.status_code != 200:
        assert answer.status_code in (400, 404), answer.text
        check_shape(answer, answer.status_code, answer.json()["error"]["code"])


# --- what must not be served -----------------------------------------------------------------


def check_refused(client: TestClient, code: str) -> list[dict[str, str]]:
    """Nothing is predicted, the service is not ready, and both say why."""
    check_shape(client.post("/v1/predict_many", json={"customer_ids": [CUSTOMERS[0]]}), 503, code)
    check_shape(client.get("/readyz"), 503, code)
    assert client.get("/livez").status_code == 200
    (model,) = client.get("/v1/models").json()["models"]
    assert not model["served"]
    assert model["error"]["code"] == code
    details = check_shape(client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]}), 503, code)
    assert details[0]["hint"]
    return details


def test_without_a_champion_it_says_so(empty_shop: Shop) -> None:
    with serve(empty_shop) as client:
        check_refused(client, "model_missing")


@pytest.mark.parametrize("change", ["drop", "add", "swap", "rename"])
def test_other_features_than_the_stores_are_refused(empty_shop: Shop, change: str) -> None:
    names = list(empty_shop.features)
    changed = {
        "drop": names[:-1],
        "add": [*names, "invented"],
        "swap": [names[1], names[0], *names[2:]],
        "rename": ["invented", *names[1:]],
    }[change]
    empty_shop.publish(features=changed)
    with serve(empty_shop) as client:
        assert check_refused(client, "model_mismatch")[0]["field"] == "features"


def test_a_model_of_another_spec_is_refused(empty_shop: Shop) -> None:
    empty_shop.publish(spec_hash="0123456789abcdef")
    with serve(empty_shop) as client:
        assert check_refused(client, "model_mismatch")[0]["field"] == "spec_hash"


def test_a_state_of_another_spec_is_refused(empty_shop: Shop) -> None:
    empty_shop.publish()
    empty_shop.spec_hash = "0123456789abcdef"
    with serve(empty_shop) as client:
        assert "0123456789abcdef" in check_refused(client, "model_mismatch")[0]["got"]


def test_a_model_file_that_is_not_the_manifests_is_refused(empty_shop: Shop) -> None:
    folder = empty_shop.settings.workspace.bentoml_home / "models" / "churn" / "1"
    empty_shop.publish()
    text = (folder / "model.lgb").read_text()
    first, second = empty_shop.features[:2]
    (folder / "model.lgb").write_text(text.replace(f"{first} {second}", f"{second} {first}"))
    with serve(empty_shop) as client:
        check_refused(client, "model_mismatch")


@pytest.mark.parametrize("file", ["model.lgb", "manifest.json"])
@pytest.mark.parametrize("content", [None, "", "{}", "no model"])
def test_a_broken_export_is_refused(empty_shop: Shop, file: str, content: str | None) -> None:
    empty_shop.publish()
    place = empty_shop.settings.workspace.bentoml_home / "models" / "churn" / "1" / file
    place.unlink()
    if content is not None:
        place.write_text(content)
    with serve(empty_shop) as client:
        check_refused(client, "model_unreadable")


def test_an_empty_state_is_refused(empty_shop: Shop) -> None:
    empty_shop.publish()
    empty_shop.end = None
    with serve(empty_shop) as client:
        check_shape(client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]}), 503, "state_missing")


def test_a_workspace_without_a_state_is_refused(empty_shop: Shop) -> None:
    empty_shop.publish()
    wiring = wire(empty_shop.settings)
    assert wiring.problem is not None
    assert wiring.problem.code == "state_missing"
    assert not empty_shop.settings.workspace.state.exists()


def test_a_state_that_is_no_database_is_refused(empty_shop: Shop) -> None:
    empty_shop.publish()
    empty_shop.settings.workspace.state.write_text("no database " * 1000)
    assert wire(empty_shop.settings).refusals["churn"].code == "state_unreadable"


def test_it_becomes_ready_once_the_model_is_there(empty_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.01)
    with serve(empty_shop) as client:
        check_refused(client, "model_missing")
        empty_shop.publish()
        until = time.monotonic() + 30
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]}).status_code == 200


# --- faults ----------------------------------------------------------------------------------


class BrokenReader(MemoryReader):
    """A store that fails at read, with a text that must not come out."""

    def read(self, customer_ids: Any, as_of: int, context: Any = None) -> MemoryRows:
        raise RuntimeError(f"cannot read {SPECIMEN}")


@pytest.mark.parametrize("path", ["/v1/predict", "/v1/predict_many"])
def test_a_fault_is_a_500_without_its_text(empty_shop: Shop, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    empty_shop.publish()
    end, spec_hash = empty_shop.end, empty_shop.settings.features.hash
    monkeypatch.setattr(empty_shop, "open_reader", lambda *_: BrokenReader({}, 1, spec_hash, end))
    body = {"customer_id": "1"} if path == "/v1/predict" else {"customer_ids": ["1"]}
    with serve(empty_shop) as client:
        answer = client.post(path, json=body)
    check_shape(answer, 500, "internal_error")
    assert SPECIMEN not in answer.text


def test_reasons_that_do_not_add_up_are_not_served(empty_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.champion import Champion

    true_parts = Champion.contributions
    monkeypatch.setattr(Champion, "contributions", lambda self, matrix: true_parts(self, matrix) + 1e-8)
    empty_shop.publish()
    ask = {"customer_id": CUSTOMERS[0]}
    with serve(empty_shop) as client:
        check_shape(client.post("/v1/predict", json={**ask, "reasons": True}), 500, "internal_error")
        assert client.post("/v1/predict", json=ask).status_code == 200


def test_what_was_answered_is_in_the_log_when_the_service_has_ended(shop: Shop) -> None:
    with serve(shop) as client:
        one = client.post("/v1/predict", json={"customer_id": CUSTOMERS[0]}, headers={"x-request-id": "logged-one"})
        asked = {"customer_ids": [CUSTOMERS[1], "nobody", CUSTOMERS[2]]}
        many = client.post("/v1/predict_many", json=asked, headers={"x-request-id": "logged-many"})
        unknown = client.post("/v1/predict", json={"customer_id": "nobody"}, headers={"x-request-id": "logged-none"})
    assert (one.status_code, many.status_code, unknown.status_code) == (200, 200, 404)
    drawn = draw(shop.settings.workspace.served, 100_000, seed=1)
    found = {(v.request_id, v.customer_id): v for v in drawn.vectors if v.request_id.startswith("logged-")}
    assert found.keys() == {("logged-one", CUSTOMERS[0]), *(("logged-many", who) for who in CUSTOMERS[1:3])}
    first = found["logged-one", CUSTOMERS[0]]
    assert first.probability == one.json()["probability"]
    assert iso(first.as_of) == one.json()["as_of"]
    read = [None if np.isnan(value) else value for value in shop.values[CUSTOMERS[0]].tolist()]
    assert list(first.values) == read
    assert drawn.lists[first.reads].features == shop.features
    assert [found["logged-many", item["customer_id"]].probability for item in many.json()["results"][::2]] == [
        item["probability"] for item in many.json()["results"][::2]
    ]
