"""Commands about features: the list, Feast's registry, and the states of the online store."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.feature_audit import audit_command
from pipelines.cli.feature_list import list_command
from pipelines.cli.output import AsJson, settings_of, tell
from pipelines.state_build import build_state, check_has_events

features = typer.Typer(help="Features: what they mean, and Feast's registry.", no_args_is_help=True)
state = typer.Typer(help="The state of every customer, which the online store reads.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    features.command("list")(list_command)
    features.command("audit")(audit_command)
    app.add_typer(features, name="features")
    app.add_typer(state, name="state")


@features.command("apply")
def apply_command(context: typer.Context) -> None:
    """Register the features with Feast.

    Example: twin features apply
    """
    from pipelines.feature_store import apply_features

    settings = settings_of(context)
    store = apply_features(settings)
    views, services = store.list_batch_feature_views(), store.list_feature_services()
    print(f"Feast: {len(views)} feature views, {len(services)} services (spec {settings.features.hash})")
    print(f"  {settings.workspace.root / 'feature_store.yaml'}")


@state.command("rebuild")
def rebuild_command(
    context: typer.Context,
    spec: Annotated[str | None, typer.Option(help="only of this version: see twin features versions")] = None,
    customer: Annotated[list[str] | None, typer.Option(help="only of this user id's; may be repeated")] = None,
    json: AsJson = False,
) -> None:
    """Build the state of every customer anew from all events, and move live events into the lake.

    States are built of the current features, and of those that a champion in service reads. Live events are
    answered 503 meanwhile, and are to come again. With --customer events stay where they are.

    Example: twin state rebuild --customer 17850 --customer 13047
    """
    settings = settings_of(context)
    if not customer:
        tell(build_state(settings, spec), json)
        return
    if spec is not None:
        raise typer.BadParameter("a customer is rebuilt for all versions at once: leave out --spec")
    from pipelines.events.rebuild import rebuild_customers

    check_has_events(settings)
    tell(rebuild_customers(settings, customer), json)
