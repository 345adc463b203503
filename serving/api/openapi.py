"""The API's page, OpenAPI 3.1, made of the tables of the modules that have the routes.

Such a module says `BODIES`, path: (model of the body, scopes of which one is enough, ...), and `ANSWERS`, path: model.
A new one is a line of `TOPICS`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from serving.api import consent, decision_replay, explain, identity, outbox, privacy, timeline, twin
from serving.api.decide_responses import ActionsResponse, DecideResponse
from serving.api.errors import ErrorResponse
from serving.api.ingest import routes as ingest
from serving.api.ingest.cloudevents_http import BATCH, STRUCTURED
from serving.api.requests import DecideRequest, PredictManyRequest, PredictRequest
from serving.api.responses import ModelsResponse, PredictAnswer, PredictManyAnswer

JSON = "application/json"
_REFERENCE = "#/components/schemas/{model}"
INFO = {
    "title": "customer-twin",
    "version": "1",
    "description": "Calibrated predictions for customers, with reasons. Every answer of 400 or more has the shape of "
    "`ErrorResponse`, and every answer has an `X-Request-Id`: the caller's own if it sent a sane one.",
}
KEYS = {"bearer": {"type": "http", "scheme": "bearer"}, "basic": {"type": "http", "scheme": "basic"}}
WITH_KEY: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
# Where the profile says whether one is needed.
OPTIONAL_KEY = [{}, *WITH_KEY]

ERRORS = {
    "400": "Mistakes in the request, all of them, or a limit that is named",
    "401": "No key that is known here",
    "403": "A key without the scope, or a customer who denied what this needs",
    "404": "Nobody has this id, or there is no such model",
    "415": "The body is in a format or an encoding that is not read here",
    "429": "Too many calls at a time; `Retry-After` says when to come again",
    "431": "The headers are too large",
    "500": "A fault of the server",
    "503": "It cannot be answered or kept now; `Retry-After` says when to come again",
    "504": "The answer took too long",
}
TOO_LARGE = {"413": "The body is too large"}
DECIDED_OTHERWISE = {"409": "The id is that of another decision"}
GONE = {"410": "What it was made with is not here any more"}

Bodies = Mapping[str, tuple[type[BaseModel], tuple[str, ...], Any]]
Answers = Mapping[str, type[BaseModel]]


@dataclass(frozen=True)
class Topic:
    """Routes that belong together. `keys_of_profile`: the profile says whether they need a key at all.

    `errors` are by path, beside those of all routes.
    """

    name: str
    description: str
    bodies: Bodies
    answers: Answers
    keys_of_profile: bool = False
    errors: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _tables(*modules: Any) -> tuple[Bodies, Answers]:
    """`BODIES` and `ANSWERS` of modules that belong together."""
    bodies: dict[str, Any] = {}
    answers: dict[str, type[BaseModel]] = {}
    for module in modules:
        bodies |= module.BODIES
        answers |= module.ANSWERS
    return bodies, answers


_PREDICT: Bodies = {
    "/v1/predict": (PredictRequest, ("predict",), None),
    "/v1/predict_many": (PredictManyRequest, ("predict",), None),
}
_DECIDE: Bodies = {"/v1/decide": (DecideRequest, ("predict",), None)}
TOPICS = (
    Topic(
        "Predictions",
        "What a customer will do, and why.",
        _PREDICT,
        {"/v1/predict": PredictAnswer, "/v1/predict_many": PredictManyAnswer},
        keys_of_profile=True,
        errors=dict.fromkeys(_PREDICT, TOO_LARGE),
    ),
    Topic(
        "Decisions",
        "What to do for a customer.",
        _DECIDE,
        {"/v1/decide": DecideResponse},
        keys_of_profile=True,
        errors={"/v1/decide": TOO_LARGE | DECIDED_OTHERWISE},
    ),
    Topic(
        "Twin",
        "Who a customer is and where they stand, now or at any past instant.",
        *_tables(twin, timeline),
    ),
    Topic(
        "Explanations",
        "Why it was foreseen, and why it was decided.",
        *_tables(explain, decision_replay),
        errors=dict.fromkeys((*explain.BODIES, *decision_replay.BODIES), GONE),
    ),
    Topic("Events", "What happened: Segment's protocol, and CloudEvents 1.0.", *_tables(ingest)),
    Topic("Consent", "What a customer allows.", *_tables(consent)),
    Topic("Outbox", "What triggers set off, and what became of it.", *_tables(outbox)),
    Topic("Identity", "Which identifiers are one customer.", *_tables(identity)),
    Topic("Privacy", "A data subject's rights.", *_tables(privacy)),
)


@dataclass(frozen=True)
class Reading:
    """What is read with GET. `answer` is a model, or the media type of what is no model's JSON.

    `security` is None of what anybody may read; `errors` are those beside a fault of the server and too many headers.
    """

    name: str
    description: str
    answer: type[BaseModel] | str
    errors: tuple[str, ...] = ("429",)
    security: list[dict[str, list[str]]] | None = None


READINGS = {
    "/v1/models": Reading("models", "The configured models, and the champion that is served for each.", ModelsResponse),
    "/v1/actions": Reading(
        "actions", "The catalogue of actions that decides now, and what is wrong with a newer one.", ActionsResponse
    ),
    "/readyz": Reading("readyz", "Whether a model and the states are there.", "text/plain", ("503",)),
    "/metrics": Reading(
        "metrics", "What the service counts, as Prometheus reads it.", "text/plain", ("401", "403", "429"), OPTIONAL_KEY
    ),
    "/livez": Reading("livez", "Whether the process is alive.", "text/plain", ()),
    "/healthz": Reading("healthz", "The same as `/livez`.", "text/plain", ()),
    "/": Reading("index", "This page for people.", "text/html"),
    "/docs.json": Reading("docs", "This page.", JSON),
    "/schema.json": Reading("schema", "BentoML's own description of the service, for its own clients.", JSON),
}


def api_page() -> dict[str, Any]:
    """The page. Raises ValueError where two models have the same name."""
    schemas = _Schemas()
    paths: dict[str, Any] = {}
    for topic in TOPICS:
        paths |= {path: {"post": _call(topic, path, schemas)} for path in topic.bodies}
    paths |= {path: {"get": _reading(path, reading, schemas)} for path, reading in READINGS.items()}
    tags = [{"name": topic.name, "description": topic.description} for topic in TOPICS]
    tags.append({"name": "Service", "description": "What is served, and whether it is."})
    components = {"schemas": schemas.found, "securitySchemes": KEYS}
    return {"openapi": "3.1.0", "info": INFO, "tags": tags, "paths": paths, "components": components}


def page_paths() -> list[str]:
    """The paths that the page has, without making it."""
    return sorted([*READINGS, *(path for topic in TOPICS for path in topic.bodies)])


def operation_name(path: str) -> str:
    """`/v1/consent/read` is `consent_read`; what is under `/v1/identity` goes without that word."""
    return path.removeprefix("/v1/").removeprefix("identity/").replace("/", "_")


class _Untitled(GenerateJsonSchema):
    """A field's title would only be its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


