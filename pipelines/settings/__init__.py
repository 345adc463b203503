"""All configuration, loaded in one place, typed and checked as a whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from pydantic import BaseModel

from feature_repo.configuration import ConfigurationError, Problem, load_yaml, parse, read_yaml
from feature_repo.spec import FeatureSpec
from feature_repo.spec_file import SpecFile, compile_spec
from pipelines.catalogue import Catalogue
from pipelines.settings.catalogue import load_catalogue
from pipelines.settings.consent import ConsentConfig
from pipelines.settings.cross_checks import check_identity_and_consent, check_slices, check_together
from pipelines.settings.expectations import ExpectationsConfig
from pipelines.settings.identity import IdentityConfig
from pipelines.settings.models import ActionModelConfig, CompanionConfig, ModelConfig
from pipelines.settings.profile import Profile
from pipelines.settings.sources import SourceConfig
from pipelines.settings.surroundings import Surroundings, surroundings_of
from pipelines.settings.tracking_plan import TrackingPlan
from pipelines.settings.twin import load_twin, only_history
from pipelines.settings.twin_checks import TwinSurroundings
from pipelines.settings.twin_compile import NOTHING_DECLARED
from pipelines.settings.workspace import CHECKOUT, Workspace
from pipelines.twin.rules import TwinRules

__all__ = ["CHECKOUT", "Settings", "Workspace", "load_settings"]

AnyModelConfig: TypeAlias = ModelConfig | CompanionConfig | ActionModelConfig
Loaded = TypeVar("Loaded")
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is configured, and the workspace it applies to. `features` is what `spec_file` compiles to.

    `catalogue` is None where there is no `actions.yaml`, and where it is mistaken and that was asked to be told in
    `catalogue_problems`. Where what is declared of twins is mistaken, and that was asked to be told in `twin_problems`,
    `twin` declares nothing but how much history is kept.
    """

    config_dir: Path
    profile: Profile
    tracking_plan: TrackingPlan
    spec_file: SpecFile
    features: FeatureSpec
    expectations: ExpectationsConfig
    sources: dict[str, SourceConfig]
    models: dict[str, ModelConfig]
    companions: dict[str, CompanionConfig]
    action_models: dict[str, ActionModelConfig]
    catalogue: Catalogue | None
    identity: IdentityConfig
    consent: ConsentConfig
    workspace: Workspace
    catalogue_problems: tuple[Problem, ...] = ()
    twin: TwinRules = NOTHING_DECLARED
    twin_problems: tuple[Problem, ...] = ()

    @property
    def surroundings(self) -> Surroundings:
        """What the catalogue of actions may refer to."""
        return surroundings_of(self.features, self.tracking_plan, self.consent, self.models, self.action_models)

    def checked_catalogue(self) -> Catalogue | None:
        """What can be offered, for what decides or learns by it; None where there is no `actions.yaml`.

        Raises:
            ConfigurationError: with every mistake of the catalogue.
        """
        if self.catalogue_problems:
            raise ConfigurationError(self.catalogue_problems)
        return self.catalogue

    def source(self, name: str) -> SourceConfig:
        """The source mapping called `name`.

        Raises:
            ConfigurationError: there is no such mapping.
        """
        return _pick(self.sources, name, "source", "configs/sources")

    def model(self, name: str) -> ModelConfig:
        """The model configuration called `name`.

        Raises:
            ConfigurationError: there is no such model.
        """
        return _pick(self.models, name, "model", "configs/models")

    def companion(self, name: str) -> CompanionConfig:
        """The configuration of the companion called `name`. Raises as `model`."""
        return _pick(self.companions, name, "companion", "configs/models")

    def action_model(self, name: str) -> ActionModelConfig:
        """The configuration of the model of actions called `name`. Raises as `model`."""
        return _pick(self.action_models, name, "model of actions", "configs/models")

    def learned(self, name: str) -> AnyModelConfig:
        """The configuration of whatever is learned under `name`. Raises as `model`."""
        return _pick(self.all_models, name, "model", "configs/models")

    @property
    def all_models(self) -> dict[str, AnyModelConfig]:
        """Whatever is learned, by name."""
        return {**self.models, **self.companions, **self.action_models}


