"""Corrects BentoML's OpenAPI page: our error shape, and the routes it does not know of."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import BaseModel

from serving.api.consent import BODIES as CONSENT
from serving.api.decide import ActionsResponse
from serving.api.decision_replay import ANSWERS as REPLAY_ANSWERS
from serving.api.decision_replay import BODIES as REPLAY
from serving.api.errors import ErrorResponse
from serving.api.explain import ANSWERS as EXPLAIN_ANSWERS
from serving.api.explain import BODIES as EXPLAIN
from serving.api.identity import BODIES as IDENTITY
from serving.api.ingest.cloudevents_http import BATCH, STRUCTURED
from serving.api.ingest.routes import CLOUD_EVENTS_PATH, PATHS
from serving.api.outbox import BODIES as OUTBOX
from serving.api.privacy import PAGES, PrivacyRequest
from serving.api.requests import RequestBody
from serving.api.responses import ModelsResponse, PredictManyModelsResponse, PredictModelsResponse
from serving.api.timeline import ANSWERS as TIMELINE_ANSWERS
from serving.api.timeline import BODIES as TIMELINE
from serving.api.twin import ANSWERS as TWIN_ANSWERS
from serving.api.twin import BODIES as TWIN

_REFERENCE = "#/components/schemas/{model}"
INFO = {
    "title": "customer-twin",
    "version": "1",
    "description": "Calibrated predictions for customers, with reasons. Every answer of 400 or more has the shape of "
    "`ErrorResponse`, and every answer has an `X-Request-Id`: the caller's own if it sent a sane one.",
}
# What a call that names several models is answered, beside what BentoML's page knows; and such a call.
OF_SEVERAL: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "/v1/predict": (PredictModelsResponse, {"customer_id": "17850", "models": ["churn", "conversion"]}),
    "/v1/predict_many": (PredictManyModelsResponse, {"customer_ids": ["17850"], "models": ["churn", "conversion"]}),
}
ERRORS = {
    "400": "Mistakes in the request, all of them",
    "401": "No key that is known here; only where the profile requires keys",
    "403": "A key without the scope `predict`, or a customer who denied what a prediction needs",
    "404": "No such customer, model or path",
    "409": "The id is that of another decision; only of `/v1/decide`",
    "413": "The body is too large",
    "415": "The body is not plain JSON",
    "500": "A fault of the server",
    "503": "There is no model or no state that may be served",
    "504": "The answer took too long",
}


KEYS = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
WITH_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
INGESTION_ERRORS = {
    "400": "Mistakes in the call, all of them, or a limit that is named",
    "401": "No write key that is known here",
    "403": "A key without the scope `ingest`",
    "415": "The body is in an encoding or a format that is not read here",
    "503": "Events cannot be kept now; `Retry-After` says when to come again",
}


ACT_ERRORS = {
    "400": "Mistakes in the request, all of them",
    "401": "No key that is known here",
    "404": "Nobody has this identifier",
    "503": "It cannot be read or kept now; `Retry-After` says when to come again",
}

READS = {**TWIN, **TIMELINE, **EXPLAIN, **REPLAY}
ANSWERS: dict[str, type[BaseModel]] = {**TWIN_ANSWERS, **TIMELINE_ANSWERS, **EXPLAIN_ANSWERS, **REPLAY_ANSWERS}


def with_our_answers(page: dict[str, Any]) -> dict[str, Any]:
    """A copy of BentoML's OpenAPI page with the errors and the mounted routes as they are."""
    schemas = dict(page["components"]["schemas"])
    of_several = [model for model, _ in OF_SEVERAL.values()]
    own: list[type[BaseModel]] = [ErrorResponse, ModelsResponse, ActionsResponse, PrivacyRequest]
    for model in (*own, *of_several):
        schema = model.model_json_schema(ref_template=_REFERENCE)
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    paths = {path: _with_errors(item) for path, item in page["paths"].items()}
    paths |= {path: _of_several(paths[path], *several) for path, several in OF_SEVERAL.items()}
    paths["/v1/models"] = {
        "get": {
            "tags": ["Service APIs"],
            "operationId": "CustomerTwin__models",
            "description": "The configured models, and the champion that is served for each.",
            "responses": {"200": _answer("Successful Response", "ModelsResponse")},
        }
    }
    paths["/v1/actions"] = {
        "get": {
            "tags": ["Service APIs"],
            "operationId": "CustomerTwin__actions",
            "description": "The catalogue of actions that decides now, and what is wrong with a newer one.",
            "responses": {"200": _answer("Successful Response", "ActionsResponse")},
        }
    }
    paths |= {path: {"post": _call(path)} for path in PATHS}
    paths[CLOUD_EVENTS_PATH] = {"post": _cloud_events()}
    for path, (body, scopes, _) in (CONSENT | IDENTITY | OUTBOX).items():
        schema = body.model_json_schema(ref_template=_REFERENCE)
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        paths[path] = {"post": _act(path, body, scopes)}
    for path, (body, scopes, _) in READS.items():
        for part in (body, ANSWERS[path]):
            schema = part.model_json_schema(ref_template=_REFERENCE)
            schemas |= schema.pop("$defs", {}) | {part.__name__: schema}
        paths[path] = {"post": _read(path, body, scopes)}
    paths |= {path: {"post": _privacy(path, description)} for path, description in PAGES.items()}
    components = {**page["components"], "schemas": schemas, "securitySchemes": KEYS}
    return {**page, "info": INFO, "paths": paths, "components": components}


