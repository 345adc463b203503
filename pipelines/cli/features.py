"""Commands about features: the list, Feast's registry, and the states of the online store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.feature_audit import audit_command
from pipelines.cli.feature_list import list_command
from pipelines.cli.output import AsJson, settings_of, tell

if TYPE_CHECKING:
    from pipelines.settings import Settings

features = typer.Typer(help="Features: what they mean, and Feast's registry.", no_args_is_help=True)
state = typer.Typer(help="The state of every customer, which the online store reads.", no_args_is_help=True)


def register_commands(app: typer.Typer) -> None:
    features.command("list")(list_command)
    features.command("audit")(audit_command)
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
    """Move what arrived live into the lake, then fold all events into one state per customer.

    Live events wait meanwhile: a row that no state has yet must not leave the journal before it is folded.

    Raises:
        UserError: the workspace has no events.
    """
    from feature_repo.state.build import build_states, count_events
    from feature_repo.state.storage import SQLiteStateStorage
    from pipelines.console import progress
    from pipelines.events.compaction import compact
    from pipelines.events.live_states import building
    from pipelines.events.opening import event_store
    from pipelines.identity.current import current_membership

    workspace = settings.workspace
    _check_has_events(settings)
    with event_store(settings) as store, building(workspace.state_lock):
        membership = current_membership(settings)
        moved = compact(workspace.lake, store.journal).moved
        now = store.snapshot()
        total = float(count_events(workspace.lake, now.version, now.tail, membership))
        with progress("Building states", total) as advance:
            storage = SQLiteStateStorage(workspace.state)
            built = build_states(settings.features, workspace.lake, storage, now.version, advance, now.tail, membership)
    return StateSummary(built.customers, built.events, moved, built.spec_hash, str(workspace.state))


def _check_has_events(settings: Settings) -> None:
    from feature_repo.configuration import Problem
    from pipelines.console import UserError
    from pipelines.events.opening import may_have_journal

    workspace = settings.workspace
    if not (workspace.lake.exists() or may_have_journal(settings)):
        hint = "ingest a file first, or name another workspace: twin --workspace NAME ..."
        raise UserError(
            f"Workspace {workspace.name!r} has no events.",
            [Problem("lake", "a table of events", "nothing there", hint)],
        )


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
    customer: Annotated[list[str] | None, typer.Option(help="only of this user id's; may be repeated")] = None,
    json: AsJson = False,
) -> None:
    """Move live events into the lake, and build the state of every customer anew from all events.

    Live events are answered 503 meanwhile, and are to come again. With --customer events stay where they are.

    Example: twin state rebuild --customer 17850 --customer 13047
    """
    settings = settings_of(context)
    if not customer:
        tell(build_state(settings), json)
        return
    from pipelines.events.rebuild import rebuild_customers

    _check_has_events(settings)
    tell(rebuild_customers(settings, customer), json)
