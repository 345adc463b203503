"""Commands about which version of a model is served or tried: make one champion, take that back, and who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.output import AsJson, settings_of, tell

Name = Annotated[str, typer.Argument(help="a file of configs/models, without .yaml")]
Reason = Annotated[str, typer.Option(help="why; it is kept in MLflow and in the audit log, and must not name a person")]


def register_commands(app: typer.Typer) -> None:
    app.command("promote")(promote_command)
    app.command("challenge")(challenge_command)
    app.command("rollback")(rollback_command)
    app.command("history")(history_command)


def promote_command(
    context: typer.Context,
    model: Name,
    version: Annotated[str, typer.Argument(help="of the registry, as twin history lists them")],
    reason: Reason = "",
    despite_gates: Annotated[bool, typer.Option("--despite-gates", help="also a version that failed gates")] = False,
    json: AsJson = False,
) -> None:
    """Make a registered version champion; a running service takes it up.

    Example: twin promote churn 3 --reason "agreed in the review of 3 March"
    """
    from pipelines.register import promote

    settings = settings_of(context)
    tell(promote(settings, settings.learned(model), version, reason, despite_gates), json)


def challenge_command(
    context: typer.Context,
    model: Name,
    version: Annotated[str | None, typer.Option(help="of the registry, as twin history lists them")] = None,
    none: Annotated[bool, typer.Option("--none", help="no version any more")] = False,
    reason: Reason = "",
    json: AsJson = False,
) -> None:
    """Have a version answer in the champion's shadow: its scores are logged, and nobody is told.

    Example: twin challenge churn --version 4 --reason "to be compared until June"
    """
    from pipelines.register import challenge

    if (version is None) != none:
        raise typer.BadParameter("say either --version N or --none")
    settings = settings_of(context)
    tell(challenge(settings, settings.learned(model), version, reason), json)


def rollback_command(context: typer.Context, model: Name, reason: Reason = "", json: AsJson = False) -> None:
    """Go back to the champion before the present one; again, to the one before that.

    Example: twin rollback churn --reason "too many wrong alarms"
    """
    from pipelines.register import rollback

    settings = settings_of(context)
    tell(rollback(settings, settings.learned(model), reason), json)


def history_command(context: typer.Context, model: Name, json: AsJson = False) -> None:
    """Versions of a model with their gates, and who moved which alias when and why.

    Example: twin history churn
    """
    from pipelines.register import history

    settings = settings_of(context)
    tell(history(settings, settings.learned(model)), json)
