"""The reading for the catalogue and the champion of now, opened when either is another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from feature_repo.state.storage import StatesLost, StateUnavailable
from pipelines.catalogue import Catalogue
from pipelines.events.spec_lease import SpecLease
from pipelines.settings import Settings
from serving.api.errors import ApiError, ErrorDetail, state_unavailable
from serving.bootstrap import OpenReader, Wiring, open_state
from serving.decisions.reading import LANGUAGE, Model, Reading
from serving.features import FeatureReader
from serving.predictor import empty_state


class Readings:
    """Thread-safe. It has the states of the current spec kept as long as it is there."""

    def __init__(self, settings: Settings, open_features: OpenReader | None = None) -> None:
        """`open_features` stands in for the state of the workspace. Opens nothing yet."""
        self._settings = settings
        self._open = open_features or partial(open_state, settings)
        self._opening = threading.Lock()
        self._lease: SpecLease | None = None
        self._reading: Reading | None = None

    def reading(self, catalogue: Catalogue, wiring: Wiring) -> Reading:
        """What decides now. Raises ApiError (503) where customers' states cannot be read."""
        model = model_of(catalogue, wiring)
        known = self._reading
        if known is not None and known.catalogue is catalogue and known.model is model:
            return known
        with self._opening:
            made = self._made(catalogue, model)
            self._reading = made
            return made

    def _made(self, catalogue: Catalogue, model: Model | None) -> Reading:
        spec = self._settings.features
        language = catalogue.traits.get(LANGUAGE)
        names = [*catalogue.features, *([language] if language else [])]
        is_one_read = model is not None and model.champion.spec_hash == spec.hash
        if model is not None and is_one_read:
            names += model.champion.features
        asked = tuple(dict.fromkeys(names))
        if self._lease is None:
            self._lease = leased(self._settings)
        reader = self._open(spec, asked)
        check_built(reader, spec.hash)
        return Reading(catalogue, model, reader, asked, spec.hash, is_one_read, self._clock(reader))

    def _clock(self, reader: FeatureReader) -> Callable[[], int | None]:
        if self._settings.profile.clock == "data_end":
            return reader.data_end
        return lambda: time.time_ns() // 1000


def model_of(catalogue: Catalogue, wiring: Wiring) -> Model | None:
    """Whose effects decide; as long as there are none, whose probability ranks; None where neither is served."""
    effects = wiring.effects.get(catalogue.model)
    if effects is not None or catalogue.fallback_model is None:
        return effects
    return wiring.predictors.get(catalogue.fallback_model)


def leased(settings: Settings) -> SpecLease:
    """The states of the current spec are not removed meanwhile. Raises ApiError (503) where they just are."""
    try:
        return SpecLease(settings.workspace.specs, settings.features.hash)
    except BlockingIOError:
        raise _not_these("states that are being removed") from None


def check_built(reader: FeatureReader, wanted: str) -> None:
    """Raises ApiError (503) where there are no states of the current features."""
    try:
        built = reader.spec_hash
    except StateUnavailable as error:
        raise state_unavailable(isinstance(error, StatesLost)) from error
    if built is None:
        raise empty_state()
    if built != wanted:
        raise _not_these(f"those of spec {built}")


def _not_these(got: str) -> ApiError:
    hint = "build the states of the features that the catalogue reads: `twin state rebuild`"
    detail = ErrorDetail(field="state", expected="states of the current features", got=got, hint=hint)
    return ApiError(
        503, "state_mismatch", "decisions read the current features, and there are no states of them", [detail]
    )
