"""Keys at the door: which routes ask for one, what a wrong one is told, and that a revoked one is refused at once."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from feature_repo.configuration import ConfigurationError
from pipelines.access import SCOPES, Keys
from serving import bootstrap, service
from serving.api.authorisation import Access, authorise, key_of
from serving.api.errors import ApiError
from serving.exposure import check_host
from tests.unit.serving_client import check_shape, serve
from tests.unit.serving_parts import CUSTOMERS, Shop, make_shop

ASKED = [
    ("/v1/predict", {"customer_id": CUSTOMERS[0]}),
    ("/v1/predict_many", {"customer_ids": [CUSTOMERS[0], CUSTOMERS[1]]}),
]


@dataclass
class Door:
    client: TestClient
    keys: Keys

    def ask(self, path: str, body: Any, authorization: str | None = None) -> Any:
        headers = {} if authorization is None else {"authorization": authorization}
        return self.client.post(path, json=body, headers=headers)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = make_shop(tmp_path_factory.mktemp("shop"))
    made.publish(version="3")
    return made


@pytest.fixture(params=[True, False], ids=["required", "not required"])
def door(request: pytest.FixtureRequest, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    file = tmp_path / "access.db"
    monkeypatch.setattr(bootstrap, "connect_access", lambda: Access(file))
    monkeypatch.setattr(service, "PROFILE", service.PROFILE.model_copy(update={"require_keys": request.param}))
    with serve(shop) as client:
        yield Door(client, Keys(file))


def basic(name: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:".encode()).decode()


@pytest.mark.parametrize("door", [True], indirect=True)
@pytest.mark.parametrize(("path", "body"), ASKED)
def test_predictions_need_a_key_that_may_predict(door: Door, path: str, body: Any) -> None:
    key, text = door.keys.create("backend", ["predict", "read"])
    others = [scope for scope in SCOPES if scope != "predict"]
    other, weak = door.keys.create("other", others)
    for good in (f"Bearer {text}", f"bearer  {text}", basic(text)):
        assert door.ask(path, body, good).status_code == 200
    for wrong in (
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {text}x",
        text,
        f"Token {text}",
        "Basic ???",
        basic(""),
        "\xff",
    ):
        answer = door.ask(path, body, wrong.encode("latin-1") if wrong else wrong)  # type: ignore[arg-type]
        check_shape(answer, 401, "unauthorized")
        assert "Basic" in answer.headers["www-authenticate"]
        assert "Bearer" in answer.headers["www-authenticate"]
    answer = door.ask(path, body, f"Bearer {weak}")
    (detail,) = check_shape(answer, 403, "forbidden")
    assert detail["expected"] == "a key with the scope predict"
    assert other.key_id in detail["got"]
    assert 'scope="predict"' in answer.headers["www-authenticate"]
    assert weak not in answer.text
    door.keys.revoke(key.key_id)
    check_shape(door.ask(path, body, f"Bearer {text}"), 401, "unauthorized")


@pytest.mark.parametrize("door", [True], indirect=True)
def test_who_may_not_ask_has_no_body_read(door: Door) -> None:
    check_shape(door.client.post("/v1/predict", content=b"x" * 5_000_000), 401, "unauthorized")
    assert door.client.get("/v1/predict").status_code == 405


@pytest.mark.parametrize("door", [False], indirect=True)
@pytest.mark.parametrize(("path", "body"), ASKED)
def test_where_no_keys_are_required_nobody_is_asked(door: Door, path: str, body: Any) -> None:
    for header in (None, "Bearer nothing"):
        assert door.ask(path, body, header).status_code == 200


def test_models_and_documentation_need_no_key(door: Door) -> None:
    for path in ("/", "/docs.json", "/v1/models", "/livez", "/readyz"):
        assert door.client.get(path).status_code == 200


def test_events_always_need_one(door: Door) -> None:
    for path in ("/v1/track", "/v1/batch"):
        check_shape(door.ask(path, {"userId": "a", "event": "b", "batch": [1]}), 401, "unauthorized")


def request(authorization: str) -> HTTPConnection:
    return HTTPConnection({"type": "http", "headers": [(b"authorization", authorization.encode())]})


def test_routes_to_come_ask_for_their_scope(door: Door) -> None:
    key, text = door.keys.create("somebody", ["admin", "review"])
    for scope in ("admin", "review"):
        assert authorise(request(f"Bearer {text}"), scope) == key
    with pytest.raises(ApiError) as caught:
        authorise(request(basic(text)), "read")
    assert (caught.value.status, caught.value.code) == (403, "forbidden")
    with pytest.raises(ApiError) as caught:
        authorise(request("Bearer x"), "admin")
    assert caught.value.status == 401


def test_a_file_that_is_no_database_is_a_503(tmp_path: Path) -> None:
    (tmp_path / "access.db").write_bytes(b"no database " * 1000)
    with pytest.raises(ApiError) as caught:
        Access(tmp_path / "access.db").check("twk_x", "predict")
    assert caught.value.status == 503
    with pytest.raises(ApiError) as caught:
        Access(tmp_path / "none.db").check("twk_x", "predict")
    assert caught.value.status == 401
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Bearer a", "a"),
        ("BEARER   a ", "a"),
        (basic("a"), "a"),
        ("Basic " + base64.b64encode(b"a").decode(), "a"),
        ("Basic " + base64.b64encode(b"a:b:c").decode(), "a"),
        ("Basic /w==", None),
        ("Digest a", None),
        ("", None),
    ],
)
def test_keys_of_a_header(header: str, text: str | None) -> None:
    assert key_of(Headers({"authorization": header})) == text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "8.8.8.8"])  # noqa: S104
def test_without_keys_only_this_machine_is_answered(host: str) -> None:
    with pytest.raises(ConfigurationError, match="require_keys: true"):
        check_host(host, require_keys=False)
    check_host(host, require_keys=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_answered_without_keys(host: str) -> None:
    check_host(host, require_keys=False)
