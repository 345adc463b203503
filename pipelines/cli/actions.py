"""Commands about what can be offered: the actions in words, and a check before a file is put in place."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, as_text, settings_of, tell

actions = typer.Typer(help="Actions: what can be offered, and under which conditions.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(actions, name="actions")


@actions.command("list")
def list_command(context: typer.Context, json: AsJson = False) -> None:
    """Every action in words: channel, cost, value, who is eligible, caps, quiet hours, variants.

    Example: twin actions list
    """
    from pipelines.catalogue.words import in_words
    from pipelines.console import UserError

    settings = settings_of(context)
    catalogue = settings.checked_catalogue()
    if catalogue is None:
        raise UserError(f"There is no action to list: {settings.config_dir / 'actions.yaml'} is missing.")
    tell(in_words(catalogue, settings.tracking_plan.currencies[catalogue.currency]), json)


@actions.command("check")
def check_command(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="a catalogue of actions [default: that of the configuration]")
    ] = None,
    json: AsJson = False,
) -> None:
    """Hold a catalogue of actions against the rest of the configuration, before it is put in place.

    Every mistake is told at once, and the command ends with 2; journeys.yaml is that of the configuration.

    Example: twin actions check actions-of-march.yaml
    """
    import time

    from feature_repo.configuration import ConfigurationError
    from pipelines.cli.output import Choice
    from pipelines.settings import load_settings
    from pipelines.settings.catalogue import load_catalogue

    choice: Choice = context.obj
    settings = load_settings(choice.workspace, catalogue="apart")
    asked = file or settings.config_dir / "actions.yaml"
    journeys = settings.config_dir / "journeys.yaml"
    try:
        catalogue = load_catalogue(asked, journeys, settings.surroundings, time.time_ns() // 1000)
    except ConfigurationError as error:
        if not json:
            raise
        print(as_text({"good": False, "problems": [asdict(problem) for problem in error.problems]}))
        sys.exit(2)
    if json:
        print(as_text({"good": True, "hash": catalogue.hash, "actions": [action.id for action in catalogue.actions]}))
    else:
        print(f"{asked.name} is good: {len(catalogue.actions)} actions, catalogue {catalogue.hash}")
