"""Decisions made again from their records and from a log, and compared with what was decided.

It needs no engine: how features and predictions are had again is the caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from feature_repo.configuration import ConfigurationError
from pipelines.catalogue import Catalogue
from pipelines.catalogue.versions import CatalogueVersions
from pipelines.decisions.decide import decide
from pipelines.decisions.ledger_event import Recorded, recorded
from pipelines.decisions.record import UnreadableRecord, to_object
from pipelines.decisions.replay_difference import Difference, same
from pipelines.decisions.replay_log import FromLog, Log
from pipelines.settings import Settings

NO_CATALOGUE = "whose catalogue is not here any more"
UNREADABLE = "whose record cannot be read"

_MOST_TOLD = 20


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
