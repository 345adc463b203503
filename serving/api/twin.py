"""`POST /v1/twin`: one customer, now or at any past instant, whole or as a team sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.routing import Route

from pipelines.access import AccessKey
from pipelines.twin.instants import AN_INSTANT
from pipelines.twin.rules import Section, View
from pipelines.twin.told import told, told_identities, told_words
from serving import served_log
from serving.api import request_id
from serving.api.answers import iso, resolved
from serving.api.errors import ApiError, ErrorDetail
from serving.api.identifier import AN_IDENTIFIER, IdentifierBody, either
from serving.api.instants import instant_of
from serving.api.reads import HasTwins, form_of, handler, sees_persons, view_for
from serving.api.requests import CustomerId, KindName, RequestBody
from serving.api.twin_answer import PredictionOfTwin, TwinResponse
from serving.twin.desk import Answer

SECTIONS: tuple[Section, ...] = get_args(Section)
NOT_OF_THE_PAST = "models are asked for now alone: those that serve today did not serve then"
InstantText = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class TwinRequest(RequestBody):
    """Whose twin, at which instant, and what of it: all that a view has, or some `sections` of that."""

    model_config = ConfigDict(
        json_schema_extra={
            **either(("customer_id",), ("identifier",)),
            "example": {"customer_id": "17850", "view": "marketing"},
        }
    )
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": "the id of a customer, or identifier in its place",
        **AN_IDENTIFIER,
        "as_of": AN_INSTANT,
        "view": "the name of a view of configs/views.yaml",
        "sections": f"a list of sections: {', '.join(SECTIONS)}",
        "sections.item": f"one of: {', '.join(SECTIONS)}",
    }

    customer_id: CustomerId | None = None
    identifier: IdentifierBody | None = None
    as_of: InstantText | None = Field(default=None, description="left out: now", examples=["2026-03-04T12:00:00+07:00"])
    view: KindName | None = Field(default=None, description="left out: all, or the first view that the key may see")
    sections: list[Section] | None = Field(default=None, min_length=1, max_length=20)


async def _twin(service: HasTwins, body: Any, key: AccessKey) -> BaseModel:
    request: TwinRequest = body
    twins = service.twins
    twins.check_declared()
    view = view_for(twins, key, request.view)
    sections = _sections(view, request.sections)
    as_of = None if request.as_of is None else instant_of(request.as_of, "as_of")
    mask = twins.mask(sees_persons(key, view))

    def read() -> tuple[str, Answer, dict[str, Any]]:
        customer = twins.customer(request.customer_id, form_of(request.identifier))
        answer = twins.now(customer) if as_of is None else twins.at(customer, as_of)
        parts = told(answer.twin, sections, mask)
        if "identities" in sections:
            parts["identities"] = told_identities(answer.members, mask)
        if "consents" in sections:
            parts["consents"] = told_words(answer.words, twins.settings.consent.purposes)
        return customer, answer, parts

    customer, answer, parts = await twins.threads.run(read)
    if "predictions" in sections:
        parts["predictions"] = await _predictions(service, customer) if as_of is None else None
        parts["predictions_note"] = None if as_of is None else NOT_OF_THE_PAST
    asked_for = request.customer_id or customer
    return TwinResponse(
        request_id=request_id.current.get(),
        customer_id=asked_for,
        resolved_customer_id=resolved(asked_for, customer),
        as_of=iso(answer.twin.as_of),
        position=answer.twin.position,
        revision=answer.revision,
        read_from="states" if as_of is None else "log",
        view=None if view is None else view.name,
        **parts,
    )


def _sections(view: View | None, wanted: Sequence[Section] | None) -> tuple[Section, ...]:
    """Raises ApiError (403) for a section that the view does not have."""
    shown = SECTIONS if view is None else view.sections
    if wanted is None:
        return shown
    hidden = [name for name in wanted if name not in shown]
    if hidden and view is not None:
        expected = f"sections of the view {view.name}: {', '.join(shown)}"
        detail = ErrorDetail(field="sections", expected=expected, got=", ".join(hidden))
        raise ApiError(403, "forbidden", "this view does not show that", [detail])
    return tuple(name for name in shown if name in wanted)


async def _predictions(service: HasTwins, customer: str) -> list[PredictionOfTwin]:
    """What each served champion says now, logged as any prediction; one that cannot answer is an item with an error.

    On the loop, as `/v1/predict`.
    """
    predictors = service.connection.wiring().predictors
    return [await _prediction(service, name, customer) for name in sorted(predictors)]


async def _prediction(service: HasTwins, model: str, customer: str) -> PredictionOfTwin:
    predictor = service.connection.wiring().predictor(model)
    began = served_log.now()
    try:
        as_of, prediction = predictor.one(customer, False)
    except ApiError as error:
        return PredictionOfTwin(
            model=model,
            model_version=predictor.champion.version,
            as_of=None,
            probability=None,
            in_population=None,
            error=error.item(),
        )
    await service.served.keep(predictor.champion, began, as_of, [prediction])
    return PredictionOfTwin(
        model=model,
        model_version=predictor.champion.version,
        as_of=iso(as_of),
        probability=prediction.probability,
        in_population=prediction.in_population,
    )


# path: body, scopes (one of them is enough), what it reads.
BODIES = {"/v1/twin": (TwinRequest, ("read",), _twin)}
ANSWERS = {"/v1/twin": TwinResponse}
ROUTES = [Route(path, handler(*parts), methods=["POST"]) for path, parts in BODIES.items()]
