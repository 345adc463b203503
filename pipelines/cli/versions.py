"""The command about versions of the feature spec."""

from __future__ import annotations

import typer

from pipelines.cli.features import features
from pipelines.cli.output import AsJson, settings_of, tell


def register_commands(app: typer.Typer) -> None:
    features.command("versions")(versions_command)


def versions_command(context: typer.Context, json: AsJson = False) -> None:
    """Every version of the features that was seen: who uses it, its states, and how it differs from the current one.

    Example: twin features versions
    """
    from pipelines.spec_listing import list_specs

    tell(list_specs(settings_of(context)), json)
