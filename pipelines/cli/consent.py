"""Commands about consent: what a customer allows, by what, and what they say now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, settings_of

if TYPE_CHECKING:
    from pipelines.identity.consenting import Allowed
    from pipelines.identity.desk import Desk
    from pipelines.identity.vocabulary import Form
    from pipelines.settings import Settings

consent = typer.Typer(help="What customers allow.", no_args_is_help=True)
_Customer = Annotated[str, typer.Argument(help="kind:value, or a user id or customer id alone")]
_Purposes = Annotated[list[str] | None, typer.Option(help="a purpose of consent.yaml; may be given several times")]


def register_commands(app: typer.Typer) -> None:
    app.add_typer(consent, name="consent")


@consent.command("show")
def show_command(context: typer.Context, customer: _Customer, json: AsJson = False) -> None:
    """What holds for a customer, purpose by purpose: their own word, a legal basis, or the default.

    Example: twin consent show 17850
    """
    from pipelines.identity.desk import open_desk
    from pipelines.identity.shown import named

    with open_desk(settings_of(context)) as desk:
        who = named(desk.identity, customer)
        _tell(who, desk.permissions(who), json)


@consent.command("set")
def set_command(
    context: typer.Context,
    customer: _Customer,
    grant: _Purposes = None,
    deny: _Purposes = None,
    note: Annotated[str | None, typer.Option(help="the occasion; not who the person is")] = None,
    json: AsJson = False,
) -> None:
    """Take in what a customer said of their purposes. It holds at the next read, also of a service that runs.

    Example: twin consent set 17850 --grant marketing --deny profiling --note "by phone"
    """
    import time

    from pipelines.access import operating_user
    from pipelines.identity.consenting import Said
    from pipelines.identity.desk import open_desk

    settings = settings_of(context)
    said = {**dict.fromkeys(grant or (), True), **dict.fromkeys(deny or (), False)}
    _check(settings, grant or [], deny or [])
    with open_desk(settings) as desk:
        now = time.time_ns() // 1000
        answer = desk.say(Said(_form(desk, customer), said, now, note), operating_user())
        _tell(answer.customer_id, answer.permissions, json)


def _form(desk: Desk, text: str) -> Form:
    from pipelines.identity.consenting import spoken_for
    from pipelines.identity.manual import parse

    if text.startswith("~"):
        return spoken_for(desk.identity, text)
    return parse(text, list(desk.settings.identity.kinds))


def _check(settings: Settings, grant: list[str], deny: list[str]) -> None:
    """Raises ConfigurationError with every mistake."""
    from feature_repo.configuration import ConfigurationError, Problem

    expected = f"one of: {', '.join(settings.consent.purposes)}"
    given = [("--grant", name) for name in grant] + [("--deny", name) for name in deny]
    problems = [
        Problem(option, expected, repr(name)) for option, name in given if name not in settings.consent.purposes
    ]
    problems += [Problem("--deny", "not what is granted too", repr(name)) for name in deny if name in grant]
    if not given:
        problems.append(Problem("--grant, --deny", "at least one purpose", "none"))
    if problems:
        raise ConfigurationError(problems)


def _tell(customer: str, permissions: list[Allowed], json: bool) -> None:
    told = [_told(item) for item in permissions]
    if json:
        print(as_text({"customer_id": customer, "permissions": told}))
        return
    print(f"customer {customer}")
    for item in told:
        why = {"own_word": f"said so at {item['at']} through {item['source']}", "default": "nobody said so"}
        basis = ", ".join(f"{name} on {legal}" for name, legal in (item["sources"] or {}).items())
        answer = "allowed" if item["allowed"] else "denied"
        print(f"  {item['purpose']:<16} {answer:<8} {why.get(item['by'], f'collected under it: {basis}')}")


def _told(item: Allowed) -> dict[str, Any]:
    from pipelines.cli.output import plain
    from pipelines.events.plan_check import iso

    return {**plain(item), "at": None if item.at is None else iso(item.at)}
