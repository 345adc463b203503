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


def publish(settings: Settings, config: ActionModelConfig) -> Summary:
    from pipelines import next_best_action
    from pipelines.register import export_champion

    registration = next_best_action.register(settings, config)
    if registration.is_champion:
        # A service that runs takes it from there.
        export_champion(settings, config)
    return registration


STEPS = {"fit": fit, "evaluate": compare, "register": publish}


def key_figures(folder: Path) -> dict[str, Any]:
    """Where everything is, and what a reviewer asks first, from `evaluation.json`."""
    from pipelines.artefacts import EVALUATION, read_json

    evaluation = read_json(folder / EVALUATION)
    keys = ("model", "learner", "actions", "randomised", "recommendation", "verdict_sentences", "policies", "gains")
    return {"evaluation": str(folder / EVALUATION), **{key: evaluation[key] for key in keys}}
