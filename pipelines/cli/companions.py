"""The steps of a companion after its dataset, in order, by the names of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.cli.output import Summary
    from pipelines.settings import Settings
    from pipelines.settings.models import CompanionConfig


def fit(settings: Settings, config: CompanionConfig) -> Summary:
    from pipelines import companions

    return companions.fit(settings, config)


def compare(settings: Settings, config: CompanionConfig) -> Summary:
    from pipelines import companions

    return companions.evaluate(settings, config)


def report(settings: Settings, config: CompanionConfig) -> Summary:
    from feature_repo.words import words_of
    from pipelines import companions

    meanings = {name: words_of(settings.features, name) for name in settings.features.by_name}
    return companions.report(settings, config, meanings)


def publish(settings: Settings, config: CompanionConfig) -> Summary:
    from pipelines import companions

    return companions.register(settings, config)


STEPS = {"fit": fit, "evaluate": compare, "explain": report, "register": publish}
