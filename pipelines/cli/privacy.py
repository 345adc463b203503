"""Commands for a data subject's rights: access and erasure."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import AsJson, as_text, plain, settings_of, tell

privacy = typer.Typer(help="A customer's rights: access to all that is held, and erasure.", no_args_is_help=True)

Customer = Annotated[str, typer.Argument(help="any user id of theirs, or another identifier with --kind")]
Kind = Annotated[str | None, typer.Option(help="what CUSTOMER is, such as email or phone [default: a user id]")]


def register_commands(app: typer.Typer) -> None:
    app.add_typer(privacy, name="privacy")


@privacy.command("access")
def access_command(
    context: typer.Context,
    customer: Customer,
    kind: Kind = None,
    reason: Annotated[str, typer.Option(help="why, for the audit log; it may name nobody")] = "",
    output: Annotated[Path | None, typer.Option(help="write all of it to this file, as JSON, for you alone")] = None,
    json: AsJson = False,
) -> None:
    """All that is held about a customer, in the clear, and every use of it. Audited.

    Example: twin privacy access somchai@example.com --kind email --output somchai.json
    """
    from pipelines.access import operating_user
    from pipelines.privacy.report import access_report

    report = access_report(settings_of(context), customer, kind, actor=operating_user(), reason=reason)
    if output is not None:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(as_text(plain(report)) + "\n")
    tell(report, json)


@privacy.command("erase")
def erase_command(
    context: typer.Context,
    customer: Customer,
    reason: Annotated[str, typer.Option(help="why, for the audit log; it may name nobody")],
    kind: Kind = None,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    json: AsJson = False,
) -> None:
    """Remove everything that is held about a customer, for ever, and search every file for what is left. Audited.

    Run again after a failure, it goes on. Fails where the search finds something.

    Example: twin privacy erase C000123 --reason "request of 3 March, case 4711"
    """
    from pipelines.access import operating_user
    from pipelines.privacy.erase import erase, finish_erasure, plan_erasure, unfinished_is_of

    settings = settings_of(context)
    was_begun = unfinished_is_of(settings, customer)
    report = finish_erasure(settings)
    if report is not None:
        print("an erasure that was begun before is finished", file=sys.stderr)
    if report is None or not was_begun:
        if not yes:
            _confirm(plan_erasure(settings, customer, kind).text(), customer)
        report = erase(settings, customer, kind, reason=reason, actor=operating_user())
    tell(report, json)
    if report.found:
        raise typer.Exit(1)


def _confirm(plan: str, customer: str) -> None:
    """Raises UserError where the answer is not the customer, letter by letter."""
    from pipelines.console import UserError

    print(f"{plan}\nType {customer} to erase them: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().rstrip("\n") != customer:
        raise UserError("nothing was erased: the answer was another")
