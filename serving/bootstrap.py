"""Wires the parts of the service: configuration, champions, and the state of customers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from feature_repo import online
from feature_repo.configuration import ConfigurationError
from feature_repo.spec import FeatureSpec
from feature_repo.state.storage import StatesLost, StateUnavailable
from feature_repo.words import words_of
from pipelines.console import UserError
from pipelines.events.opening import may_have_states, open_states
from pipelines.events.spec_lease import SpecLease
from pipelines.events.specs_in_use import find_spec, spec_beside
from pipelines.model_store import EFFECTS, MODEL_FILES, challenger_name
from pipelines.not_exported import NotExported, read_not_exported
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig, ModelConfig
from pipelines.spec_versions import SpecVersions
from serving.api.authorisation import Access
from serving.api.errors import ApiError, ErrorDetail, state_unavailable
from serving.challenger import Challenger, find_challenger
from serving.champion import MODEL_MISSING, StoredChampion, find_champion, former_versions
from serving.effect_champion import EffectChampion, EffectPredictor
from serving.features import FeatureReader
from serving.model_checks import check_inputs, loaded
from serving.predictor import STATE_MISSING, Predictor, empty_state, mismatch
from serving.settings import service_settings
from serving.several import AskedModels, several, unanswered

logger = logging.getLogger("bentoml.twin")

OpenReader = Callable[[FeatureSpec, tuple[str, ...]], FeatureReader]
AnyPredictor: TypeAlias = Predictor | EffectPredictor
# Combinations of models that are kept ready; a client may ask for many.
_MOST_COMBINATIONS = 64


@dataclass(frozen=True, slots=True)
class Wiring:
    """What can be served: a predictor, or the reason why there is none, for each configured model.

    `predictors` are of `models`, `effects` of `action_models`, which say what actions change. `held_back` says why a
    model's latest champion is not served; then the predictor is of the one before. `challengers` answer in the shadow
    of champions. `not_exported` says, by name in the model store, what the registry has and the store could not get.
    """

    models: Mapping[str, ModelConfig]
    predictors: Mapping[str, Predictor]
    refusals: Mapping[str, ApiError]
    held_back: Mapping[str, ApiError] = field(default_factory=dict)
    action_models: Mapping[str, ActionModelConfig] = field(default_factory=dict)
    effects: Mapping[str, EffectPredictor] = field(default_factory=dict)
    challengers: Mapping[str, Challenger] = field(default_factory=dict)
    not_exported: Mapping[str, ApiError] = field(default_factory=dict)
    # It lives as long as the wiring: former predictors, and what they hold, must not outlive that.
    _combinations: dict[tuple[str, ...], AskedModels] = field(default_factory=dict, repr=False, compare=False)

    @property
    def configured(self) -> dict[str, ModelConfig | ActionModelConfig]:
        """Every model that could be served."""
        return {**self.models, **self.action_models}

    @property
    def served(self) -> dict[str, AnyPredictor]:
        """Every predictor, by the name of its model."""
        return {**self.predictors, **self.effects}

    @property
    def is_complete(self) -> bool:
        """Whether the latest champion of every model is served that has one."""
        return not (self.held_back or any(error.code != MODEL_MISSING for error in self.refusals.values()))

    @property
    def problem(self) -> ApiError | None:
        """Why the service is not ready. A model without a champion matters only if no other has one."""
        grave = [error for error in self.refusals.values() if error.code != MODEL_MISSING]
        if self.served and not grave:
            return None
        reasons = grave or list(self.refusals.values()) or [_no_models()]
        details = [detail for error in reasons for detail in error.details]
        return ApiError(503, reasons[0].code, reasons[0].message, details, reasons[0].headers)

    def check(self) -> None:
        """Raises ApiError (503) where the states of customers cannot be read now."""
        try:
            for predictor in self.served.values():
                predictor.reader.check()
        except StateUnavailable as error:
            raise state_unavailable(isinstance(error, StatesLost)) from error

    def predictor(self, model: str) -> Predictor:
        """The predictor of `model`.

        Raises:
            ApiError: 404 where no such model is configured, 400 where it predicts no probability, 503 where it cannot
                be served.
        """
        if model in self.predictors:
            return self.predictors[model]
        if model in self.action_models:
            raise _no_probability(model)
        if model in self.refusals:
            raise self.refusals[model].anew()
        known = ", ".join(sorted(self.models)) or "none"
        detail = ErrorDetail(field="model", expected=f"one of: {known}", got="another name")
        raise ApiError(404, "unknown_model", "there is no such model", [detail])

    def several(self, models: tuple[str, ...]) -> AskedModels:
        """The predictors of different models, and why each of the others has none; for one thread.

        Raises:
            ApiError: as `predictor` of the first model, where none of them has one.
        """
        known = self._combinations.get(models)
        if known is None:
            known = self._several(models)
            if len(self._combinations) >= _MOST_COMBINATIONS:
                self._combinations.clear()
            self._combinations[models] = known
        return known

    def _several(self, models: tuple[str, ...]) -> AskedModels:
        errors: list[ApiError | None] = []
        for at, model in enumerate(models):
            try:
                self.predictor(model)
                errors.append(None)
            except ApiError as error:
                errors.append(unanswered(error, at))
        served = [self.predictors[model] for model, error in zip(models, errors, strict=True) if error is None]
        if not served:
            raise next(error for error in errors if error is not None)
        return AskedModels(models, tuple(errors), several(served))


def _no_probability(model: str) -> ApiError:
    detail = ErrorDetail(
        field="model", expected="a model of a probability", got="a model of actions", hint="ask POST /v1/decide"
    )
    return ApiError(400, "not_a_probability", f"the model {model} says what actions change", [detail])


def connect_access() -> Access:
    """The keys of the workspace that the environment names."""
    return Access(service_settings().workspace.access)


def wire(
    settings: Settings,
    open_features: OpenReader | None = None,
    before: Wiring | None = None,
    unchanged: Collection[str] = (),
) -> Wiring:
    """Load the champion of every configured model, each with the features it was trained on.

    `open_features` stands in for the state of the workspace. `before` is the wiring in use, of which predictors of
    `unchanged` models are kept, and those whose successor cannot be served; `unchanged` are names in the model store.
    """
    served: dict[str, AnyPredictor] = {}
    refusals: dict[str, ApiError] = {}
    held_back: dict[str, ApiError] = {}
    former = {} if before is None else before.served
    reader = open_features or partial(open_state, settings)
    configured: tuple[ModelConfig | ActionModelConfig, ...] = (
        *settings.models.values(), *settings.action_models.values()
    )  # fmt: skip
    for model in configured:
        name = model.name
        if name in unchanged and name in former and before is not None and name not in before.held_back:
            served[name] = former[name]
            continue
        try:
            served[name] = _predictor(settings, model, reader)
        except ApiError as error:
            fallback = former.get(name) or _former(settings, model, reader)
            if fallback is None:
                refusals[name] = _to_be_told(error)
            else:
                served[name], held_back[name] = fallback, _to_be_told(error)
    predictors = {name: one for name, one in served.items() if isinstance(one, Predictor)}
    effects = {name: one for name, one in served.items() if isinstance(one, EffectPredictor)}
    challengers = _challengers(settings, predictors, before, unchanged)
    known = read_not_exported(settings.workspace.bentoml_home)
    not_exported = {name: _not_exported(name, said) for name, said in known.items()}
    made = Wiring(
        settings.models, predictors, refusals, held_back, settings.action_models, effects, challengers, not_exported
    )
    _tell(made, before)
    return made


def _challengers(
    settings: Settings, predictors: Mapping[str, Predictor], before: Wiring | None, unchanged: Collection[str]
) -> dict[str, Challenger]:
    found: dict[str, Challenger | None] = {}
    for name, predictor in predictors.items():
        is_kept = before is not None and before.predictors.get(name) is predictor
        if is_kept and before is not None and challenger_name(name) in unchanged:
            found[name] = before.challengers.get(name)
        else:
            found[name] = find_challenger(settings.workspace.bentoml_home, predictor.champion)
    return {name: challenger for name, challenger in found.items() if challenger is not None}


def _not_exported(name: str, said: NotExported) -> ApiError:
    """Why the service goes on with what it has."""
    detail = ErrorDetail(field="version", expected=said.expected, got=said.got, hint=said.hint)
    return ApiError(503, "not_exported", f"version {said.version} of {name} in the registry: {said.message}", [detail])


def _to_be_told(error: ApiError) -> ApiError:
    """The error alone: with it would be kept all that stood where it was raised, former predictors among it."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _tell(made: Wiring, before: Wiring | None) -> None:
    """Log what is other than before."""
    told = {} if before is None else {**before.refusals, **before.held_back}
    for name, error in {**made.refusals, **made.held_back}.items():
        if str(told.get(name)) == str(error):
            continue
        if error.code == MODEL_MISSING and made.served:
            logger.info("%s has no champion yet", name)
            continue
        details = "; ".join(f"{d.field}: expected {d.expected}, got {d.got} ({d.hint})" for d in error.details)
        instead = f", version {made.served[name].champion.version} is" if name in made.served else ""
        what = f"the latest champion of {name}" if instead else name
        logger.error("%s is not served%s: %s. %s", what, instead, error, details)
    _tell_of_registry(made, before)
    former = {} if before is None else before.served
    for name, predictor in made.served.items():
        if before is not None and former.get(name) is not predictor:
            champion = predictor.champion
            logger.info("%s is served by version %s now (spec %s)", name, champion.version, champion.spec_hash)


