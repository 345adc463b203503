"""The BentoML service, and nothing else. `bentoml serve serving.service:CustomerTwin`."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

import bentoml
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import Response

from feature_repo.state.storage import StatesLost, StateUnavailable
from serving import bootstrap, connection, consent_gate, ingestion, served_log
from serving.alias_follower import AliasFollower
from serving.api import request_id
from serving.api.answers import check_count, iso, items_of, reasons_of, resolved, unknown_customer
from serving.api.authorisation import authorise
from serving.api.context import Context
from serving.api.decide import decide_response
from serving.api.decide_responses import DecideResponse
from serving.api.error_log import log_failure
from serving.api.errors import ApiError, internal_error, state_unavailable
from serving.api.metrics import workers_folder
from serving.api.pages import pages
from serving.api.request_door import RequestDoor
from serving.api.requests import DecideRequest, PredictManyRequest, PredictRequest
from serving.api.responses import (
    PredictManyModelsResponse,
    PredictManyResponse,
    PredictModelsResponse,
    PredictResponse,
)
from serving.api.several import check_one_way, customers_of, predictions_of
from serving.connections import CONNECTIONS, Limits
from serving.decisions import desk
from serving.decisions.catalogue_watch import watch_catalogue
from serving.decisions.desk import Asked
from serving.draining import DRAIN
from serving.exposure import end_where_exposed
from serving.lifetime import end_with_starter
from serving.observing import logs, measures, tracing
from serving.observing.exposition import Sharing
from serving.observing.watched import watch
from serving.predictor import Prediction
from serving.served_records import Moment
from serving.settings import service_settings
from serving.several import AskedModels
from serving.shaped import ShapedService
from serving.triggers.wiring import Triggers
from serving.twin import desk as twin_desk

Arguments = ParamSpec("Arguments")
PROFILE = service_settings().profile.service
# Beyond its time-out what is under way has so long to end as the service does, and again to be written.
END_SECONDS = 15.0


def answering(method: Callable[Arguments, Awaitable[BaseModel]]) -> Callable[Arguments, Awaitable[Any]]:
    """Make the answer here: BentoML takes longer for a model, and of an `ApiError` it would drop the details."""

    @wraps(method)
    async def answer(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Response:
        try:
            content = await method(*args, **kwargs)
            return Response(content.model_dump_json(), media_type="application/json")
        except ApiError as error:
            return _told(error)
        except StateUnavailable as error:
            return _told(state_unavailable(isinstance(error, StatesLost)))
        except Exception as error:  # noqa: BLE001 (BentoML would log its text)
            log_failure(error)
            return _told(internal_error())

    # BentoML asks for the signature at every request; without this it is worked out each time (70 µs).
    answer.__signature__ = signature(method)  # type: ignore[attr-defined]
    return answer


def _told(error: ApiError) -> Response:
    return Response(error.body(request_id.current.get()), error.status, error.headers, media_type="application/json")


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
        logs.configure(PROFILE.log_format)
        self.settings = service_settings()
        self.connection = connection.connect()
        self.connection.start()
        self.access = bootstrap.connect_access()
        self.gate = consent_gate.connect()
        self.ingestion = ingestion.connect()
        self.ingestion.recover()
        self.catalogues = watch_catalogue(self.connection.settings)
        self.decisions = desk.connect(self.connection, self.gate, self.catalogues)
        self.decisions.recover(self.ingestion.files)
        self.triggers = Triggers(
            self.connection, self.gate, self.ingestion, self.decisions, self.catalogues, self.settings.twin.triggers
        )
        self.ingestion.on_kept = self.triggers.wake
        self.triggers.start()
        self.served = served_log.connect(self.connection.shadow_of)
        self.served.start()
        watch(self.connection.wiring, self.ingestion.journal, (self.served, self.triggers.served))
        folder = workers_folder(PROFILE.workers)
        self.sharing = None if folder is None else Sharing(folder)
        self.aliases = AliasFollower(self.connection.settings)
        self.aliases.start()
        self.twins = twin_desk.connect(self.connection, self.gate, self.ingestion)

    @bentoml.on_shutdown
    def close(self) -> None:
        """Finish what was taken in."""
        self.aliases.close()
        self.connection.close()
        self.twins.close()
        self.triggers.close()
        self.ingestion.close()
        self.decisions.close()
        self.served.close()
        tracing.close()
        if self.sharing is not None:
            self.sharing.close()

    @bentoml.on_startup
    def settle(self) -> None:
        """Take what lives as long as the process out of the collector's sight: its pauses reach 380 ms."""
        end_where_exposed(PROFILE.require_keys)
        end_with_starter()
        # Before the server's handlers of signals are stood before: they say which server it is.
        CONNECTIONS.bound(
            Limits(PROFILE.maximum_connections, PROFILE.client_seconds), PROFILE.timeout_seconds + END_SECONDS
        )
        DRAIN.take_over(PROFILE.drain_seconds, PROFILE.timeout_seconds + 2 * END_SECONDS)
        measures.watch_pauses()
        if tracing.is_wanted(PROFILE.tracing):
            tracing.start("customer-twin")
        if self.sharing is not None:
            self.sharing.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        self.decisions.warm()

    async def __is_ready__(self) -> bool:
        wiring = self.connection.wiring()
        if wiring.problem is not None:
            raise wiring.problem
        wiring.check()
        return True

    @bentoml.api(route="/v1/predict", output_spec=PredictResponse)
    @answering
    async def predict(self, request: PredictRequest, /) -> PredictResponse | PredictModelsResponse:
        """The calibrated probability of one customer, and on request the reasons for it; by one model or several."""
        if request.models:
            return await self._predict_models(request)
        predictor = self.connection.wiring().predictor(request.model)
        customer_id = self.gate.permitted(request.customer_id, "customer_id")
        predictor.check(request.context)
        began = served_log.now()
        as_of, prediction = predictor.one(customer_id, request.reasons, request.context)
        if prediction.probability is None:
            raise unknown_customer("customer_id")
        await self.served.keep(predictor.champion, began, as_of, [prediction], request.context)
        measures.predicted(predictor.champion, [prediction])
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

    async def _predict_models(self, request: PredictRequest) -> PredictModelsResponse:
        check_one_way(request)
        asked = self.connection.wiring().several(request.models)
        customer_id = self.gate.permitted(request.customer_id, "customer_id")
        asked.several.check(request.context, asked.all_known)
        began = served_log.now()
        as_of, predictions = asked.several.one(customer_id, request.reasons, request.context)
        answered = predictions_of(asked, predictions, "customer_id")
        await self._keep(asked, began, as_of, [[prediction] for prediction in predictions], request.context)
        return PredictModelsResponse(
            request_id=request_id.current.get(),
            customer_id=request.customer_id,
            resolved_customer_id=resolved(request.customer_id, customer_id),
            as_of=iso(as_of),
            predictions=answered,
        )

    @bentoml.api(route="/v1/predict_many", output_spec=PredictManyResponse)
    @answering
    async def predict_many(self, request: PredictManyRequest, /) -> PredictManyResponse | PredictManyModelsResponse:
        """Predictions of many customers at one instant, in their order; an unknown one is an item with an error."""
        check_count(len(request.customer_ids), PROFILE.maximum_customers)
        if request.models:
            return await self._predict_many_models(request)
        predictor = self.connection.wiring().predictor(request.model)
        predictor.check(request.context)
        asked = await self.gate.ask_many(request.customer_ids)
        permitted = [item.customer_id for item in asked if item.denied is None]
        began = served_log.now()
        as_of, predictions = await predictor.many(permitted, request.reasons, request.context)
        await self.served.keep(predictor.champion, began, as_of, predictions, request.context)
        measures.predicted(predictor.champion, predictions)
        return PredictManyResponse(
            request_id=request_id.current.get(),
            model=request.model,
            model_version=predictor.champion.version,
            as_of=iso(as_of),
            results=items_of(request.customer_ids, asked, predictions),
        )

    async def _predict_many_models(self, request: PredictManyRequest) -> PredictManyModelsResponse:
        check_one_way(request)
        asked = self.connection.wiring().several(request.models)
        asked.several.check(request.context, asked.all_known)
        gate = await self.gate.ask_many(request.customer_ids)
        permitted = [item.customer_id for item in gate if item.denied is None]
        began = served_log.now()
        as_of, predictions = await asked.several.many(permitted, request.reasons, request.context)
        await self._keep(asked, began, as_of, predictions, request.context)
        return PredictManyModelsResponse(
            request_id=request_id.current.get(),
            as_of=iso(as_of),
            results=customers_of(request.customer_ids, gate, asked, predictions),
        )

    async def _keep(
        self,
        asked: AskedModels,
        began: Moment,
        as_of: int,
        predictions: Sequence[Sequence[Prediction]],
        context: Context,
    ) -> None:
        """In the log, each model's with what it reads of the context, all of them in one write."""
        of_models = list(zip(asked.several.predictors, predictions, strict=True))
        kept = [self.served.add(one.champion, began, as_of, said, one.own(context)) for one, said in of_models]
        for written in kept:
            if written is not None:
                await asyncio.wrap_future(written)
        for one, said in of_models:
            measures.predicted(one.champion, said)

    @bentoml.api(route="/v1/decide")
    @answering
    async def decide(self, request: DecideRequest, /) -> DecideResponse:
        """The next best action of one customer, which counts for caps and budget, and is in the log once answered."""
        asked = Asked(request.customer_id, request.decision_id, request.context, request.reasons)
        decided = await self.ingestion.with_files(lambda files: self.decisions.decide(asked, files))
        measures.decided(decided.recorded.decision, decided.is_known)
        return decide_response(request.customer_id, decided)


def authorise_prediction(request: HTTPConnection) -> None:
    """Raises ApiError (401, 403) where the profile requires keys and this request shows none that may predict."""
    if PROFILE.require_keys:
        authorise(request, "predict")


CustomerTwin.add_asgi_middleware(  # type: ignore[attr-defined]
    RequestDoor,
    bodies={"/v1/predict": PredictRequest, "/v1/predict_many": PredictManyRequest, "/v1/decide": DecideRequest},
    maximum_bytes=PROFILE.maximum_body_bytes,
    authorise=authorise_prediction,
)
