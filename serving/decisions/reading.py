"""What a decision is made from: the catalogue's features, and what the model says of each action.

Where the model was trained on the spec that is current, its features and the catalogue's are read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feature_repo.state.read import AsOfTooEarly, FeatureValue
from pipelines.catalogue import NO_ACTION, Catalogue
from pipelines.decisions.ledger_event import Read
from pipelines.decisions.situation import Basis, Predicted
from serving.api.context import Context
from serving.api.errors import ApiError, ErrorDetail
from serving.champion import Champion
from serving.effect_champion import EffectChampion, EffectPredictor
from serving.features import FeatureReader, FeatureRows
from serving.predictor import Predictor, empty_state

LANGUAGE = "language"
Model: TypeAlias = EffectPredictor | Predictor
Values: TypeAlias = Mapping[str, FeatureValue]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one customer at `as_of`. `columns` are what the model was asked with, shape (1, k)."""

    as_of: int
    features: dict[str, FeatureValue]
    language: str | None
    read: Read
    model_read: Read | None
    predicted: dict[str, Predicted]
    columns: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads for one catalogue and one model. Threads may share it.

    `reader` gives `names` of the current spec: the catalogue's features, and the model's where `is_one_read`.
    `now` gives the as-of instant in int64 microseconds UTC, or None where there is no event yet.
    """

    catalogue: Catalogue
    model: Model | None
    reader: FeatureReader
    names: tuple[str, ...]
    spec_hash: str
    is_one_read: bool
    now: Callable[[], int | None]

    @property
    def basis(self) -> Basis:
        if self.model is None:
            return "none"
        return "effect" if isinstance(self.model, EffectPredictor) else "propensity"

    @property
    def champion(self) -> tuple[str, str] | tuple[None, None]:
        """The model that decides, and its version."""
        return (None, None) if self.model is None else (self.model.champion.model, self.model.champion.version)

    @property
    def inputs(self) -> Mapping[str, Literal["integer", "text"]]:
        """What a call may bring along: what the model reads of it."""
        return {} if self.model is None else self.model.reader.inputs

    def of(self, customer_id: str, context: Context) -> Known | None:
        """What is known of a customer now; None where there is nothing.

        Raises:
            ApiError: 503, the state is empty, or ahead of the clock. StateUnavailable.
        """
        for attempt in range(2):
            as_of = self.now()
            if as_of is None:
                raise empty_state()
            try:
                return self._at(customer_id, as_of, context)
            except AsOfTooEarly:
                # A new event came between the clock and the read.
                if attempt:
                    raise _ahead() from None
        return None

    def _at(self, customer_id: str, as_of: int, context: Context) -> Known | None:
        rows = self.reader.read([customer_id], as_of, context if self.is_one_read else {})
        if not rows.found[0]:
            return None
        values = dict(zip(self.names, rows.values[0], strict=True))
        read = _read(rows, self.spec_hash)
        model_values, model_read = self._of_model(customer_id, as_of, context, values, read)
        columns, predicted = None, dict[str, Predicted]()
        if self.model is not None and model_values is not None:
            columns = self.model.champion.columns(_matrix(model_values))
            predicted = predicted_of(self.model, columns, [action.id for action in self.catalogue.actions])
        language = self.catalogue.traits.get(LANGUAGE)
        said = values.get(language) if language is not None else None
        features = {name: values[name] for name in self.catalogue.features}
        told = said if isinstance(said, str) else None
        return Known(as_of, features, told, read, model_read, predicted, columns)

    def _of_model(
        self, customer_id: str, as_of: int, context: Context, values: Values, read: Read
    ) -> tuple[list[FeatureValue] | None, Read | None]:
        """The model's features, in its order, and where they were read; None where it has no state of them."""
        if self.model is None:
            return None, None
        champion = self.model.champion
        if self.is_one_read:
            return [values[name] for name in champion.features], read
        rows = self.model.reader.read([customer_id], as_of, context)
        if not rows.found[0]:
            return None, None
        return list(rows.values[0]), _read(rows, champion.spec_hash)


def predicted_of(model: Model, columns: NDArray[np.float64], actions: Sequence[str]) -> dict[str, Predicted]:
    """By action what the model says of one customer, of `columns` of shape (1, k).

    A model of effects knows the actions that it learned from; a probability is the same for all of `actions`.
    """
    return predicted_by(model.champion, columns, actions)


def predicted_by(
    champion: EffectChampion | Champion, columns: NDArray[np.float64], actions: Sequence[str]
) -> dict[str, Predicted]:
    """`predicted_of` for a version that need not be served."""
    if isinstance(champion, EffectChampion):
        effects, responses = (said[0].tolist() for said in champion.told(columns))
        of_each = zip(champion.actions, effects, responses[1:], strict=True)
        control = {NO_ACTION: Predicted(0.0, responses[0])}
        return control | {action: Predicted(effect, response) for action, effect, response in of_each}
    probability = float(champion.probabilities(columns)[0])
    return {action: Predicted(None, probability) for action in actions}


def _matrix(values: Sequence[FeatureValue]) -> NDArray[np.float64]:
    return np.array([values], dtype=np.float64)


def _read(rows: FeatureRows, spec_hash: str) -> Read:
    return Read(spec_hash, rows.positions[0], rows.revisions[0])


def _ahead() -> ApiError:
    detail = ErrorDetail(
        field="clock",
        expected="an instant after the newest event",
        got="an earlier one",
        hint="check the machine's clock, and `clock` in the profile",
    )
    return ApiError(503, "state_ahead", "the state of customers is ahead of the clock", [detail])
