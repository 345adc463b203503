"""Predictions and failures in the words of the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from serving.api.errors import ApiError, ErrorDetail
from serving.api.responses import PredictionItem, ReasonCode
from serving.consent_gate import Asked, consent_denied
from serving.predictor import Prediction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def items_of(
    customer_ids: Sequence[str], asked: Sequence[Asked], predictions: Iterable[Prediction]
) -> list[PredictionItem]:
    """An item for each id; `predictions` are those of the customers who did not say no, in the same order."""
    coming = iter(predictions)
    return [
        _item(customer_id, place, who, next(coming) if who.denied is None else None)
        for place, (customer_id, who) in enumerate(zip(customer_ids, asked, strict=True))
    ]


def resolved(asked_for: str, customer_id: str) -> str | None:
    """The customer of the id that was asked for; None where it is the id itself."""
    return None if customer_id == asked_for else customer_id


def _item(customer_id: str, place: int, who: Asked, prediction: Prediction | None) -> PredictionItem:
    field = f"customer_ids.{place}"
    if who.denied is not None or prediction is None:
        return PredictionItem(customer_id=customer_id, error=consent_denied(who.denied or "", field).item())
    if prediction.probability is None:
        return PredictionItem(customer_id=customer_id, error=unknown_customer(field).item())
    return PredictionItem(
        customer_id=customer_id,
        resolved_customer_id=resolved(customer_id, who.customer_id),
        probability=prediction.probability,
        in_population=prediction.in_population,
        reasons=reasons_of(prediction),
    )


def reasons_of(prediction: Prediction) -> list[ReasonCode] | None:
    if prediction.reasons is None:
        return None
    return [
        ReasonCode(
            feature=reason.feature,
            meaning=reason.meaning,
            value=reason.value,
            contribution=reason.contribution,
            change_in_probability=reason.change_in_probability,
            sentence=reason.sentence,
        )
        for reason in prediction.reasons
    ]


def iso(instant: int) -> str:
    """ISO 8601 in UTC, with microseconds, of int64 microseconds."""
    return (EPOCH + timedelta(microseconds=instant)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def unknown_customer(field: str) -> ApiError:
    detail = ErrorDetail(
        field=field,
        expected="the id of a customer with events",
        got="an id without any",
        hint="check the id, letter by letter, and whether its events have been ingested",
    )
    return ApiError(404, "unknown_customer", "there is no such customer", [detail])


def check_count(count: int, most: int) -> None:
    """Raises ApiError (400) for more customers than one request may name."""
    if count > most:
        detail = ErrorDetail(
            field="customer_ids",
            expected=f"at most {most} ids",
            got=f"{count} ids",
            hint="split the request; the limit is `maximum_customers` of the profile",
        )
        raise ApiError(400, "too_many_customers", f"one request may name {most} customers", [detail])
