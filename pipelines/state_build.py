"""Build the states of all customers from all events, for every version of the feature spec that is in use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from feature_repo.configuration import Problem
from feature_repo.spec import FeatureSpec
from pipelines.console import UserError, progress
from pipelines.events.opening import event_store, may_have_journal, moments_key, open_moments, open_states
from pipelines.events.spec_removal import champions_have_states, remove_unused
from pipelines.events.specs_in_use import find_spec, users_of_specs
from pipelines.events.state_lock import StatesBusy
from pipelines.model_store import stored_models
from pipelines.settings import Settings
from pipelines.spec_versions import SpecVersions

if TYPE_CHECKING:
    from feature_repo.membership import Membership
    from feature_repo.state.build import BuildSummary
    from feature_repo.state.storage import StateStorage
    from pipelines.events.store import EventStore, Snapshot


@dataclass(frozen=True, slots=True)
class StateSummary:
    """States built from all events: of one spec, and of `others` that are in use beside it.

    `removed` are specs that nobody uses any more, `unknown` those in use whose content stands nowhere.
    """

    customers: int
    events: int
    moved: int
    spec_hash: str
    path: str
    others: tuple[BuildSummary, ...] = ()
    removed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"States of {self.customers:,} customers from {self.events:,} events (spec {self.spec_hash})"]
        lines += [f"  and of {other.customers:,} for spec {other.spec_hash}, in use as well" for other in self.others]
        lines += [f"  removed: the states of spec {spec}, which nobody uses any more" for spec in self.removed]
        lines += [
            f"  not built: spec {spec}, whose content is not known here; train and register its model again"
            for spec in self.unknown
        ]
        if self.moved:
            lines.append(f"  {self.moved:,} events that arrived live were moved into the lake")
        return "\n".join([*lines, f"  {self.path}"])


def build_state(settings: Settings, spec_hash: str | None = None) -> StateSummary:
    """Fold all events into one state per customer and spec, then move what arrived live into the lake.

    The specs are the current one, those of champions, and others that a service still reads; with `spec_hash` it
    is that one alone. States of specs that nobody uses are removed. Live events wait meanwhile: a row that no state
    has yet must not leave the journal before it is folded.

    Raises:
        UserError: the workspace has no events, or `spec_hash` is not known.
        StateUnavailable: the states cannot be stored.
    """
    from feature_repo.state.build import build_states, count_events
    from pipelines.events.live_states import building
    from pipelines.events.state_builds import remember_build
    from pipelines.identity.current import current_membership

    workspace = settings.workspace
    check_has_events(settings)
    storage = open_states(settings)
    SpecVersions(workspace.specs).remember(settings.features.hash, settings.spec_file)
    removed: list[str] = []
    if spec_hash is None and champions_have_states(stored_models(workspace.bentoml_home), storage):
        removed += _removed(settings, storage)
    specs, unknown = _in_use(settings, storage) if spec_hash is None else ([_named(settings, spec_hash)], [])
    with event_store(settings) as store, building(workspace.state_lock):
        membership = current_membership(settings)
        now = store.snapshot()
        total = float(count_events(workspace.lake, now.version, now.tail, membership)) * len(specs)
        with progress("Building states", total) as advance:
            built = [
                build_states(
                    spec, workspace.lake, storage, now.version, advance, now.tail, membership, now.position,
                    partial(remember_build, workspace.state_builds, spec.hash),
                )
                for spec in specs
            ]  # fmt: skip
        _build_moments(settings, now, membership)
        moved = _move(settings, store, storage, [spec.hash for spec in specs], now.position)
    removed += _removed(settings, storage) if spec_hash is None else []
    first, *others = built
    return StateSummary(
        first.customers,
        first.events,
        moved,
        first.spec_hash,
        _place(settings),
        tuple(others),
        tuple(removed),
        tuple(unknown),
    )


def _build_moments(settings: Settings, now: Snapshot, membership: Membership) -> None:
    from feature_repo.state.build import count_events
    from pipelines.events.moments_build import build_moments
    from pipelines.events.state_builds import remember_build

    workspace, storage, key = settings.workspace, open_moments(settings), moments_key(settings)
    total = float(count_events(workspace.lake, now.version, now.tail, membership))
    with progress("Keeping the newest events of each customer", total) as advance:
        build_moments(
            key, workspace.lake, storage, now.version, advance, now.tail, membership, now.position,
            partial(remember_build, workspace.state_builds, key),
        )  # fmt: skip
    for other in set(storage.spec_hashes()) - {key}:
        storage.remove_spec(other)


def _place(settings: Settings) -> str:
    backend = settings.profile.online_store
    return str(settings.workspace.state) if backend == "sqlite" else f"{backend}, workspace {settings.workspace.name}"


def check_has_events(settings: Settings) -> None:
    """Raises UserError where the workspace has none."""
    workspace = settings.workspace
    if workspace.lake.exists() or may_have_journal(settings):
        return
    hint = "ingest a file first, or name another workspace: twin --workspace NAME ..."
    raise UserError(
        f"Workspace {workspace.name!r} has no events.", [Problem("lake", "a table of events", "nothing there", hint)]
    )


def _named(settings: Settings, spec_hash: str) -> FeatureSpec:
    found = find_spec(settings, spec_hash)
    if found is None:
        known = ", ".join(version.hash for version in SpecVersions(settings.workspace.specs).all())
        problem = Problem("--spec", f"one of: {known}", repr(spec_hash), "see `twin features versions`")
        raise UserError("this version of the features is not known here", [problem])
    return found


def _in_use(settings: Settings, storage: StateStorage) -> tuple[list[FeatureSpec], list[str]]:
    """What is to be built, the current spec first, and the hashes of specs in use whose content is not known."""
    # What could not be removed, a service reads.
    hashes = dict.fromkeys([settings.features.hash, *users_of_specs(settings), *storage.built_specs()])
    specs = {spec: find_spec(settings, spec) for spec in hashes}
    unknown = [spec for spec, found in specs.items() if found is None]
    return [found for found in specs.values() if found is not None], unknown


def _move(settings: Settings, store: EventStore, storage: StateStorage, specs: list[str], until: int) -> int:
    """Move the journal into the lake, but where states that were not built now could lack a row of it."""
    from pipelines.events.compaction import compact

    if not set(storage.built_specs()) <= set(specs):
        return 0
    return compact(settings.workspace.lake, store.journal, until).moved


def _removed(settings: Settings, storage: StateStorage) -> list[str]:
    try:
        return remove_unused(settings, storage)
    except StatesBusy:
        # Somebody else builds at this moment, and removes them then.
        return []
