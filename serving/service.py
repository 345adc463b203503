"""The BentoML service, and nothing else. `bentoml serve serving.service:CustomerTwin`."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

import bentoml
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response

from pipelines.settings import load_settings
from serving import bootstrap, consent_gate, ingestion
from serving.api import request_id
from serving.api.answers import check_count, iso, items_of, reasons_of, resolved, unknown_customer
from serving.api.authorisation import authorise
from serving.api.error_log import log_failure
from serving.api.errors import ApiError, internal_error
from serving.api.pages import pages
from serving.api.request_door import RequestDoor
from serving.api.requests import PredictManyRequest, PredictRequest
from serving.api.responses import PredictManyResponse, PredictResponse
from serving.exposure import end_where_exposed
from serving.lifetime import end_with_starter
from serving.shaped import ShapedService

Arguments = ParamSpec("Arguments")
PROFILE = load_settings().profile.service


def answering(method: Callable[Arguments, Awaitable[BaseModel]]) -> Callable[Arguments, Awaitable[Any]]:
    """Make the answer here: BentoML takes longer for a model, and of an `ApiError` it would drop the details."""

    @wraps(method)
    async def answer(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        try:
            content = await method(*args, **kwargs)
            return Response(content.model_dump_json(), media_type="application/json")
        except ApiError as error:
            told = error
        except Exception as error:  # noqa: BLE001 (BentoML would log its text)
            log_failure(error)
            told = internal_error()
        return Response(told.body(request_id.current.get()), told.status, told.headers, media_type="application/json")

    # BentoML asks for the signature at every request; without this it is worked out each time (70 µs).
    answer.__signature__ = signature(method)  # type: ignore[attr-defined]
    return answer


@bentoml.service(
    name="customer_twin",
    service_class=ShapedService,
    workers=PROFILE.workers,
    http={"host": PROFILE.host, "port": PROFILE.port},
    traffic={"timeout": PROFILE.timeout_seconds},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(pages, path="/")
class CustomerTwin:
    """Calibrated predictions for customers, with reasons."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.connection = bootstrap.Connection(bootstrap.connect)
        self.access = bootstrap.connect_access()
        self.gate = consent_gate.connect()
        self.ingestion = ingestion.connect()
        self.ingestion.recover()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Finish what was taken in."""
        self.ingestion.close()

    @bentoml.on_startup
    def settle(self) -> None:
        """Take what lives as long as the process out of the collector's sight: its pauses reach 380 ms."""
        end_where_exposed(PROFILE.require_keys)
        end_with_starter()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async def __is_ready__(self) -> bool:
        problem = self.connection.wiring().problem
        if problem is not None:
            raise problem
        return True

    @bentoml.api(route="/v1/predict")
    @answering
    async def predict(self, request: PredictRequest, /) -> PredictResponse:
        """The calibrated probability of one customer, and on request the reasons for it."""
        predictor = self.connection.wiring().predictor(request.model)
        customer_id = self.gate.permitted(request.customer_id, "customer_id")
        predictor.check(request.context)
        as_of, prediction = predictor.one(customer_id, request.reasons, request.context)
        if prediction.probability is None:
            raise unknown_customer("customer_id")
        return PredictResponse(
            request_id=request_id.current.get(),
            customer_id=request.customer_id,
            resolved_customer_id=resolved(request.customer_id, customer_id),
            model=request.model,
            model_version=predictor.champion.version,
            as_of=iso(as_of),
            probability=prediction.probability,
            in_population=prediction.in_population,
            reasons=reasons_of(prediction),
        )

    @bentoml.api(route="/v1/predict_many")
    @answering
    async def predict_many(self, request: PredictManyRequest, /) -> PredictManyResponse:
        """Predictions of many customers at one instant, in their order; an unknown one is an item with an error."""
        check_count(len(request.customer_ids), PROFILE.maximum_customers)
        predictor = self.connection.wiring().predictor(request.model)
        predictor.check(request.context)
        asked = await self.gate.ask_many(request.customer_ids)
        permitted = [item.customer_id for item in asked if item.denied is None]
        as_of, predictions = await predictor.many(permitted, request.reasons, request.context)
        return PredictManyResponse(
            request_id=request_id.current.get(),
            model=request.model,
            model_version=predictor.champion.version,
            as_of=iso(as_of),
            results=items_of(request.customer_ids, asked, predictions),
        )


def authorise_prediction(request: HTTPConnection) -> None:
    """Raises ApiError (401, 403) where the profile requires keys and this request shows none that may predict."""
    if PROFILE.require_keys:
        authorise(request, "predict")


CustomerTwin.add_asgi_middleware(  # type: ignore[attr-defined]
    RequestDoor,
    bodies={"/v1/predict": PredictRequest, "/v1/predict_many": PredictManyRequest},
    maximum_bytes=PROFILE.maximum_body_bytes,
    authorise=authorise_prediction,
)
