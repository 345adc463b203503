"""The steps of a companion after its dataset, in order, by the names of the commands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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


def key_figures(folder: Path) -> dict[str, Any]:
    """Where everything is, and what a reviewer asks first, from `report.json`."""
    from pipelines.artefacts import REPORT, REPORT_FIGURES, read_json

    figures = read_json(folder / REPORT_FIGURES)
    evaluation = figures["evaluation"]
    keys = ("model", "kind", "verdict_sentences", "models", "gains", "test_rows", "level", "coverage")
    return {
        "report": str(folder / REPORT), "figures": str(folder / REPORT_FIGURES),
        **{key: evaluation[key] for key in keys},
        "top_features": {name: [item["feature"] for item in items[:10]] for name, items in figures["features"].items()},
    }  # fmt: skip
