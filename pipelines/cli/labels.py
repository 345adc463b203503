"""Commands about labels: what a model's rule gives, before a dataset is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from pipelines.cli.output import AsJson, ModelName, settings_of, tell

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.settings.models import CompanionConfig, ModelConfig

labels = typer.Typer(help="Labels: who is predicted for, and what is to come true.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(labels, name="labels")


@labels.callback()
def group() -> None:
    """Labels: who is predicted for, and what is to come true."""


@labels.command("explain")
def explain_command(context: typer.Context, model: ModelName, json: AsJson = False) -> None:
    """The label rule of a model in words, how many are positive over time, who is left out, and what to beware of.

    Example: twin labels explain churn
    """
    from pipelines.dataset import label_overview

    settings = settings_of(context)
    tell(label_overview(settings, _learned(settings, model)), json)


def _learned(settings: Settings, name: str) -> ModelConfig | CompanionConfig:
    return settings.companions[name] if name in settings.companions else settings.model(name)
