"""The `twin` command. Each command imports what it needs when it runs, so that `--help` answers at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from feature_repo.configuration import ConfigurationError
from feature_repo.state.storage import StateUnavailable
from pipelines.cli import (
    access,
    actions,
    consent,
    data,
    decide,
    demo,
    features,
    identity,
    labels,
    models,
    ope,
    outbox,
    privacy,
    promotion,
    reports,
    service,
    twin,
    versions,
)
from pipelines.cli.output import Choice
from pipelines.console import UserError, storage_failure

app = typer.Typer(
    name="twin",
    help="A digital twin of every customer: events, features, models and predictions.\n\n"
    "Begin with: twin --workspace demo demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for module in (
    data,
    features,
    versions,
    identity,
    consent,
    actions,
    labels,
    models,
    reports,
    promotion,
    ope,
    service,
    decide,
    twin,
    access,
    privacy,
    outbox,
    demo,
):
    module.register_commands(app)

FAILED, MISUSED = 1, 2


@app.callback()
def choose(
    context: typer.Context,
    workspace: Annotated[
        str | None,
        typer.Option("--workspace", "-w", envvar="TWIN_WORKSPACE", help="customer base to work on [default: default]"),
    ] = None,
) -> None:
    """Commands work on one workspace: a customer base with its own lake, state, models and reports."""
    context.obj = Choice(workspace)


def main() -> None:
    """Run the command line; a mistake of the user is told without a stack trace."""
    try:
        app()
    except (UserError, ConfigurationError, StateUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(MISUSED if isinstance(error, ConfigurationError) else FAILED)
    except KeyboardInterrupt:
        print("stopped; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        told = storage_failure(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(FAILED)
