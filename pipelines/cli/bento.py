"""The command that packs the service for another machine."""

from __future__ import annotations

import typer

from pipelines.cli.output import AsJson, settings_of, tell


def register_commands(app: typer.Typer) -> None:
    app.command("bento")(bento_command)


def bento_command(context: typer.Context, json: AsJson = False) -> None:
    """Build a Bento of the service and the workspace's champions, which serves on a machine without this checkout.

    Example: twin --workspace demo bento
    """
    from pipelines.bento import build_bento
    from pipelines.cli.service import export_champions

    settings = settings_of(context)
    export_champions(settings)
    tell(build_bento(settings), json)
