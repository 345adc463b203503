"""A logged decision made again: from its record, and from its customer's events and the versions of models here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.console import UserError
from pipelines.decisions.ledger_event import Recorded, recorded
from pipelines.decisions.record import UnreadableRecord, to_object
from pipelines.decisions.replay_again import replay
from pipelines.decisions.replay_difference import Difference
from pipelines.decisions.replay_log import Asking, Log, Point
from pipelines.decisions.situation import Predicted
from pipelines.events.customer_log import CustomerLog
from pipelines.events.specs_in_use import find_spec
from pipelines.identity.desk import OpenFiles
from pipelines.identity.store import IdentityStore
from pipelines.model_store import EFFECTS
from pipelines.settings import Settings
from pipelines.twin.as_of import features_at
from serving.api.errors import ApiError, ErrorDetail
from serving.champion import StoredChampion, find_champion
from serving.decisions.reading import predicted_by


@dataclass(frozen=True, slots=True)
class Made:
    """What a decision is, and what it is made from. None where that could not be made again."""

    decision: Mapping[str, Any] | None
    features: Mapping[str, Any] | None
    predicted: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """`differences` is empty where all is equal to the last bit; `not_replayed` says what was not made again."""

    recorded: Recorded
    before: Made
    again: Made
    differences: tuple[Difference, ...]
    not_replayed: tuple[str, ...]


def find_decision(settings: Settings, files: OpenFiles, decision_id: str) -> tuple[Recorded, Any]:
    """A decision in lake or journal: its record, and the event's properties.

    Raises ApiError: 404 where there is none, 410 where its record cannot be read.
    """
    # Engines that take long to import: for the first such call.
    from pipelines.decisions.replay_stored import stored_decisions
    from pipelines.events.store import EventStore

    snapshot = EventStore.open(settings.workspace.lake, files.journal).snapshot()
    try:
        found = stored_decisions(snapshot, [decision_id], None)
    except UserError:
        detail = ErrorDetail(field="decision_id", expected="the id of a logged decision", got="another")
        raise ApiError(404, "unknown_decision", "this decision is not in the log", [detail]) from None
    try:
        return recorded(found[0][1]), found[0][1]
    except UnreadableRecord:
        detail = ErrorDetail(field="decision_id", expected="a decision with all it was made from", got="one without")
        raise ApiError(410, "record_unreadable", "this decision's record cannot be read", [detail]) from None


def replayed(settings: Settings, log: CustomerLog, identity: IdentityStore, one: Recorded, properties: Any) -> Replayed:
    """Make one decision again, and compare."""
    versions = ServedVersions(settings.workspace.bentoml_home)
    customer = one.decision.customer_id
    again = Log(
        partial(_features_again, log),
        versions.features,
        versions.predict,
        partial(find_spec, settings),
        identity.revisions([customer]),
    )
    done = replay(settings, [(one.decision.decision_id, properties)], again)
    predicted = {action: (of.effect, of.response) for action, of in one.situation.predicted.items()}
    before = Made(to_object(one.decision), dict(one.situation.features), predicted)
    # What is not told as different came out the same.
    of = {where: {d.field: d.again for d in done.differences if d.where == where} for where in ("record", "log")}
    from_log = bool(done.from_log)
    made = Made(
        {**to_object(one.decision), **of["record"]} if done.from_record else None,
        _changed(before.features, of["log"], "features.") if from_log else None,
        _changed(predicted, of["log"], "predicted.") if from_log and _was_predicted(one, done.not_replayed) else None,
    )
    return Replayed(one, before, made, done.differences, tuple(done.not_replayed))


def _was_predicted(one: Recorded, not_replayed: Mapping[str, int]) -> bool:
    return one.origin.model is not None and one.origin.model_read is not None and not not_replayed


def _changed(before: Mapping[str, Any] | None, again: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    changes = {name.removeprefix(prefix): value for name, value in again.items() if name.startswith(prefix)}
    return {**(before or {}), **changes}


def _features_again(
    log: CustomerLog, spec: FeatureSpec, names: Sequence[str], points: Sequence[Point]
) -> Iterator[tuple[list[FeatureValue], int]]:
    for customer, as_of, position in points:
        events = [event for event in log.everything(customer) if event.position <= position]
        values = features_at(spec, names, events, as_of)
        yield [values[name] for name in names], len(events)


@dataclass(frozen=True, slots=True)
class ServedVersions:
    """Versions in the model store under `bentoml_home`, as the service asks them; None stands for one not there."""

    bentoml_home: Path

    def features(self, model: str, version: str) -> tuple[str, ...] | None:
        """What the version reads, in order."""
        stored = self._stored(model, version)
        return None if stored is None else stored.features

    def predict(self, model: str, version: str, asked: Sequence[Asking]) -> list[dict[str, Predicted]] | None:
        """What it says of each action, of each that is asked."""
        stored = self._stored(model, version)
        if stored is None:
            return None
        try:
            champion = stored.load_effects() if stored.kind == EFFECTS else stored.load()
        except ApiError:
            return None
        values = [np.array([[one.values[name] for name in stored.features]], dtype=np.float64) for one in asked]
        return [
            predicted_by(champion, champion.columns(features), one.actions)
            for one, features in zip(asked, values, strict=True)
        ]

    def _stored(self, model: str, version: str) -> StoredChampion | None:
        try:
            return find_champion(self.bentoml_home, model, version)
        except ApiError:
            return None
