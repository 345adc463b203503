"""The steps of a model of actions after its dataset, in order, by the names of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.cli.output import Summary
    from pipelines.settings import Settings
    from pipelines.settings.models import ActionModelConfig


def fit(settings: Settings, config: ActionModelConfig) -> Summary:
    from pipelines import next_best_action

    return next_best_action.fit(settings, config)


def compare(settings: Settings, config: ActionModelConfig) -> Summary:
    from pipelines import next_best_action

    return next_best_action.evaluate(settings, config)


def report(settings: Settings, config: ActionModelConfig) -> Summary:
    from feature_repo.words import words_of
    from pipelines.next_best_action.report import report

    meanings = {name: words_of(settings.features, name) for name in settings.features.by_name}
    return report(settings, config, meanings)


def publish(settings: Settings, config: ActionModelConfig) -> Summary:
    from pipelines import next_best_action
    from pipelines.register import export_champion

    registration = next_best_action.register(settings, config)
    if registration.is_champion:
        # A service that runs takes it from there.
        export_champion(settings, config)
    return registration


STEPS = {"fit": fit, "evaluate": compare, "explain": report, "register": publish}


def key_figures(folder: Path) -> dict[str, Any]:
    """Where everything is, and what a reviewer asks first, from `evaluation.json`."""
    from pipelines.artefacts import EVALUATION, REPORT, REPORT_FIGURES, read_json

    evaluation = read_json(folder / EVALUATION)
    keys = ("model", "learner", "actions", "randomised", "recommendation", "verdict_sentences", "policies", "gains")
    places = {"evaluation": EVALUATION, "report": REPORT, "figures": REPORT_FIGURES}
    there = {name: str(folder / file) for name, file in places.items() if (folder / file).exists()}
    return {**there, **{key: evaluation[key] for key in keys}}
