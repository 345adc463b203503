"""The audit of served vectors: drawn at random, computed again, and compared to the last bit."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from feature_repo.configuration import Problem
from feature_repo.membership import Membership, revisions_of
from feature_repo.request_features import request_values
from feature_repo.served import FeatureList, ServedVector
from pipelines.console import UserError, progress
from pipelines.events.opening import event_store
from pipelines.events.specs_in_use import find_spec
from pipelines.events.store import Snapshot
from pipelines.feature_audit.recompute import Recomputed, recompute
from pipelines.identity.current import current_membership
from pipelines.served_log import Drawn, draw, log_bytes
from pipelines.settings import Settings

Value = int | float | str | None

_VECTORS_A_QUERY = 1_000
_MOST_TOLD = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OTHER_SPEC = "of another feature spec, whose definition is not here"
UNKNOWN_LIST = "whose list of features is not in the log"
CHANGED = "whose customer's identifiers or consent changed since"
GONE = "whose customer has no events any more (erased)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one prediction that comes out otherwise: a feature, or what was answered (see `predictions`).

    Instants in int64 microseconds UTC.
    """

    request_id: str
    customer_id: str
    model: str
    version: str
    as_of: int
    position: int
    feature: str
    served: Value
    recomputed: Value

    def text(self) -> str:
        return (
            f"{self.customer_id}  {self.feature}: served {self.served!r}, recomputed {self.recomputed!r}"
            f"  (as of {_iso(self.as_of)}, position {self.position}, {self.model} version {self.version},"
            f" request {self.request_id})"
        )


@dataclass(frozen=True, slots=True)
class VectorAudit:
    """Vectors of the log against SQL. `not_compared` counts those that cannot be computed again, by reason.

    `logged` vectors are in the log, `lost` ones never came into it, `unreadable` lines are torn.
    """

    logged: int
    drawn: int
    compared: int
    values: int
    differences: tuple[Difference, ...]
    not_compared: dict[str, int]
    lost: int
    unreadable: int
    seed: int

    @property
    def passed(self) -> bool:
        """Something was compared, and all of it is equal."""
        return self.compared > 0 and not self.differences

    def text(self) -> str:
        """The result for a person."""
        apart = len({(d.request_id, d.customer_id) for d in self.differences})
        lines = [
            f"{self.drawn:,} of {self.logged:,} served vectors drawn (seed {self.seed}), {self.compared:,} computed"
            f" again from the events: {self.values:,} values, {len(self.differences):,} different"
            + (f", in {apart:,} vectors" if apart else ""),
            *(f"  not compared: {count:,} {reason}" for reason, count in self.not_compared.items()),
        ]
        if self.lost:
            lines.append(f"  {self.lost:,} vectors were served and did not come into the log")
        if self.unreadable:
            lines.append(f"  {self.unreadable:,} torn lines were left out")
        lines += [f"  {difference.text()}" for difference in self.differences[:_MOST_TOLD]]
        if len(self.differences) > _MOST_TOLD:
            lines.append(f"  and {len(self.differences) - _MOST_TOLD:,} more: --json has all")
        return "\n".join(lines if self.compared else [*lines, "Nothing could be compared."])


@dataclass(frozen=True, slots=True)
class FeatureComparison:
    """Features of served vectors against SQL, as `VectorAudit` has them."""

    compared: int
    values: int
    differences: tuple[Difference, ...]
    not_compared: dict[str, int]


def audit_vectors(settings: Settings, sample: int, seed: int) -> VectorAudit:
    """Draw `sample` served vectors and compute each again from lake and journal, as visible as when it was served.

    Raises:
        UserError: nothing was logged.
    """
    drawn = drawn_of(settings, sample, seed)
    done = compare_features(settings, drawn)
    counts = (drawn.logged, len(drawn.vectors), done.compared, done.values)
    return VectorAudit(*counts, done.differences, done.not_compared, drawn.lost, drawn.unreadable, seed)


