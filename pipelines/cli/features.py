"""Commands about features: the list, Feast's registry, and the states of the online store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.output import AsJson, as_text, settings_of, tell

if TYPE_CHECKING:
    from feature_repo.spec import FeatureSpec, View
    from pipelines.settings import Settings

features = typer.Typer(help="Features: what they mean, and Feast's registry.", no_args_is_help=True)
state = typer.Typer(help="The state of every customer, which the online store reads.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    app.add_typer(features, name="features")
    app.add_typer(state, name="state")


@dataclass(frozen=True, slots=True)
class StateSummary:
    """States built from all events."""

    customers: int
    events: int
    moved: int
    spec_hash: str
    path: str

    def text(self) -> str:
        """The summary for a person."""
        built = f"States of {self.customers:,} customers from {self.events:,} events (spec {self.spec_hash})"
        moved = [f"  {self.moved:,} events that arrived live were moved into the lake"] if self.moved else []
        return "\n".join([built, *moved, f"  {self.path}"])


def build_state(settings: Settings) -> StateSummary:
    """Fold all events into one state per customer, then move what arrived live into the lake.

    Live events wait meanwhile: a row that no state has yet must not leave the journal before it is folded.

    Raises:
        UserError: the workspace has no events.
        StateUnavailable: the states cannot be stored.
    """
    from feature_repo.configuration import Problem
    from feature_repo.state.build import build_states, count_events
    from pipelines.console import UserError, progress
    from pipelines.events.compaction import compact
    from pipelines.events.live_states import building
    from pipelines.events.opening import event_store, may_have_journal, open_states
    from pipelines.events.state_builds import remember_build
    from pipelines.identity.current import current_membership

    workspace = settings.workspace
    if not (workspace.lake.exists() or may_have_journal(settings)):
        hint = "ingest a file first, or name another workspace: twin --workspace NAME ..."
        raise UserError(
            f"Workspace {workspace.name!r} has no events.",
            [Problem("lake", "a table of events", "nothing there", hint)],
        )
    with event_store(settings) as store, building(workspace.state_lock):
        membership = current_membership(settings)
        now = store.snapshot()
        total = float(count_events(workspace.lake, now.version, now.tail, membership))
        with progress("Building states", total) as advance:
            built = build_states(
                settings.features, workspace.lake, open_states(settings), now.version, advance, now.tail, membership,
                now.position, lambda build: remember_build(workspace.state_builds, settings.features.hash, build),
            )  # fmt: skip
        moved = compact(workspace.lake, store.journal, now.position).moved
    return StateSummary(built.customers, built.events, moved, built.spec_hash, _place(settings))


def _place(settings: Settings) -> str:
    backend = settings.profile.online_store
    return str(settings.workspace.state) if backend == "sqlite" else f"{backend}, workspace {settings.workspace.name}"


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
def build_command(context: typer.Context, json: AsJson = False) -> None:
    """Move live events into the lake, and build the state of every customer from all events.

    Example: twin state build
    """
    tell(build_state(settings_of(context)), json)
