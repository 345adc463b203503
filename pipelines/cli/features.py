"""Commands about features: the list, Feast's registry, and the states of the online store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, settings_of, tell
from pipelines.state_build import build_state

if TYPE_CHECKING:
    from feature_repo.spec import FeatureSpec, View

features = typer.Typer(help="Features: what they mean, and Feast's registry.", no_args_is_help=True)
state = typer.Typer(help="The state of every customer, which the online store reads.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(features, name="features")
    app.add_typer(state, name="state")


@features.command("list")
def list_command(
    context: typer.Context,
    service: Annotated[str | None, typer.Option(help="only what this model reads")] = None,
    json: AsJson = False,
) -> None:
    """Every feature with its meaning in words, its view, owner, and the services that read it.

    Example: twin features list --service churn
    """
    spec = settings_of(context).features
    rows = [row for view in spec.views for row in _rows(spec, view) if service is None or service in row["services"]]
    if json:
        print(as_text(rows))
        return
    for row in rows:
        readers = "+".join(row["services"]) or "no model"
        print(f"{row['name']:<62} {row['meaning']}  [{row['view']}, {row['owner']}, {readers}]")
    print(f"{len(rows)} features, spec {spec.hash}")


def _rows(spec: FeatureSpec, view: View) -> Iterator[dict[str, Any]]:
    from feature_repo.words import words_of

    for feature in view.features:
        readers = [name for name, service in spec.services.items() if feature in service.features]
        meaning = words_of(spec, feature.name)
        yield {"name": feature.name, "meaning": meaning, "view": view.name, "owner": view.owner, "services": readers}


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


@state.command("build")
def build_command(
    context: typer.Context,
    spec: Annotated[str | None, typer.Option(help="only of this version: see twin features versions")] = None,
    json: AsJson = False,
) -> None:
    """Move live events into the lake, and build the state of every customer from all events.

    States are built of the current features, and of those that a champion in service reads.

    Example: twin state build
    """
    tell(build_state(settings_of(context), spec), json)
