"""What each step of a model is called with, in order. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.cli import companions, next_best_action

if TYPE_CHECKING:
    from pandas import DataFrame

    from pipelines.cli.output import Summary
    from pipelines.settings import AnyModelConfig, Settings
    from pipelines.settings.models import ModelConfig

CHURN = "churn"


def make_dataset(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.dataset import build_dataset
    from pipelines.feature_store import open_feature_store
    from pipelines.spec_versions import SpecVersions

    # The model that is made of it is registered with what its features are, also if they are changed meanwhile.
    SpecVersions(settings.workspace.specs).remember(settings.features.hash, settings.spec_file)
    return build_dataset(settings, config, open_feature_store(settings))


def search(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.tracking import champion_if_there
    from pipelines.tune import tune

    present = champion_if_there(settings, config)
    params = present.manifest.get("params") if present else None  # a linear one has none
    return tune(settings, config, also_try=[params] if params else [])


def fit(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.train import train

    return train(settings, config)


def compare(settings: Settings, config: ModelConfig) -> Summary:
    return evaluate_against(settings, config, truth=None)


def evaluate_against(settings: Settings, config: ModelConfig, truth: DataFrame | None) -> Summary:
    """The evaluation, and what is true beside it where `truth` says it."""
    from pipelines.evaluate import evaluate
    from pipelines.identity.consent_groups import consent_groups
    from pipelines.tracking import champion_if_there

    present = champion_if_there(settings, config)
    purposes = {cut.consent for cut in config.slices if cut.consent is not None}
    consent = {purpose: consent_groups(settings, purpose) for purpose in sorted(purposes)}
    return evaluate(
        settings, config, present.file if present else None, present.inputs if present else None, consent, truth
    )


def doubt(settings: Settings, config: ModelConfig) -> Summary:
    from pipelines.dataset.again import DatasetAgain
    from pipelines.feature_store import open_feature_store
    from pipelines.leakage import look_for_leakage

    return look_for_leakage(settings, config, DatasetAgain(settings, config, open_feature_store(settings)))


def take_away(settings: Settings, config: ModelConfig, rows: int | None = None) -> Summary:
    from pipelines.ablation import take_apart

    return take_apart(settings, config, rows)


def report(settings: Settings, config: ModelConfig) -> Summary:
    from feature_repo.words import words_of
    from pipelines.explain import explain

    meanings = {name: words_of(settings.features, name) for name in settings.features.by_name}
    return explain(settings, config, meanings)


def publish(settings: Settings, config: ModelConfig, name: str | None = None) -> Summary:
    from pipelines.register import TUNED, export_challenger, export_champion, register

    registration = register(settings, config, name=name or TUNED)
    if registration.is_champion:
        # A service that runs takes it from there.
        export_champion(settings, config)
    elif config.name in settings.models:
        export_challenger(settings, config)
    return registration


STEPS = {
    "dataset": make_dataset,
    "tune": search,
    "fit": fit,
    "evaluate": compare,
    "leakage": doubt,
    "ablation": take_away,
    "explain": report,
    "register": publish,
}


def steps_of(config: AnyModelConfig) -> dict[str, Callable[..., Summary]]:
    """What is done to make it, in order, by the names of the commands."""
    from pipelines.settings.models import ActionModelConfig, CompanionConfig

    if isinstance(config, ActionModelConfig):
        return {"dataset": make_dataset, **next_best_action.STEPS}
    return {"dataset": make_dataset, **companions.STEPS} if isinstance(config, CompanionConfig) else {**STEPS}