def _tell_of_registry(made: Wiring, before: Wiring | None) -> None:
    known = {} if before is None else before.not_exported
    for name, error in made.not_exported.items():
        if str(known.get(name)) != str(error):
            details = "; ".join(f"expected {d.expected}, got {d.got} ({d.hint})" for d in error.details)
            logger.error("%s; what was served before is served still: %s", error, details)
    tried = {} if before is None else before.challengers
    for name, challenger in made.challengers.items():
        if tried.get(name) is not challenger and challenger.error is None:
            logger.info("version %s answers in the shadow of %s now", challenger.version, name)
        elif tried.get(name) is not challenger:
            logger.error(
                "the challenger of %s, version %s, is left out: %s", name, challenger.version, challenger.error
            )


def open_state(settings: Settings, spec: FeatureSpec, features: tuple[str, ...]) -> FeatureReader:
    """A reader of the workspace's states, in the store that the profile names.

    Raises:
        ApiError: 503, there is no state yet, or it cannot be read.
    """
    if not may_have_states(settings):
        detail = ErrorDetail(
            field="state", expected="the state of customers", got="none", hint="ingest and build it: `twin run`"
        )
        raise ApiError(503, STATE_MISSING, "the state of customers has not been built yet", [detail])
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


def _former(
    settings: Settings, model: ModelConfig | ActionModelConfig, open_features: OpenReader
) -> AnyPredictor | None:
    """The newest version before the latest that can be served."""
    for version in former_versions(settings.workspace.bentoml_home, model.name):
        try:
            return _predictor(settings, model, open_features, version)
        except ApiError:
            continue
    return None


