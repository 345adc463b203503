"""Answers of calls that name several models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from serving.api.answers import reasons_of, resolved, unknown_customer
from serving.api.errors import ApiError, ErrorDetail
from serving.api.requests import PredictManyRequest, PredictRequest
from serving.api.responses import CustomerPredictions, ModelPrediction
from serving.consent_gate import Asked, consent_denied
from serving.predictor import Prediction
from serving.several import AskedModels


def check_one_way(request: PredictRequest | PredictManyRequest) -> None:
    """Raises ApiError (400) for a request that names `model` and `models`."""
    if "model" in request.model_fields_set:
        detail = ErrorDetail(field="model", expected="either `model` or `models`", got="both", hint="leave one out")
        raise ApiError(400, "invalid_request", "1 mistake in the request", [detail])


def predictions_of(asked: AskedModels, found: Sequence[Prediction], field: str) -> list[ModelPrediction]:
    """An item for each model of the call; `found` are of those that can answer. `field` names the customer.

    Raises:
        ApiError: 404, none of them knows the customer.
    """
    if all(prediction.probability is None for prediction in found):
        raise unknown_customer(field)
    versions = (predictor.champion.version for predictor in asked.several.predictors)
    coming = iter(zip(found, versions, strict=True))
    return [
        ModelPrediction(model=model, error=error.item()) if error is not None else _item(model, *next(coming), field)
        for model, error in zip(asked.models, asked.errors, strict=True)
    ]


def _item(model: str, prediction: Prediction, version: str, field: str) -> ModelPrediction:
    if prediction.probability is None:
        return ModelPrediction(model=model, error=unknown_customer(field).item())
    return ModelPrediction(
        model=model,
        model_version=version,
        probability=prediction.probability,
        in_population=prediction.in_population,
        reasons=reasons_of(prediction),
    )


def customers_of(
    customer_ids: Sequence[str], gate: Sequence[Asked], asked: AskedModels, found: Sequence[Sequence[Prediction]]
) -> list[CustomerPredictions]:
    """An item for each id; `found` are, model by model, of the customers who did not say no, in the same order."""
    coming = iter(zip(*found, strict=True))
    return [
        _customer(customer_id, f"customer_ids.{place}", who, asked, coming)
        for place, (customer_id, who) in enumerate(zip(customer_ids, gate, strict=True))
    ]


def _customer(
    customer_id: str, field: str, who: Asked, asked: AskedModels, coming: Iterator[tuple[Prediction, ...]]
) -> CustomerPredictions:
    if who.denied is not None:
        return CustomerPredictions(customer_id=customer_id, error=consent_denied(who.denied, field).item())
    try:
        predictions = predictions_of(asked, next(coming), field)
    except ApiError as error:
        return CustomerPredictions(customer_id=customer_id, error=error.item())
    return CustomerPredictions(
        customer_id=customer_id,
        resolved_customer_id=resolved(customer_id, who.customer_id),
        predictions=predictions,
    )