def compare_features(settings: Settings, drawn: Drawn) -> FeatureComparison:
    """Compute the features of each drawn vector again, and compare to the last bit."""
    # After the log was read: every event that a vector has seen is in the snapshot.
    with event_store(settings) as store:
        membership = current_membership(settings)
        snapshot = store.snapshot()
    usable, reasons = _sorted_out(settings, drawn, membership)
    compared = values = 0
    differences: list[Difference] = []
    with progress("Computing again", float(sum(map(len, usable.values())))) as advance:
        for reads, vectors in _batches(usable):
            for vector, again in _again(settings, reads, vectors, snapshot, membership):
                if not again.events:
                    reasons[GONE] += 1
                    continue
                compared += 1
                values += len(again.values)
                differences += _differences(reads, vector, again)
            advance(len(vectors))
    return FeatureComparison(compared, values, tuple(differences), dict(reasons))


def drawn_of(settings: Settings, sample: int, seed: int) -> Drawn:
    """`sample` predictions of the log at random. Raises UserError where nothing was logged."""
    folder = settings.workspace.served
    with progress("Reading the log", float(log_bytes(folder))) as advance:
        drawn = draw(folder, sample, seed, advance)
    if not drawn.logged:
        hint = "serve predictions first; `served_log.share` of the profile says how many are logged"
        problem = Problem("served", "a log of served vectors", "none", hint)
        raise UserError(f"Nothing that was served in workspace {settings.workspace.name!r} is in a log.", [problem])
    return drawn


def _sorted_out(
    settings: Settings, drawn: Drawn, membership: Membership
) -> tuple[dict[FeatureList, list[ServedVector]], Counter[str]]:
    """The vectors that can be computed again, by what they read, and the reasons why others cannot."""
    revisions = revisions_of(membership)
    usable: dict[FeatureList, list[ServedVector]] = {}
    reasons: Counter[str] = Counter()
    for vector in drawn.vectors:
        reads = drawn.lists.get(vector.reads)
        if reads is None:
            reasons[UNKNOWN_LIST] += 1
        elif find_spec(settings, reads.spec_hash) is None:
            reasons[OTHER_SPEC] += 1
        elif revisions.get(vector.customer_id, 0) != vector.revision:
            reasons[CHANGED] += 1
        else:
            usable.setdefault(reads, []).append(vector)
    return usable, reasons


def _batches(usable: Mapping[FeatureList, Sequence[ServedVector]]) -> Iterator[tuple[FeatureList, list[ServedVector]]]:
    for reads, vectors in usable.items():
        for start in range(0, len(vectors), _VECTORS_A_QUERY):
            yield reads, list(vectors[start : start + _VECTORS_A_QUERY])


def _again(
    settings: Settings, reads: FeatureList, vectors: Sequence[ServedVector], snapshot: Snapshot, membership: Membership
) -> Iterator[tuple[ServedVector, Recomputed]]:
    spec = find_spec(settings, reads.spec_hash)
    if spec is None:
        return
    of_calls = [feature for name in reads.features if (feature := spec.request_feature(name)) is not None]
    of_events = [name for name in reads.features if name in spec.by_name]
    needed = list(dict.fromkeys([*of_events, *(f.denominator for f in of_calls if f.denominator)]))
    for vector, again in zip(vectors, recompute(spec, needed, vectors, snapshot, membership), strict=True):
        known = dict(zip(again.features, again.values, strict=True))
        made = request_values(of_calls, vector.context, known, vector.as_of, spec.utc_offset)
        names = (*of_events, *(feature.name for feature in of_calls))
        yield vector, Recomputed(names, [*(known[name] for name in of_events), *made], again.events)


def _differences(reads: FeatureList, vector: ServedVector, again: Recomputed) -> list[Difference]:
    served = dict(zip(reads.features, vector.values, strict=True))
    of = (vector.request_id, vector.customer_id, reads.model, reads.version, vector.as_of, vector.position)
    return [
        Difference(*of, feature, served[feature], recomputed)
        for feature, recomputed in zip(again.features, again.values, strict=True)
        if not same_bits(served[feature], recomputed)
    ]


def same_bits(left: Value, right: Value) -> bool:
    """Equal in type and to the last bit: 1 is not 1.0, and 0.0 is not -0.0."""
    if isinstance(left, float) and isinstance(right, float):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and left == right


def _iso(instant: int) -> str:
    return (_EPOCH + timedelta(microseconds=instant)).isoformat(timespec="microseconds").replace("+00:00", "Z")