def load_settings(
    workspace: str | None = None, config_dir: Path | None = None, catalogue: Literal["strict", "apart"] = "strict"
) -> Settings:
    """Load every file of `configs/`, and check each one and all of them together.

    With `catalogue="apart"` mistakes in what can be offered, and in what is declared of twins, raise nothing, but stand
    in `catalogue_problems` and `twin_problems`: a service answers all else.

    The workspace is `workspace`, else the environment's TWIN_WORKSPACE, else `default`. The
    profile is the environment's TWIN_PROFILE, else `local`.

    Raises:
        ConfigurationError: with every mistake of every file.
    """
    directory = config_dir or Path(os.environ.get("TWIN_CONFIG_DIR", CHECKOUT / "configs"))
    problems: list[Problem] = []

    def attempt(load: Callable[[], Loaded]) -> Loaded | None:
        try:
            return load()
        except ConfigurationError as error:
            problems.extend(error.problems)
            return None

    profile_name = os.environ.get("TWIN_PROFILE", "local")
    profile = attempt(lambda: load_yaml(directory / "profiles" / f"{profile_name}.yaml", Profile))
    plan = attempt(lambda: load_yaml(directory / "events.yaml", TrackingPlan))
    spec_file = attempt(lambda: load_yaml(directory / "features.yaml", SpecFile))
    features = attempt(lambda: compile_spec(spec_file)) if spec_file else None
    expectations = attempt(lambda: load_yaml(directory / "expectations.yaml", ExpectationsConfig))
    source_files = sorted((directory / "sources").glob("*.yaml"))
    sources = [attempt(partial(_named, path, SourceConfig, "source")) for path in source_files]
    model_files = sorted((directory / "models").glob("*.yaml"))
    models = [attempt(partial(_model, path)) for path in model_files]
    identity = attempt(lambda: load_yaml(directory / "identity.yaml", IdentityConfig))
    consent = attempt(lambda: load_yaml(directory / "consent.yaml", ConsentConfig))
    place = attempt(lambda: _workspace(workspace))
    if problems:
        raise ConfigurationError(problems)
    settings = Settings(
        directory,
        _loaded(profile),
        _loaded(plan),
        _loaded(spec_file),
        _loaded(features),
        _loaded(expectations),
        {source.source: source for source in sources if source},
        {model.name: model for model in models if isinstance(model, ModelConfig)},
        {model.name: model for model in models if isinstance(model, CompanionConfig)},
        {model.name: model for model in models if isinstance(model, ActionModelConfig)},
        None,
        _loaded(identity),
        _loaded(consent),
        _loaded(place),
    )
    check_together(
        settings.tracking_plan,
        settings.features,
        settings.sources,
        settings.all_models,
        settings.expectations,
    )
    check_identity_and_consent(
        settings.sources, settings.identity, settings.consent, settings.tracking_plan, settings.features
    )
    check_slices(settings.models, settings.consent)
    settings = _with_twin(_with_catalogue(settings))
    found = dict.fromkeys((*settings.catalogue_problems, *settings.twin_problems))
    if found and catalogue == "strict":
        raise ConfigurationError(list(found))
    return settings


def _with_catalogue(settings: Settings) -> Settings:
    """The settings with what can be offered now, or with its mistakes."""
    actions = settings.config_dir / "actions.yaml"
    if not actions.exists():
        return settings
    journeys = settings.config_dir / "journeys.yaml"
    try:
        loaded = load_catalogue(actions, journeys, settings.surroundings, time.time_ns() // 1000)
    except ConfigurationError as error:
        return replace(settings, catalogue_problems=error.problems)
    return replace(settings, catalogue=loaded)


def _with_twin(settings: Settings) -> Settings:
    """The settings with what is declared of twins, or with its mistakes."""
    models = (*settings.models, *settings.companions)
    around = TwinSurroundings(settings.surroundings, settings.features, settings.tracking_plan, models)
    try:
        return replace(settings, twin=load_twin(settings.config_dir, around))
    except ConfigurationError as error:
        history = only_history(settings.config_dir, around)
        return replace(settings, twin=history, twin_problems=error.problems)


def _named(path: Path, kind: type[Model], key: str) -> Model:
    """The file's content, which must bear the name of its file: two files of one name would hide each other."""
    return _bears_its_name(path, load_yaml(path, kind), key)


def _model(path: Path) -> AnyModelConfig:
    """A model of a probability, a companion, or a model of actions, as its label says."""
    raw = read_yaml(path)
    label = raw.get("label") if isinstance(raw, dict) else None
    kind = label.get("kind") if isinstance(label, dict) else None
    kinds: dict[object, type[AnyModelConfig]] = {
        "value": CompanionConfig, "next_event": CompanionConfig, "action": ActionModelConfig
    }  # fmt: skip
    asked = kinds.get(kind, ModelConfig)
    return _bears_its_name(path, parse(raw, asked, path.name), "name")


def _bears_its_name(path: Path, content: Model, key: str) -> Model:
    name = getattr(content, key)
    if name != path.stem:
        raise ConfigurationError([Problem(key, f"{path.stem!r}, the name of the file", repr(name), "", path.name)])
    return content


def _loaded(value: Loaded | None) -> Loaded:
    if value is None:
        raise ConfigurationError([Problem("configuration", "a file with content", "an empty one")])
    return value


def _workspace(name: str | None) -> Workspace:
    chosen = name or os.environ.get("TWIN_WORKSPACE") or "default"
    try:
        return Workspace(chosen)
    except ValueError as error:
        raise ConfigurationError([Problem("workspace", str(error), repr(chosen))]) from None


def _pick(table: dict[str, Loaded], name: str, kind: str, folder: str) -> Loaded:
    if name in table:
        return table[name]
    known = ", ".join(sorted(table)) or "none"
    raise ConfigurationError([Problem(kind, f"one of: {known}", repr(name), f"see {folder}/")])
