"""`POST /v1/explain`: every contribution to a prediction of now, or to one that was served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.routing import Route

from pipelines.access import AccessKey
from pipelines.events.specs_in_use import find_spec
from serving import served_log
from serving.api import request_id
from serving.api.answers import iso, resolved, unknown_customer
from serving.api.errors import ApiError, ErrorDetail
from serving.api.explain_responses import ExplainResponse, GroupItem
from serving.api.reads import HasTwins, check_sees, handler
from serving.api.requests import DEFAULT_MODEL, Context, CustomerId, ModelName, RequestBody
from serving.api.responses import ReasonCode
from serving.champion import Champion
from serving.decisions.desk import ids_of
from serving.predictor import Prediction, Read
from serving.twin.explained import Explained, champion_of, explain, served_under

ServedId = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
MOST = 1_000


class ExplainRequest(RequestBody):
    """A customer, for the prediction of now; or the `request_id` of a prediction that was served."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "17850", "model": "churn", "top": 10}})
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": "any user id of the customer; beside request_id only where that was of several",
        "model": "the name of a model",
        "top": f"a whole number from 1 to {MOST:,}",
        "context": "at most 50 names, each with a whole number, a text of at most 256 characters, or null",
        "request_id": "the id of a request whose prediction was served",
    }

    customer_id: CustomerId | None = None
    model: ModelName | None = Field(default=None, description=f"left out: {DEFAULT_MODEL}, or the one that was served")
    top: int = Field(default=MOST, ge=1, le=MOST, description="the strongest so many; `rest` is what the others add")
    context: Context = Field(default_factory=dict, description="what this call brings along, for models that read it")
    request_id: ServedId | None = None


async def _explain(service: HasTwins, body: Any, key: AccessKey) -> BaseModel:
    request: ExplainRequest = body
    check_sees(service.twins.settings, key, "predictions")
    if request.request_id is None:
        return await _of_now(service, request)
    if request.context:
        detail = ErrorDetail(field="context", expected="nothing beside request_id", got="a context")
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail])
    return await _of_served(service, request, request.request_id)


async def _of_now(service: HasTwins, request: ExplainRequest) -> ExplainResponse:
    predictor = service.connection.wiring().predictor(request.model or DEFAULT_MODEL)
    predictor.check(request.context)
    champion, settings = predictor.champion, service.twins.settings
    began = served_log.now()

    def read() -> tuple[int, Prediction, Explained]:
        customer = service.twins.customer(request.customer_id, None)
        as_of, prediction = predictor.one(customer, False, request.context)
        if prediction.read is None:
            raise unknown_customer("customer_id")
        return as_of, prediction, explain(champion, prediction.read.values, find_spec(settings, champion.spec_hash))

    as_of, prediction, explained = await service.twins.threads.run(read)
    await service.served.keep(champion, began, as_of, [prediction], request.context)
    asked_for = request.customer_id or prediction.customer_id
    return _answer(request, champion, (asked_for, prediction.customer_id), as_of, prediction.read, explained)


async def _of_served(service: HasTwins, request: ExplainRequest, served_id: str) -> ExplainResponse:
    settings = service.twins.settings

    def read() -> ExplainResponse:
        customer = request.customer_id
        # It stands in the log under the id that the customer had then.
        twins = service.twins
        theirs = None if customer is None else ids_of(twins.identity, twins.customer(customer, None))
        served = served_under(settings, served_id, theirs, request.model)
        vector = served.vector
        owner = twins.customer(vector.customer_id, None)
        champion = champion_of(settings, served)
        explained = explain(champion, vector.values, find_spec(settings, champion.spec_hash))
        if explained.probability != vector.probability:
            detail = ErrorDetail(field="request_id", expected="the probability that was served", got="another")
            message = f"version {champion.version} of {champion.model} says something else than was served"
            raise ApiError(410, "model_gone", message, [detail])
        was = Read(vector.values, vector.position, vector.revision)
        return _answer(request, champion, (vector.customer_id, owner), vector.as_of, was, explained)

    return await service.twins.threads.run(read)


def _answer(
    request: ExplainRequest,
    champion: Champion,
    customers: tuple[str, str],
    as_of: int,
    read: Read | None,
    explained: Explained,
) -> ExplainResponse:
    """`customers` are the id that was asked for, and whose it is."""
    shown, others = explained.contributions[: request.top], explained.contributions[request.top :]
    return ExplainResponse(
        request_id=request_id.current.get(),
        explained_request_id=request.request_id,
        customer_id=customers[0],
        resolved_customer_id=resolved(*customers),
        model=champion.model,
        model_version=champion.version,
        as_of=iso(as_of),
        position=-1 if read is None else read.position,
        revision=0 if read is None else read.revision,
        probability=explained.probability,
        in_population=explained.in_population,
        log_odds=explained.log_odds,
        base_value=explained.base_value,
        contributions=[
            ReasonCode(
                feature=item.feature,
                meaning=item.meaning,
                value=item.value,
                contribution=item.contribution,
                change_in_probability=item.change_in_probability,
                sentence=item.sentence,
            )
            for item in shown
        ],
        rest=sum(item.contribution for item in others),
        groups=None
        if explained.groups is None
        else [
            GroupItem(view=group.view, contribution=group.contribution, features=group.features)
            for group in explained.groups
        ],
    )


# path: body, scopes (one of them is enough), what it reads.
BODIES = {"/v1/explain": (ExplainRequest, ("read",), _explain)}
ANSWERS = {"/v1/explain": ExplainResponse}
ROUTES = [Route(path, handler(*parts), methods=["POST"]) for path, parts in BODIES.items()]
