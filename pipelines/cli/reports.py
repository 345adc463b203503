"""The command that shows what a reviewer reads."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli import companions, next_best_action
from pipelines.cli.model_steps import CHURN
from pipelines.cli.output import AsJson, ModelName, as_text, settings_of
from pipelines.console import UserError

if TYPE_CHECKING:
    from pipelines.settings import Settings


def register_commands(app: typer.Typer) -> None:
    app.command("report")(report_command)


def report_command(
    context: typer.Context,
    model: ModelName = CHURN,
    open_page: Annotated[bool, typer.Option("--open", help="open it in a browser")] = False,
    json: AsJson = False,
) -> None:
    """Say where the reviewer's report and the model card are, and open the report.

    Example: twin report churn --open
    """
    from pipelines.artefacts import MODEL_CARD, REPORT

    settings = settings_of(context)
    folder = settings.workspace.artefacts(settings.learned(model).name)
    path = folder / REPORT
    if not path.exists():
        raise UserError(f"there is no report of {model} yet: twin --workspace {settings.workspace.name} train {model}")
    if json:
        print(as_text(_key_figures_of(settings, model)(folder)))
    else:
        print(path)
        if (folder / MODEL_CARD).exists():
            print(folder / MODEL_CARD)
    if open_page:
        webbrowser.open(path.as_uri())


def _key_figures_of(settings: Settings, model: str) -> Callable[[Path], dict[str, Any]]:
    if model in settings.action_models:
        return next_best_action.key_figures
    return _key_figures if model in settings.models else companions.key_figures


def _key_figures(folder: Path) -> dict[str, Any]:
    """Where everything is, and what a reviewer asks first, from `report.json`."""
    from pipelines.artefacts import MODEL_CARD, REPORT, REPORT_FIGURES, read_json

    figures = read_json(folder / REPORT_FIGURES)
    keys = ("model", "answers", "rates", "worst_additivity_gap", "rows_explained", "rows_available")
    stable = figures["stability"] or {}
    return {
        "report": str(folder / REPORT), "figures": str(folder / REPORT_FIGURES), "card": str(folder / MODEL_CARD),
        **{key: figures[key] for key in keys},
        "stability": {key: stable.get(key) for key in ("seeds", "folds", "time")},
        "top_features": [item["feature"] for item in figures["importances"][:10]],
    }  # fmt: skip
