"""Features and predictions of decisions computed again from the log of events, all decisions of a kind in one query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from feature_repo.spec import FeatureSpec
from feature_repo.state.read import FeatureValue
from pipelines.decisions.ledger_event import Read, Recorded
from pipelines.decisions.replay_difference import Difference, same
from pipelines.decisions.situation import Predicted

OTHER_SPEC = "of another feature spec, whose definition is not here"
CHANGED = "whose customer's identifiers or consent changed since"
GONE = "whose customer has no events any more (erased)"
NO_MODEL = "whose model version is not here any more"
OF_CALLS = "whose model reads what a call brought along"

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Asking:
    """The model's features of one decision as they were read; `actions` are those of the catalogue."""

    values: Mapping[str, FeatureValue]
    actions: tuple[str, ...]


# What a version of a model says: (model, version, what is asked) to what is predicted by action. None: it is not here.
Predict: TypeAlias = Callable[[str, str, Sequence[Asking]], "list[dict[str, Predicted]] | None"]
# The features that a version of a model reads, in order; None where it is not here.
FeaturesOf: TypeAlias = Callable[[str, str], tuple[str, ...] | None]
# Customer, as-of instant, and the position up to which their events stood in the state that was read.
Point: TypeAlias = tuple[str, int, int]
# Features of a spec computed again, in order: the values of each point, and how many events were visible.
Recompute: TypeAlias = Callable[[FeatureSpec, Sequence[str], Sequence[Point]], Iterable[tuple[list[FeatureValue], int]]]


@dataclass(frozen=True, slots=True)
class Log:
    """How to compute again. `find_spec` gives specs by hash."""

    features: Recompute
    features_of: FeaturesOf
    predict: Predict
    find_spec: Callable[[str], FeatureSpec | None]
    revisions: Mapping[str, int]


class FromLog:
    """Computes features and predictions of decisions again; counts what it could not, by reason."""

    def __init__(self, log: Log, reasons: Counter[str]) -> None:
        self._log = log
        self._reasons = reasons
        self.compared = self.values = 0
        self.differences: list[Difference] = []

    def compare(self, read: Sequence[Recorded]) -> None:
        """One query for all decisions that read the same features of the same spec."""
        for (spec_hash, names), group in _grouped(read, _features_read).items():
            spec = self._log.find_spec(spec_hash)
            if spec is None:
                self._reasons[OTHER_SPEC] += len(group)
                continue
            usable = [one for one in group if self._unchanged(one, one.origin.read)]
            visible: list[Recorded] = []
            for one, (values, events) in zip(usable, self._features(spec, names, usable, _of_read), strict=True):
                if not events:
                    self._reasons[GONE] += 1
                    continue
                visible.append(one)
                self._compare(one, "features", one.situation.features, dict(zip(names, values, strict=True)))
            self.compared += len(visible)
            self._predictions(visible)

    def _predictions(self, read: Sequence[Recorded]) -> None:
        of_models = [one for one in read if one.origin.model is not None and one.origin.model_read is not None]
        for (model, version, spec_hash), group in _grouped(of_models, _version).items():
            names, spec = self._log.features_of(model, version), self._log.find_spec(spec_hash)
            if names is None or spec is None:
                self._reasons[NO_MODEL if names is None else OTHER_SPEC] += len(group)
            elif any(name not in spec.by_name for name in names):
                self._reasons[OF_CALLS] += len(group)
            else:
                usable = [one for one in group if self._unchanged(one, _of_model(one))]
                self._of_version(model, version, names, spec, usable)

    def _of_version(
        self, model: str, version: str, names: Sequence[str], spec: FeatureSpec, group: Sequence[Recorded]
    ) -> None:
        again = self._features(spec, names, group, _of_model)
        asked = [
            # A probability was told for each action of the catalogue.
            Asking(dict(zip(names, values, strict=True)), tuple(one.situation.predicted))
            for one, (values, _) in zip(group, again, strict=True)
        ]
        predicted = self._log.predict(model, version, asked)
        if predicted is None:
            self._reasons[NO_MODEL] += len(group)
            return
        for one, told in zip(group, predicted, strict=True):
            before = {action: (p.effect, p.response) for action, p in one.situation.predicted.items()}
            self._compare(one, "predicted", before, {action: (p.effect, p.response) for action, p in told.items()})

    def _features(
        self, spec: FeatureSpec, names: Sequence[str], group: Sequence[Recorded], of: Callable[[Recorded], Read]
    ) -> list[tuple[list[FeatureValue], int]]:
        points = [(one.decision.customer_id, one.decision.as_of, of(one).position) for one in group]
        return list(self._log.features(spec, names, points)) if points else []

    def _unchanged(self, one: Recorded, read: Read) -> bool:
        same_revision = self._log.revisions.get(one.decision.customer_id, 0) == read.revision
        if not same_revision:
            self._reasons[CHANGED] += 1
        return same_revision

    def _compare(self, one: Recorded, what: str, before: Mapping[str, Any], again: Mapping[str, Any]) -> None:
        self.values += len(before)
        name = one.decision.decision_id
        self.differences += [
            Difference(name, "log", f"{what}.{key}", before.get(key), again.get(key))
            for key in dict.fromkeys([*before, *again])
            if key not in before or key not in again or not same(before[key], again[key])
        ]


def _features_read(one: Recorded) -> tuple[str, tuple[str, ...]]:
    return one.origin.read.spec_hash, tuple(one.situation.features)


def _version(one: Recorded) -> tuple[str, str, str]:
    """Whose predictions, and of which spec what they read."""
    return one.origin.model or "", one.origin.model_version or "", _of_model(one).spec_hash


def _of_read(one: Recorded) -> Read:
    return one.origin.read


def _of_model(one: Recorded) -> Read:
    return one.origin.model_read or one.origin.read


def _grouped(read: Sequence[Recorded], key: Callable[[Recorded], Key]) -> dict[Key, list[Recorded]]:
    found: dict[Key, list[Recorded]] = {}
    for one in read:
        found.setdefault(key(one), []).append(one)
    return found
