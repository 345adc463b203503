"""Commands about labels: what a model's rule gives, before a dataset is made."""

from __future__ import annotations

import typer

from pipelines.cli.output import AsJson, ModelName, settings_of, tell

labels = typer.Typer(help="Labels: who is predicted for, and what is to come true.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(labels, name="labels")


@labels.callback()
def group() -> None:
    """Labels: who is predicted for, and what is to come true."""


@labels.command("explain")
def explain_command(context: typer.Context, model: ModelName, json: AsJson = False) -> None:
    """The label rule of a model in words, how many are positive over time, who is left out, and what to beware of.

    Of a model of actions: who got which action, with which chance, and what came of it.

    Example: twin labels explain churn
    """
    from pipelines.dataset import action_overview, label_overview
    from pipelines.settings.models import ActionModelConfig

    settings = settings_of(context)
    config = settings.learned(model)
    if isinstance(config, ActionModelConfig):
        tell(action_overview(settings, config), json)
    else:
        tell(label_overview(settings, config), json)
