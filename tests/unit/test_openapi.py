"""The API's page: all routes, each with schemas, examples that fit them, statuses, keys and a topic."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import jsonschema
import pytest
from pydantic import BaseModel
from starlette.routing import Mount, Route

from pipelines.privacy.erase import ErasureReport
from pipelines.privacy.report import AccessReport
from serving.api.errors import ErrorResponse
from serving.api.openapi import TOPICS, Topic, api_page, page_paths
from serving.api.privacy_responses import AccessResponse, EraseResponse
from serving.service import CustomerTwin

PAGE = api_page()
OPERATIONS = [(path, method) for path, item in PAGE["paths"].items() for method in item]
CALLS = [path for path, method in OPERATIONS if method == "post"]


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": PAGE["components"]})


def medias(part: Any) -> Iterator[dict[str, Any]]:
    """Every media type with its schema, at any depth of the page."""
    if isinstance(part, dict):
        yield from part.get("content", {}).values()
        for inner in part.values():
            yield from medias(inner)


def answered() -> set[tuple[str, str]]:
    """Path and method of every route that the app answers; files that belong to the page for people aside."""
    found = set()
    app: Any = CustomerTwin.to_asgi()
    while not hasattr(app, "router"):
        app = app.app
    routes = list(app.router.routes)
    while routes:
        route = routes.pop()
        if isinstance(route, Route):
            found |= {(route.path, method.lower()) for method in route.methods or () if method != "HEAD"}
        elif not (isinstance(route, Mount) and route.path == "/static_content"):
            routes += getattr(route, "routes", None) or getattr(route.app, "routes", [])  # type: ignore[attr-defined]
    return found


def test_the_page_has_the_routes_that_are_answered_and_no_other() -> None:
    assert set(OPERATIONS) == answered()
    assert page_paths() == sorted(PAGE["paths"])


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_operation_says_all_that_there_is_to_say(path: str, method: str) -> None:
    operation = PAGE["paths"][path][method]
    assert operation["summary"]
    assert operation["operationId"]
    assert set(operation["tags"]) <= {tag["name"] for tag in PAGE["tags"]}
    assert list(medias(operation["responses"]["200"]))
    errors = {status: answer for status, answer in operation["responses"].items() if status != "200"}
    assert {"431", "500"} <= errors.keys()
    assert all(
        content["schema"]["$ref"].endswith("/ErrorResponse") for answer in errors.values() for content in medias(answer)
    )
    if method == "post":
        assert {"400", "401", "403", "415", "503", "504"} <= errors.keys()
        assert operation["security"]
        assert re.search(r"scope (ingest|predict|read|review|admin)", operation["description"])
        assert all("example" in media for media in medias(operation["requestBody"]))
        assert all("example" in media for media in medias(operation["responses"]))


def test_examples_fit_their_schemas() -> None:
    wrong = []
    for media in medias(PAGE["paths"]):
        if "example" in media:
            wrong += [
                (media["schema"], error.message) for error in validator(media["schema"]).iter_errors(media["example"])
            ]
    assert wrong == []


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_examples_are_what_the_models_take(topic: Topic) -> None:
    for path, (body, scopes, _) in topic.bodies.items():
        assert scopes
        examples = (body, topic.answers[path])
        for model in examples:
            model.model_validate(model.model_json_schema()["example"])


def test_every_schema_is_one_and_is_referred_to() -> None:
    for name, schema in PAGE["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}" in str(PAGE), name


def test_names_of_operations_differ() -> None:
    names = [item[method]["operationId"] for item in PAGE["paths"].values() for method in item]
    assert len(set(names)) == len(names)


def test_null_is_on_the_page_where_a_field_may_be_null() -> None:
    variant = PAGE["components"]["schemas"]["DecideResponse"]["properties"]["variant"]
    assert {"type": "null"} in variant["anyOf"]


@pytest.mark.parametrize(
    ("name", "body", "fits"),
    [
        ("ResolveRequest", {"customer_id": "c"}, True),
        ("ResolveRequest", {"kind": "email", "value": "v", "customer_id": None}, True),
        ("ResolveRequest", {"kind": "email", "value": "v", "customer_id": "c"}, False),
        ("ResolveRequest", {"kind": "email"}, False),
        ("ReviewRequest", {}, True),
        ("ReviewRequest", {"pair": "p"}, False),
        ("ReviewRequest", {"pair": "p", "verdict": "accept"}, True),
        ("TrackCall", {"event": "e", "userId": "u"}, True),
        ("TrackCall", {"event": "e"}, False),
        ("TrackCall", {"event": " ", "userId": "u"}, False),
    ],
)
def test_which_fields_go_together_stands_in_the_schema(name: str, body: dict[str, Any], fits: bool) -> None:
    assert validator(PAGE["components"]["schemas"][name]).is_valid(body) == fits


@pytest.mark.parametrize(("report", "answer"), [(AccessReport, AccessResponse), (ErasureReport, EraseResponse)])
def test_reports_of_rights_stand_on_the_page_with_all_their_fields(report: Any, answer: type[BaseModel]) -> None:
    assert {field.name for field in fields(report)} | {"request_id"} == answer.model_fields.keys()


def test_two_models_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class PredictResponse(BaseModel):
        """Another."""

        model_config = {"json_schema_extra": {"example": {"a": 1}}}
        a: int

    from serving.api import openapi

    other = Topic("Other", "", {"/v1/other": (PredictResponse, ("read",), None)}, {"/v1/other": ErrorResponse})
    monkeypatch.setattr(openapi, "TOPICS", (*TOPICS, other))
    with pytest.raises(ValueError, match="PredictResponse"):
        api_page()
