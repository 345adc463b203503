"""Decisions made again: from their record, and from the log of events; equal to the last bit or told.

1. From the record: `decide` with the catalogue of its hash and the recorded situation gives the recorded decision.
2. From the log: the features of the record computed again by SQL over lake and journal, with what was visible when they
   were read; and what the model's version says of the model's features, computed again alike.

What cannot be made again is counted, by reason: a person was erased, identifiers or consent changed since, a model
version or a spec is not here any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import duckdb
import msgspec

from feature_repo.configuration import ConfigurationError, Problem
from feature_repo.membership import Membership, revisions_of
from feature_repo.served import ServedVector
from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.catalogue import Catalogue
from pipelines.catalogue.versions import CatalogueVersions
from pipelines.console import UserError
from pipelines.decisions.decide import decide
from pipelines.decisions.ledger import SOURCE
from pipelines.decisions.ledger_event import Recorded, recorded
from pipelines.decisions.record import UnreadableRecord, to_object
from pipelines.decisions.replay_difference import Difference, same
from pipelines.decisions.replay_log import FromLog, Log, Point
from pipelines.decisions.replay_models import StoredVersions
from pipelines.events.opening import event_store
from pipelines.events.specs_in_use import find_spec
from pipelines.events.store import Snapshot
from pipelines.feature_audit.recompute import recompute
from pipelines.identity.current import current_membership
from pipelines.settings import Settings

NO_CATALOGUE = "whose catalogue is not here any more"
UNREADABLE = "whose record cannot be read"

_MOST_TOLD = 20
_POINTS_A_QUERY = 1_000
_DECISIONS = """
SELECT event_id, properties FROM stored_events
WHERE source = $source {wanted} ORDER BY position DESC {limit}
"""


@dataclass(frozen=True, slots=True)
class Replay:
    """`decisions` were looked at; `from_record` and `from_log` made again, `values` of the latter compared."""

    decisions: int
    from_record: int
    from_log: int
    values: int
    differences: tuple[Difference, ...]
    not_replayed: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Something was made again, and all of it is equal."""
        return self.from_record > 0 and not self.differences

    def text(self) -> str:
        """The result for a person."""
        apart = len({difference.decision_id for difference in self.differences})
        lines = [
            f"{self.decisions:,} decisions: {self.from_record:,} made again from their record, {self.from_log:,} from"
            f" the events ({self.values:,} values); {apart:,} came out otherwise",
            *(f"  not made again: {count:,} {reason}" for reason, count in self.not_replayed.items()),
            *(f"  {difference.text()}" for difference in self.differences[:_MOST_TOLD]),
        ]
        if len(self.differences) > _MOST_TOLD:
            lines.append(f"  and {len(self.differences) - _MOST_TOLD:,} more: --json has all")
        return "\n".join(lines)


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
        vectors = [ServedVector("", who, 0, as_of, position, 0, "", (), 0.0, 0.0) for who, as_of, position in some]
        for again in recompute(spec, names, vectors, snapshot, membership):
            yield again.values, again.events


def stored_decisions(snapshot: Snapshot, decision_ids: Sequence[str], sample: int | None) -> list[tuple[str, Any]]:
    """Decisions of lake and journal, the newest first: id and properties. Those of `decision_ids`, or `sample`, or all.

    Raises:
        UserError: there is none, or not one of those that were asked for.
    """
    wanted = "AND list_contains($ids, event_id)" if decision_ids else ""
    limit = f"LIMIT {int(sample)}" if sample is not None else ""
    values: dict[str, Any] = {"source": SOURCE, **({"ids": list(decision_ids)} if decision_ids else {})}
    with duckdb.connect() as connection:
        snapshot.register(connection, "stored_events")
        rows = connection.execute(_DECISIONS.format(wanted=wanted, limit=limit), values).fetchall()
    found = [(str(name), msgspec.json.decode(properties)) for name, properties in rows]
    missing = sorted(set(decision_ids) - {name for name, _ in found})
    if missing:
        raise UserError("not every decision is in the log", [_unknown(name) for name in missing])
    if not found:
        raise UserError("no decision is in the log", [Problem("log", "decisions", "none", "ask for one: twin decide")])
    return found


def _unknown(name: str) -> Problem:
    return Problem("DECISION_ID", "the id of a decision", name, "`twin decide --json` tells ids")


def replay(settings: Settings, found: Sequence[tuple[str, Any]], log: Log) -> Replay:
    """Make decisions again from both, and compare."""
    reasons: Counter[str] = Counter()
    differences: list[Difference] = []
    read: list[Recorded] = []
    for _, properties in found:
        try:
            read.append(recorded(properties))
        except UnreadableRecord:
            reasons[UNREADABLE] += 1
    catalogues = _catalogues(settings, {one.catalogue for one in read})
    from_record = 0
    for one in read:
        catalogue = catalogues.get(one.catalogue)
        if catalogue is None:
            reasons[NO_CATALOGUE] += 1
            continue
        from_record += 1
        differences += of_record(catalogue, one)
    from_log = FromLog(log, reasons)
    from_log.compare(read)
    differences += from_log.differences
    counts = (len(found), from_record, from_log.compared, from_log.values)
    return Replay(*counts, tuple(differences), dict(reasons))


def of_record(catalogue: Catalogue, one: Recorded) -> list[Difference]:
    """How the decision that follows from the recorded situation differs from the recorded one."""
    again, before = to_object(decide(catalogue, one.situation)), to_object(one.decision)
    name = one.decision.decision_id
    return [
        Difference(name, "record", key, before[key], again[key]) for key in before if not same(before[key], again[key])
    ]


def _catalogues(settings: Settings, hashes: set[str]) -> dict[str, Catalogue]:
    versions = CatalogueVersions(settings)
    found: dict[str, Catalogue] = {}
    for name in hashes:
        try:
            catalogue = versions.find(name)
        except ConfigurationError:
            continue
        if catalogue is not None:
            found[name] = catalogue
    return found
