"""Commands about one customer: their twin, now or at any past instant, and their timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.cli.output import AsJson, as_text, settings_of

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.twin.rules import Section
    from pipelines.twin.timeline import Place

_Customer = Annotated[str, typer.Argument(help="kind:value, or a user id or customer id alone")]


def register_commands(app: typer.Typer) -> None:
    app.command("show")(show_command)
    app.command("timeline")(timeline_command)


def show_command(
    context: typer.Context,
    customer: _Customer,
    as_of: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="ISO 8601 with its zone [default: the profile's now]")
    ] = None,
    view: Annotated[str | None, typer.Option(help="what one team sees, of configs/views.yaml [default: all]")] = None,
    json: AsJson = False,
) -> None:
    """One customer: where they stand and what moved them, how it went, who they behave like, what to act on.

    It is read from the events, so no service need run; what models foresee is asked of one. Persons are masked.

    Example: twin show 17850 --as-of 2011-06-01T12:00:00Z --view marketing
    """
    from pipelines.twin.words import lines_of
    from pipelines.twin.workspace import show

    settings = settings_of(context)
    shown = show(settings, customer, _instant(as_of), _sections(settings, view))
    print(as_text({**shown, "view": view}) if json else "\n".join(lines_of(shown)))


def timeline_command(
    context: typer.Context,
    customer: _Customer,
    before: Annotated[str | None, typer.Option(help="go on where a page ended, as it says itself")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="how many events")] = 50,
    event: Annotated[list[str] | None, typer.Option(help="only events of this name; may be repeated")] = None,
    json: AsJson = False,
) -> None:
    """Every event of one customer from every source, the newest first. Persons are masked.

    Example: twin timeline 17850 --event "Order Completed" --limit 10
    """
    from pipelines.twin.words import timeline_lines
    from pipelines.twin.workspace import timeline

    page = timeline(settings_of(context), customer, _place(before), limit, event)
    print(as_text(page) if json else "\n".join(timeline_lines(page)))


def _instant(text: str | None) -> int | None:
    from pipelines.twin.instants import AN_INSTANT, read_instant

    if text is None:
        return None
    try:
        return read_instant(text)
    except ValueError as error:
        raise ConfigurationError([Problem("--as-of", AN_INSTANT, str(error))]) from None


def _sections(settings: Settings, view: str | None) -> tuple[Section, ...]:
    from pipelines.twin.rules import Section

    if settings.twin_problems:
        raise ConfigurationError(settings.twin_problems)
    views = settings.twin.views
    if view is None:
        return get_args(Section)
    if view not in views:
        raise ConfigurationError([Problem("--view", f"one of: {', '.join(views) or 'none'}", repr(view))])
    return views[view].sections


def _place(text: str | None) -> Place | None:
    from pipelines.twin.timeline import decode

    place = None if text is None else decode(text)
    if text is not None and place is None:
        raise ConfigurationError([Problem("--before", "what a page said", "another text")])
    return place