def _predictor(
    settings: Settings, model: ModelConfig | ActionModelConfig, open_features: OpenReader, version: str = "latest"
) -> AnyPredictor:
    """Raises ApiError (503). What costs time comes last: a champion that waits for its states is tried each second."""
    stored = find_champion(settings.workspace.bentoml_home, model.name, version)
    spec = _spec_of(settings, stored)
    _check_features(stored, spec, str(stored.manifest.get("feature_service", model.feature_service)))
    lease = _lease(settings, stored)
    try:
        reader = _over_states(stored, spec, open_features)
        clock = _clock(settings, reader)
        meanings = {name: words_of(spec, name) for name in stored.features} | stored.inputs.words()
        if isinstance(model, ActionModelConfig):
            return EffectPredictor(_effects(stored), reader, meanings, clock, lease)
        return Predictor(loaded(stored), reader, meanings, clock, lease)
    except BaseException:
        # The error is kept to be told, and with it all that stood where it was raised.
        lease.release()
        raise


def _over_states(stored: StoredChampion, spec: FeatureSpec, open_features: OpenReader) -> FeatureReader:
    """Of what the model reads. Raises ApiError (503) where there are no states of its features."""
    try:
        reader = open_features(spec, stored.features)
        built = reader.spec_hash
    except StateUnavailable as error:
        raise state_unavailable(isinstance(error, StatesLost)) from error
    if built is None:
        raise empty_state()
    if built != stored.spec_hash:
        hint = "build the states of the features that it was trained on: `twin state rebuild`"
        raise mismatch(stored, "spec_hash", stored.spec_hash, built, hint)
    return reader


def _effects(stored: StoredChampion) -> EffectChampion:
    champion = stored.load_effects()
    misfit = champion.misfit()
    if misfit is not None:
        raise mismatch(stored, MODEL_FILES[EFFECTS], "the columns of manifest.json", misfit)
    return champion


def _spec_of(settings: Settings, stored: StoredChampion) -> FeatureSpec:
    """The spec that the model was trained on. Raises ApiError (503) where its content is not known."""
    try:
        spec = spec_beside(stored.folder, stored.spec_hash) or find_spec(settings, stored.spec_hash)
    except ConfigurationError as error:
        got = "; ".join(str(problem) for problem in error.problems[:3])
        raise mismatch(stored, "features.json", f"the content of spec {stored.spec_hash}", got) from error
    if spec is None:
        raise mismatch(stored, "spec_hash", stored.spec_hash, settings.features.hash)
    if spec is settings.features:
        # It is found here when another one is current.
        SpecVersions(settings.workspace.specs).remember(spec.hash, settings.spec_file)
    return spec


def _lease(settings: Settings, stored: StoredChampion) -> SpecLease:
    try:
        return SpecLease(settings.workspace.specs, stored.spec_hash)
    except BlockingIOError:
        raise mismatch(stored, "states", stored.spec_hash, "states that are being removed") from None


def _check_features(champion: StoredChampion, spec: FeatureSpec, service: str) -> None:
    """Raises ApiError (503) where the model's manifest and its spec do not say the same."""
    known = spec.service_features(service) if service in spec.services else ()
    check_inputs(champion)
    if champion.features == known:
        return
    apart = [name for name in champion.features if name not in known] + [
        name for name in known if name not in champion.features
    ]
    difference = f"{len(known)} features, apart in {', '.join(apart[:5]) or 'their order'}"
    raise mismatch(champion, "features", f"{len(champion.features)} features", difference)


def _clock(settings: Settings, reader: FeatureReader) -> Callable[[], int | None]:
    if settings.profile.clock == "data_end":
        return reader.data_end
    return lambda: time.time_ns() // 1000


def _no_models() -> ApiError:
    detail = ErrorDetail(field="configs/models", expected="at least one model", got="none")
    return ApiError(503, MODEL_MISSING, "no model is configured", [detail])
