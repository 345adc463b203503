"""What a client may send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import bentoml
from pydantic import AfterValidator, ConfigDict, Field, StrictInt, StringConstraints
from pydantic_core import PydanticCustomError

VALIDATED = "twin.validated_body"
DEFAULT_MODEL = "churn"
MAXIMUM_ID_LENGTH = 256

CustomerId = Annotated[
    str, StringConstraints(min_length=1, max_length=MAXIMUM_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$")
]
KindName = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")]
Note = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
OnceKey = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")]
ContextText = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$")]

# Money in minor units; `null` says the same as a name that is left out.
Context = Annotated[dict[ModelName, StrictInt | ContextText | None], Field(max_length=50)]

MOST_MODELS = 10


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise PydanticCustomError("named_twice", "a model is named twice")
    return names


ModelNames = Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=MOST_MODELS), AfterValidator(_distinct)]

DecisionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]

_CONTEXT = "what this call brings along, for models that read it; `GET /v1/models` names their inputs"
_A_CONTEXT = "at most 50 names, each with a whole number, a text of at most 256 characters, or null"
_MODELS = "which models to ask at one instant, in place of `model`; the answer has `predictions`, in this order"
_SOME_MODELS = f"a list of 1 to {MOST_MODELS} different names of models"
_AN_ID = f"text of 1 to {MAXIMUM_ID_LENGTH} characters, none of them a control character"


class RequestBody(bentoml.IODescriptor):
    """Base of every request: an unknown key is a mistake, and nothing is converted to another type.

    `expected` words, for each field, what belongs there; `name.item` is an item of the list `name`.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    expected: ClassVar[Mapping[str, str]] = {}

    @classmethod
    async def from_http_request(cls, request: Any, serde: Any) -> RequestBody:
        """The body as `RequestDoor` has checked it already; BentoML would parse it again."""
        body: RequestBody = request.scope[VALIDATED]
        return body


class PredictRequest(RequestBody):
    """Ask for the prediction of one customer."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_id": "17850", "reasons": True}})
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": _AN_ID,
        "model": "the name of a model",
        "models": _SOME_MODELS,
        "models.item": "the name of a model",
        "reasons": "true or false",
        "context": _A_CONTEXT,
    }

    customer_id: CustomerId = Field(description="id of the customer, as in the event store", examples=["17850"])
    model: ModelName = Field(default=DEFAULT_MODEL, description="which model to ask", examples=["churn"])
    models: ModelNames = Field(default=(), description=_MODELS, examples=[["churn", "conversion"]])
    reasons: bool = Field(default=False, description="also say why", examples=[True])
    context: Context = Field(default_factory=dict, description=_CONTEXT, examples=[{}])


class PredictManyRequest(RequestBody):
    """Ask for the predictions of many customers at one instant."""

    model_config = ConfigDict(json_schema_extra={"example": {"customer_ids": ["17850", "13047"]}})
    expected: ClassVar[Mapping[str, str]] = {
        "customer_ids": "a list of at least one customer id",
        "customer_ids.item": _AN_ID,
        "model": "the name of a model",
        "models": _SOME_MODELS,
        "models.item": "the name of a model",
        "reasons": "true or false",
        "context": _A_CONTEXT,
    }

    customer_ids: list[CustomerId] = Field(min_length=1, description="ids of customers", examples=[["17850", "13047"]])
    model: ModelName = Field(default=DEFAULT_MODEL, description="which model to ask", examples=["churn"])
    models: ModelNames = Field(default=(), description=_MODELS, examples=[["churn", "conversion"]])
    reasons: bool = Field(default=False, description="also say why", examples=[False])
    context: Context = Field(default_factory=dict, description=_CONTEXT, examples=[{}])


class DecideRequest(RequestBody):
    """Ask for the next best action of one customer."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"customer_id": "17850", "decision_id": "campaign-7.17850", "reasons": True}}
    )
    expected: ClassVar[Mapping[str, str]] = {
        "customer_id": _AN_ID,
        "decision_id": "text of 1 to 100 characters, each a letter, a digit or one of _.:-",
        "context": _A_CONTEXT,
        "reasons": "true or false",
    }

    customer_id: CustomerId = Field(description="any user id of the customer", examples=["17850"])
    decision_id: DecisionId | None = Field(
        default=None,
        description="the same call with the same id is decided once and answered alike; without, each is its own",
        examples=["campaign-7.17850"],
    )
    context: Context = Field(default_factory=dict, description=_CONTEXT, examples=[{}])
    reasons: bool = Field(default=False, description="also say what moves the effect", examples=[True])