def _call(path: str) -> dict[str, Any]:
    """A path of the Segment protocol, whose bodies its own documentation describes."""
    kind = path.rsplit("/", 1)[1]
    description = (
        f"Segment's `{kind}` call, JSON or gzip. The write key is the user name of Basic authentication, a Bearer "
        "token, or `writeKey` in the body."
    )
    return _taking(kind, description, {"application/json": {"schema": {"type": "object"}}})


def _cloud_events() -> dict[str, Any]:
    description = (
        "CloudEvents 1.0 in binary, structured or batched mode, JSON or gzip. The key is the user name of Basic "
        "authentication, or a Bearer token."
    )
    one: dict[str, Any] = {"schema": {"type": "object"}}
    many: dict[str, Any] = {"schema": {"type": "array", "items": {"type": "object"}}}
    return _taking("events", description, {STRUCTURED: one, BATCH: many, "application/json": one})


def _act(path: str, body: type[RequestBody], scopes: tuple[str, ...]) -> dict[str, Any]:
    """A route of an act on identity or consent."""
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=body.__name__)}}}
    errors = {**ACT_ERRORS, "403": f"A key without the scope {' or '.join(scopes)}"}
    return {
        "tags": ["Service APIs"],
        "operationId": "CustomerTwin__" + path.removeprefix("/v1/").replace("/", "_"),
        "description": f"{inspect.getdoc(body)} Needs a key with the scope {' or '.join(scopes)}.",
        "security": WITH_KEY,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "What holds now"}}
        | {status: _answer(text, "ErrorResponse") for status, text in errors.items()},
    }


def _read(path: str, body: type[RequestBody], scopes: tuple[str, ...]) -> dict[str, Any]:
    """A route that reads of one customer."""
    page = _act(path, body, scopes)
    forbidden = f"{page['responses']['403']['description']}, or a customer who denied profiling"
    told = {"403": forbidden, "410": "What it was made with is not here any more"}
    errors = {status: _answer(text, "ErrorResponse") for status, text in told.items()}
    answer = {"200": _answer("Successful Response", ANSWERS[path].__name__)}
    return {**page, "responses": page["responses"] | errors | answer}


def _privacy(path: str, description: str) -> dict[str, Any]:
    told = {status: ERRORS[status] for status in ("400", "401", "404", "503")}
    told |= {"403": "A key without the scope `admin`", "503": "Not now; `Retry-After` says when to come again"}
    errors = {status: _answer(text, "ErrorResponse") for status, text in told.items()}
    schema = {"$ref": _REFERENCE.format(model="PrivacyRequest")}
    return {
        "tags": ["Service APIs"],
        "operationId": f"CustomerTwin__privacy_{path.rsplit('/', 1)[1]}",
        "description": description + " Needs a key with the scope `admin`.",
        "security": WITH_KEY,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "Done; the report"}, **errors},
    }


def _taking(name: str, description: str, content: dict[str, Any]) -> dict[str, Any]:
    errors = {status: _answer(text, "ErrorResponse") for status, text in INGESTION_ERRORS.items()}
    stored = {"description": "Durable, and in the customer's state; lists what was rejected"}
    return {
        "tags": ["Service APIs"],
        "operationId": f"CustomerTwin__{name}",
        "description": description,
        "security": WITH_KEY,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": stored, **errors},
    }


def _with_errors(item: dict[str, Any]) -> dict[str, Any]:
    post = item.get("post")
    if post is None:
        return item
    errors = {status: _answer(text, "ErrorResponse") for status, text in ERRORS.items()}
    good = {status: answer for status, answer in post["responses"].items() if int(status) < 400}
    # A profile may ask for no key here.
    return {**item, "post": {**post, "security": [{}, *WITH_KEY], "responses": good | errors}}


def _of_several(item: dict[str, Any], model: type[BaseModel], call: dict[str, Any]) -> dict[str, Any]:
    """A path that answers in another shape where several models are asked."""
    post = item["post"]
    # BentoML's statuses are numbers.
    asked, answered = _schema(post["requestBody"]), _schema(post["responses"][200])
    examples = {"one model": {"value": asked["example"]}, "several models": {"value": call}}
    body = {**post["requestBody"], "content": {"application/json": {"schema": asked, "examples": examples}}}
    either = {"oneOf": [answered, {"$ref": _REFERENCE.format(model=model.__name__)}]}
    good = {"description": "Successful Response", "content": {"application/json": {"schema": either}}}
    return {"post": {**post, "requestBody": body, "responses": {**post["responses"], 200: good}}}


def _schema(part: dict[str, Any]) -> Any:
    return part["content"]["application/json"]["schema"]


def _answer(description: str, schema: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(model=schema)}}}
    return {"description": description, "content": content}
