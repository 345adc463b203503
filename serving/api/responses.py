"""What the service answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel

from serving.api.errors import ItemError

_EXAMPLE_REASON: dict[str, JsonValue] = {
    "feature": "order_completed_days_since_last_lifetime",
    "meaning": "days since the latest order",
    "value": 61.25,
    "contribution": 0.84,
    "change_in_probability": 0.17,
    "sentence": "days since the latest order is 61.25: raises the probability by 17.0 percentage points "
    "(+0.84 log-odds)",
}
_EXAMPLE_HEAD: dict[str, JsonValue] = {
    "request_id": "9f86d081884c4d659a2feaa0c55ad015",
    "model": "churn",
    "model_version": "3",
    "as_of": "2011-08-31T17:19:00.000001Z",
}


ResolvedCustomer = Annotated[
    str | None,
    Field(exclude_if=lambda value: value is None, description="whom the id is of now; only where it is another id"),
]


class ReasonCode(BaseModel):
    """One feature's part in one prediction; the contributions of all features add up, in log-odds."""

    model_config = ConfigDict(frozen=True)

    feature: str
    meaning: str = Field(description="the feature in words")
    value: float | None = Field(description="as the model read it; null where the customer has no such value")
    contribution: float = Field(description="log-odds, above 0 where it raises the probability")
    change_in_probability: float = Field(description="what the probability would lose without this contribution")
    sentence: str


class PredictResponse(BaseModel):
    """The prediction of one customer."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "example": {
                **_EXAMPLE_HEAD,
                "customer_id": "17850",
                "probability": 0.62,
                "in_population": True,
                "reasons": [_EXAMPLE_REASON],
            }
        },
    )

    request_id: str
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    model: str
    model_version: str
    as_of: str = Field(description="the instant the features are of: ISO 8601, UTC, microseconds")
    probability: float = Field(description="calibrated, 0 to 1")
    in_population: bool | None = Field(
        default=None,
        description="whether the customer is of the kind the model was trained on; outside it is an extrapolation",
    )
    reasons: list[ReasonCode] | None = Field(default=None, description="the strongest first; null if not asked for")


class PredictionItem(BaseModel):
    """One customer of many: a probability, or an error."""

    model_config = ConfigDict(frozen=True)

    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    probability: float | None = Field(default=None, description="calibrated, 0 to 1; null where there is an error")
    in_population: bool | None = Field(
        default=None,
        description="whether the customer is of the kind the model was trained on; outside it is an extrapolation",
    )
    reasons: list[ReasonCode] | None = None
    error: ItemError | None = None


class PredictManyResponse(BaseModel):
    """Predictions of many customers, in the order asked for, all of one instant."""

    model_config = ConfigDict(
        frozen=True,
        protected_namespaces=(),
        json_schema_extra={
            "example": {
                **_EXAMPLE_HEAD,
                "results": [
                    {"customer_id": "17850", "probability": 0.62, "in_population": True, "reasons": None, "error": None}
                ],
            }
        },
    )

    request_id: str
    model: str
    model_version: str
    as_of: str = Field(description="the instant the features are of: ISO 8601, UTC, microseconds")
    results: list[PredictionItem]


class ModelPrediction(BaseModel):
    """What one model of several says of a customer: a probability, or an error."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    model_version: str | None = Field(default=None, description="null where there is an error")
    probability: float | None = Field(default=None, description="calibrated, 0 to 1; null where there is an error")
    in_population: bool | None = Field(
        default=None,
        description="whether the customer is of the kind the model was trained on; outside it is an extrapolation",
    )
    reasons: list[ReasonCode] | None = Field(default=None, description="the strongest first; null if not asked for")
    error: ItemError | None = None


_EXAMPLE_PREDICTION: dict[str, JsonValue] = {"reasons": None, "error": None}
_EXAMPLE_PREDICTIONS: list[JsonValue] = [
    {**_EXAMPLE_PREDICTION, "model": "churn", "model_version": "3", "probability": 0.62, "in_population": True},
    {**_EXAMPLE_PREDICTION, "model": "conversion", "model_version": "5", "probability": 0.08, "in_population": None},
]


class PredictModelsResponse(BaseModel):
    """What several models say of one customer at one instant, in the order asked for."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": _EXAMPLE_HEAD["request_id"],
                "customer_id": "17850",
                "as_of": _EXAMPLE_HEAD["as_of"],
                "predictions": _EXAMPLE_PREDICTIONS,
            }
        },
    )

    request_id: str
    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    as_of: str = Field(description="the instant all features are of: ISO 8601, UTC, microseconds")
    predictions: list[ModelPrediction]


class CustomerPredictions(BaseModel):
    """One customer of many: what each model says, or an error that holds for all models."""

    model_config = ConfigDict(frozen=True)

    customer_id: str
    resolved_customer_id: ResolvedCustomer = None
    predictions: list[ModelPrediction] = Field(default_factory=list)
    error: ItemError | None = None


class PredictManyModelsResponse(BaseModel):
    """What several models say of many customers, in the order asked for, all of one instant."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": _EXAMPLE_HEAD["request_id"],
                "as_of": _EXAMPLE_HEAD["as_of"],
                "results": [{"customer_id": "17850", "predictions": _EXAMPLE_PREDICTIONS, "error": None}],
            }
        },
    )

    request_id: str
    as_of: str = Field(description="the instant all features are of: ISO 8601, UTC, microseconds")
    results: list[CustomerPredictions]


class PredictAnswer(RootModel[PredictResponse | PredictModelsResponse]):
    """The prediction of one customer by one model; or, where several are asked, what each of them says."""

    model_config = ConfigDict(json_schema_extra={"example": PredictResponse.model_json_schema()["example"]})


class PredictManyAnswer(RootModel[PredictManyResponse | PredictManyModelsResponse]):
    """Predictions of many customers by one model; or, where several are asked, what each of them says."""

    model_config = ConfigDict(json_schema_extra={"example": PredictManyResponse.model_json_schema()["example"]})


class ChallengerInfo(BaseModel):
    """The version that answers in the champion's shadow: its scores are in the log, and in no answer."""

    model_config = ConfigDict(frozen=True)

    version: str
    error: ItemError | None = Field(default=None, description="why it is left out")


class ModelInfo(BaseModel):
    """A configured model, and the champion that is served for it, if one is."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    description: str
    served: bool
    model_version: str | None = None
    spec_hash: str | None = Field(default=None, description="hash of the feature definitions it was trained with")
    features: list[str] = Field(default_factory=list, description="what it reads, in order")
    inputs: dict[str, str] = Field(default_factory=dict, description="what a call may bring along, and of which kind")
    manifest: dict[str, object] = Field(default_factory=dict, description="what it was trained on")
    error: ItemError | None = Field(default=None, description="why it is not served")
    held_back: ItemError | None = Field(
        default=None, description="why a newer champion is not served yet, and this one is still"
    )
    challenger: ChallengerInfo | None = Field(default=None, description="null where there is none")


class ModelsResponse(BaseModel):
    """The configured models, and the champion that is served for each."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "example": {
                "request_id": "9f86d081884c4d659a2feaa0c55ad015",
                "models": [
                    {
                        "model": "churn",
                        "description": "a customer who orders nothing for 60 days",
                        "served": True,
                        "model_version": "3",
                        "spec_hash": "0f3a7c21b6d94e58",
                        "features": ["order_completed_days_since_last_lifetime"],
                        "inputs": {},
                        "manifest": {"lake_version": 1},
                        "error": None,
                        "held_back": None,
                    }
                ],
            }
        },
    )

    request_id: str
    models: list[ModelInfo]
