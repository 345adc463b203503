"""`twin predictions`: what was served, looked up, made again, and held against what happened."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.output import AsJson, ModelName, settings_of, tell

predictions = typer.Typer(help="Served predictions: look up, make again, judge by outcomes.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(predictions, name="predictions")


@predictions.callback()
def group() -> None:
    """Served predictions: look up, make again, judge by outcomes."""


@predictions.command("list")
def list_command(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option(help="any id that the customer ever had")] = None,
    model: Annotated[str | None, typer.Option(help="only of this model")] = None,
    since: Annotated[str | None, typer.Option(metavar="INSTANT", help="served then or later, ISO 8601, UTC")] = None,
    until: Annotated[str | None, typer.Option(metavar="INSTANT", help="served before, ISO 8601, UTC")] = None,
    limit: Annotated[int, typer.Option(min=1, help="how many at most, the newest first")] = 50,
    json: AsJson = False,
) -> None:
    """The newest logged predictions, also of a service that runs.

    Example: twin predictions list --customer C000001 --since 2026-06-01
    """
    from pipelines.predictions.query import Wanted, ids_of, instant, list_predictions

    settings = settings_of(context)
    begin, end = (None if text is None else instant(text, f"--{name}") for name, text in
                  (("since", since), ("until", until)))  # fmt: skip
    ids = None if customer is None else ids_of(settings, customer)
    tell(list_predictions(settings, Wanted(ids, model, begin, end), limit), json)


@predictions.command("show")
def show_command(
    context: typer.Context,
    request_id: Annotated[str, typer.Argument(help="the `request_id` of an answer")],
    json: AsJson = False,
) -> None:
    """All that one request was answered, and from what.

    Example: twin predictions show 0f8b2c
    """
    from pipelines.predictions.query import show_prediction

    tell(show_prediction(settings_of(context), request_id), json)


@predictions.command("replay")
def replay_command(
    context: typer.Context,
    sample: Annotated[int | None, typer.Option(min=1, help="only so many, drawn at random [default: all]")] = None,
    seed: Annotated[int, typer.Option(help="draws another sample")] = 0,
    json: AsJson = False,
) -> None:
    """Make logged predictions again, from the events and by the version that answered; print every difference.

    The exit code is 1 if there is one, or contributions do not add up to their score.

    Example: twin predictions replay --sample 1000
    """
    from pipelines.predictions.replay import replay_predictions

    done = replay_predictions(settings_of(context), sample, seed)
    tell(done, json)
    if not done.passed:
        raise typer.Exit(1)


@predictions.command("outcomes")
def outcomes_command(context: typer.Context, model: ModelName, json: AsJson = False) -> None:
    """Served predictions of a model against what happened, where the horizon of its label has passed.

    Of each customer the first prediction of each day counts (UTC, by its as-of instant).

    Example: twin predictions outcomes churn
    """
    from pipelines.predictions.outcomes import outcomes_of

    tell(outcomes_of(settings_of(context), model), json)


@predictions.command("shadow")
def shadow_command(
    context: typer.Context,
    model: ModelName,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="the probability from which one acts")] = 0.5,
    json: AsJson = False,
) -> None:
    """A champion against those who answered in its shadow, over the same logged predictions.

    Example: twin predictions shadow churn --threshold 0.3
    """
    from pipelines.predictions.shadow import compare_shadows

    tell(compare_shadows(settings_of(context), model, threshold), json)