class _Schemas:
    """The schemas that the page refers to, each once."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def request(self, model: type[BaseModel]) -> dict[str, Any]:
        """A reference, and the example."""
        return self._media(model, "validation")

    def answer(self, model: type[BaseModel]) -> dict[str, Any]:
        return self._media(model, "serialization")

    def _media(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        schema = _schema(model, mode)
        for name, part in (schema.get("$defs", {}) | {model.__name__: schema}).items():
            own = {key: value for key, value in part.items() if key != "$defs"}
            if self.found.setdefault(name, own) != own:
                raise ValueError(f"two models of the API's page have the name {name}")
        return {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}, "example": schema["example"]}


@cache
def _schema(model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
    return model.model_json_schema(ref_template=_REFERENCE, schema_generator=_Untitled, mode=mode)


def _call(topic: Topic, path: str, schemas: _Schemas) -> dict[str, Any]:
    body, scopes, _ = topic.bodies[path]
    answer = topic.answers[path]
    errors = {**ERRORS, **topic.errors.get(path, {})}
    also = ", where the profile requires keys" if topic.keys_of_profile else ""
    scope = f"Needs a key with the scope {' or '.join(scopes)}{also}."
    description = [inspect.getdoc(body) or "", f"Answers: {inspect.getdoc(answer)}", scope]
    parameters = {"parameters": _CE_HEADERS} if path == ingest.CLOUD_EVENTS_PATH else {}
    return {
        "tags": [topic.name],
        "operationId": operation_name(path),
        "summary": description[0].partition("\n")[0],
        "description": "\n\n".join(description),
        "security": OPTIONAL_KEY if topic.keys_of_profile else WITH_KEY,
        **parameters,
        "requestBody": {"required": True, "content": _content(path, body, schemas)},
        "responses": {"200": _answer("Done", answer, schemas)} | _errors(errors, schemas),
    }


def _reading(path: str, reading: Reading, schemas: _Schemas) -> dict[str, Any]:
    answer = reading.answer
    if isinstance(answer, str):
        schema = {"type": "object"} if answer == JSON else {"type": "string"}
        good: dict[str, Any] = {"description": "Here it is", "content": {answer: {"schema": schema}}}
    else:
        good = _answer("Here it is", answer, schemas)
    errors = {status: ERRORS[status] for status in ("431", "500", *reading.errors)}
    return {
        "tags": ["Service"],
        "operationId": reading.name,
        "summary": reading.description,
        **({} if reading.security is None else {"security": reading.security}),
        "responses": {"200": good} | _errors(errors, schemas),
    }


def _content(path: str, body: type[BaseModel], schemas: _Schemas) -> dict[str, Any]:
    one = schemas.request(body)
    if path != ingest.CLOUD_EVENTS_PATH:
        return {JSON: one}
    many = {"type": "array", "items": {}, "description": "CloudEvents; one that is none is told as rejected"}
    data = {"type": "object", "description": "the data of an event whose attributes are headers"}
    batch = {"schema": many, "example": [one["example"]]}
    return {STRUCTURED: one, BATCH: batch, JSON: {"schema": data, "example": one["example"]["data"]}}


_CE_HEADERS = [
    {
        "name": f"ce-{name}",
        "in": "header",
        "required": False,
        "description": "of an event in binary mode, percent-encoded",
        "schema": {"type": "string"},
    }
    for name in ("specversion", "id", "source", "type", "subject", "time")
]


def _answer(description: str, model: type[BaseModel], schemas: _Schemas) -> dict[str, Any]:
    return {"description": description, "content": {JSON: schemas.answer(model)}}


def _errors(errors: Mapping[str, str], schemas: _Schemas) -> dict[str, Any]:
    return {status: _answer(text, ErrorResponse, schemas) for status, text in sorted(errors.items())}
