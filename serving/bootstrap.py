"""Wires the parts of the service: configuration, champions, and the state of customers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from feature_repo import online
from feature_repo.spec import FeatureSpec
from feature_repo.state.storage import StatesLost, StateUnavailable
from feature_repo.words import words_of
from pipelines.console import UserError
from pipelines.events.opening import may_have_states, open_states
from pipelines.settings import Settings, load_settings
from pipelines.settings.models import ModelConfig
from serving.api.authorisation import Access
from serving.api.errors import ApiError, ErrorDetail, state_unavailable
from serving.champion import Champion, load_champion
from serving.features import FeatureReader
from serving.predictor import Predictor, empty_state, mismatch

logger = logging.getLogger("bentoml.twin")

OpenReader = Callable[[FeatureSpec, Path, tuple[str, ...]], FeatureReader]
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """What can be served: a predictor, or the reason why there is none, for each configured model."""

    models: Mapping[str, ModelConfig]
    predictors: Mapping[str, Predictor]
    refusals: Mapping[str, ApiError]

    @property
    def problem(self) -> ApiError | None:
        """Why the service is not ready. A model without a champion matters only if no other has one."""
        grave = [error for error in self.refusals.values() if error.code != "model_missing"]
        if self.predictors and not grave:
            return None
        reasons = grave or list(self.refusals.values()) or [_no_models()]
        details = [detail for error in reasons for detail in error.details]
        return ApiError(503, reasons[0].code, reasons[0].message, details, reasons[0].headers)

    def check(self) -> None:
        """Raises ApiError (503) where the states of customers cannot be read now."""
        try:
            for predictor in self.predictors.values():
                predictor.reader.check()
        except StateUnavailable as error:
            raise state_unavailable(isinstance(error, StatesLost)) from error

    def predictor(self, model: str) -> Predictor:
        """The predictor of `model`.

        Raises:
            ApiError: 404 where no such model is configured, 503 where it cannot be served.
        """
        if model in self.predictors:
            return self.predictors[model]
        if model in self.refusals:
            raise self.refusals[model]
        known = ", ".join(sorted(self.models)) or "none"
        detail = ErrorDetail(field="model", expected=f"one of: {known}", got="another name")
        raise ApiError(404, "unknown_model", "there is no such model", [detail])


class Connection:
    """The wiring in use; made again, at most once a second, for as long as it is not ready."""

    def __init__(self, connect: Callable[[], Wiring]) -> None:
        self._connect = connect
        self._wiring = connect()
        self._made = time.monotonic()

    def wiring(self) -> Wiring:
        waited = time.monotonic() - self._made
        if waited > RETRY_SECONDS and self._wiring.problem is not None:
            self._wiring = self._connect()
            self._made = time.monotonic()
        return self._wiring


def connect() -> Wiring:
    """Wire the workspace that the environment names."""
    return wire(load_settings())


def connect_access() -> Access:
    """The keys of the workspace that the environment names."""
    return Access(load_settings().workspace.access)


def wire(settings: Settings, open_features: OpenReader | None = None) -> Wiring:
    """Load the champion of every configured model and check each against the store's features.

    `open_features` stands in for the state of the workspace.
    """
    predictors: dict[str, Predictor] = {}
    refusals: dict[str, ApiError] = {}
    for name, model in settings.models.items():
        try:
            predictors[name] = _predictor(settings, model, open_features or partial(open_state, settings))
        except ApiError as error:
            details = "; ".join(f"{d.field}: expected {d.expected}, got {d.got} ({d.hint})" for d in error.details)
            logger.error("%s is not served: %s. %s", name, error, details)
            refusals[name] = error
    return Wiring(settings.models, predictors, refusals)


def open_state(settings: Settings, spec: FeatureSpec, _state: Path, features: tuple[str, ...]) -> FeatureReader:
    """A reader of the workspace's states, in the store that the profile names.

    Raises:
        ApiError: 503, there is no state yet, or it cannot be read.
    """
    if not may_have_states(settings):
        detail = ErrorDetail(
            field="state", expected="the state of customers", got="none", hint="ingest and build it: `twin run`"
        )
        raise ApiError(503, "state_missing", "the state of customers has not been built yet", [detail])
    try:
        return online.FeatureReader(spec, open_states(settings), features)
    except UserError as error:
        problems = [ErrorDetail(field=p.field, expected=p.expected, got=p.got, hint=p.hint) for p in error.problems]
        raise ApiError(503, "state_unavailable", error.message, problems) from error
    except StateUnavailable as error:
        detail = ErrorDetail(
            field="state",
            expected="an SQLite file",
            got=type(error.__cause__).__name__,
            hint="remove it and build it again: `twin run`",
        )
        raise ApiError(503, "state_unreadable", "the state of customers cannot be read", [detail]) from error


def _predictor(settings: Settings, model: ModelConfig, open_features: OpenReader) -> Predictor:
    spec = settings.features
    champion = load_champion(settings.workspace.bentoml_home, model.name)
    _check_features(champion, spec, model.feature_service)
    reader = open_features(spec, settings.workspace.state, champion.features)
    meanings = {name: words_of(spec, name) for name in champion.features}
    try:
        built = reader.spec_hash
    except StateUnavailable as error:
        raise state_unavailable(isinstance(error, StatesLost)) from error
    if built is None:
        raise empty_state()
    if built != champion.spec_hash:
        raise mismatch(champion, "spec_hash", champion.spec_hash, built)
    return Predictor(champion, reader, meanings, _clock(settings, reader))


def _check_features(champion: Champion, spec: FeatureSpec, service: str) -> None:
    """Raises ApiError (503) where the model, its file and the feature spec do not say the same."""
    if champion.spec_hash != spec.hash:
        raise mismatch(champion, "spec_hash", champion.spec_hash, spec.hash)
    known = spec.service_features(service)
    if champion.features != known:
        apart = [name for name in champion.features if name not in known] + [
            name for name in known if name not in champion.features
        ]
        difference = f"{len(known)} features, apart in {', '.join(apart[:5]) or 'their order'}"
        raise mismatch(champion, "features", f"{len(champion.features)} features", difference)
    if tuple(champion.booster.feature_name()) != champion.features:
        raise mismatch(champion, "model.lgb", "the features of manifest.json", "others, or another order")


def _clock(settings: Settings, reader: FeatureReader) -> Callable[[], int | None]:
    if settings.profile.clock == "data_end":
        return reader.data_end
    return lambda: time.time_ns() // 1000


def _no_models() -> ApiError:
    detail = ErrorDetail(field="configs/models", expected="at least one model", got="none")
    return ApiError(503, "model_missing", "no model is configured", [detail])
