"""Decisions made again: from their record, and from the log of events; equal to the last bit or told.

1. From the record: `decide` with the catalogue of its hash and the recorded situation gives the recorded decision.
2. From the log: the features of the record computed again by SQL over lake and journal, with what was visible when they
   were read; and what the model's version says of the model's features, computed again alike.

What cannot be made again is counted, by reason: a person was erased, identifiers or consent changed since, a model
version or a spec is not here any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from feature_repo.membership import Membership, revisions_of
from feature_repo.served import ServedVector
from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.decisions.replay_again import NO_CATALOGUE, UNREADABLE, Replay, of_record, replay
from pipelines.decisions.replay_log import Log, Point
from pipelines.decisions.replay_models import StoredVersions
from pipelines.decisions.replay_stored import stored_decisions
from pipelines.events.opening import event_store
from pipelines.events.specs_in_use import find_spec
from pipelines.events.store import Snapshot
from pipelines.feature_audit.recompute import recompute
from pipelines.identity.current import current_membership
from pipelines.settings import Settings

__all__ = ["NO_CATALOGUE", "UNREADABLE", "Replay", "of_record", "replay", "replay_decisions", "stored_decisions"]

_POINTS_A_QUERY = 1_000


def replay_decisions(settings: Settings, decision_ids: Sequence[str] = (), sample: int | None = None) -> Replay:
    """Make again the decisions of `decision_ids`, or the newest `sample`, or all.

    Raises:
        UserError: there is none, or not one of those that were asked for.
    """
    with event_store(settings) as store:
        membership = current_membership(settings)
        snapshot = store.snapshot()
    found = stored_decisions(snapshot, decision_ids, sample)
    versions = StoredVersions(settings.workspace.bentoml_home)
    features = partial(_features_again, snapshot, membership)
    specs = partial(find_spec, settings)
    return replay(settings, found, Log(features, versions.features, versions.predict, specs, revisions_of(membership)))


def _features_again(
    snapshot: Snapshot, membership: Membership, spec: FeatureSpec, names: Sequence[str], points: Sequence[Point]
) -> Iterator[tuple[list[FeatureValue], int]]:
    for start in range(0, len(points), _POINTS_A_QUERY):
        some = points[start : start + _POINTS_A_QUERY]
        vectors = [ServedVector("", who, 0, as_of, position, 0, "", (), 0.0) for who, as_of, position in some]
        for again in recompute(spec, names, vectors, snapshot, membership):
            yield again.values, again.events
