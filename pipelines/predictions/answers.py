"""What was answered, made again from the logged features by the very version that answered, and compared bit by bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from feature_repo.served import FeatureList, ServedVector
from pipelines.feature_audit import UNKNOWN_LIST, Difference, same_bits
from pipelines.predictions.versions import Array, Versions

NO_VERSION = "whose model version is not here any more"
OTHER_FEATURES = "whose model version reads other features than the log says"
NO_SHADOW = "shadow scores whose version is not here any more, or reads other features"

_ROWS_AT_A_TIME = 1_000


@dataclass(slots=True)
class AnswerComparison:
    """`compared` answers were made again, `explained` of them with all contributions, and `shadows` shadow scores.

    `largest_gap` is by how much contributions missed the score most, in log-odds.
    """

    compared: int = 0
    explained: int = 0
    shadows: int = 0
    largest_gap: float = 0.0
    differences: list[Difference] = field(default_factory=list)
    not_compared: Counter[str] = field(default_factory=Counter)


def compare_answers(
    vectors: Sequence[ServedVector], lists: Mapping[str, FeatureList], versions: Versions
) -> AnswerComparison:
    """Score, probability, contributions and shadow scores of `vectors` again."""
    done = AnswerComparison()
    if unnamed := sum(vector.reads not in lists for vector in vectors):
        done.not_compared[UNKNOWN_LIST] += unnamed
    for reads, some in _batches(vectors, lists):
        version = versions.find(reads.model, reads.version)
        if version is None or version.inputs.features != reads.features:
            done.not_compared[NO_VERSION if version is None else OTHER_FEATURES] += len(some)
            continue
        columns = version.inputs.matrix(_matrix(some))
        scores, probabilities = version.scorer.raw_scores(columns), version.scorer.predict(columns)
        for vector, score, probability in zip(some, scores.tolist(), probabilities.tolist(), strict=True):
            _compare(done, reads, vector, {"score": vector.score, "probability": vector.probability},
                     {"score": score, "probability": probability})  # fmt: skip
        done.compared += len(some)
        explained = [row for row, vector in enumerate(some) if vector.contributions is not None]
        if explained:
            again = version.scorer.contributions(columns[explained])
            _contributions(done, reads, [some[row] for row in explained], again, version.inputs.names)
        _shadows(done, reads, some, versions)
    return done


def _contributions(
    done: AnswerComparison, reads: FeatureList, some: Sequence[ServedVector], again: Array, columns: Sequence[str]
) -> None:
    names = [*(f"contribution of {name}" for name in columns), "base value"]
    for vector, parts in zip(some, again.tolist(), strict=True):
        served = list(vector.contributions or ())
        gap = abs(float(np.sum(served)) - vector.score)
        done.largest_gap = max(done.largest_gap, gap)
        done.explained += 1
        if len(served) != len(names):
            _compare(done, reads, vector, {"contributions": len(served)}, {"contributions": len(names)})
        else:
            of_both = (dict(zip(names, values, strict=True)) for values in (served, parts))
            _compare(done, reads, vector, *of_both)


def _shadows(done: AnswerComparison, reads: FeatureList, some: Sequence[ServedVector], versions: Versions) -> None:
    asked = sorted({(shadow.model, shadow.version) for vector in some for shadow in vector.shadow})
    for key in asked:
        told = [(v, s) for v in some for s in v.shadow if (s.model, s.version) == key]
        version = versions.find(*key)
        if version is None or not set(version.inputs.features) <= set(reads.features):
            done.not_compared[NO_SHADOW] += len(told)
            continue
        places = [reads.features.index(name) for name in version.inputs.features]
        columns = version.inputs.matrix(np.ascontiguousarray(_matrix([vector for vector, _ in told])[:, places]))
        again = zip(version.scorer.raw_scores(columns).tolist(), version.scorer.predict(columns).tolist(), strict=True)
        for (vector, shadow), (score, probability) in zip(told, again, strict=True):
            name = f"shadow {shadow.model} version {shadow.version}"
            _compare(done, reads, vector, {f"{name} score": shadow.score, f"{name} probability": shadow.probability},
                     {f"{name} score": score, f"{name} probability": probability})  # fmt: skip
        done.shadows += len(told)


def _compare(
    done: AnswerComparison,
    reads: FeatureList,
    vector: ServedVector,
    served: Mapping[str, float],
    again: Mapping[str, float],
) -> None:
    of = (vector.request_id, vector.customer_id, reads.model, reads.version, vector.as_of, vector.position)
    done.differences += [
        Difference(*of, name, served[name], again[name]) for name in served if not same_bits(served[name], again[name])
    ]


def _matrix(vectors: Sequence[ServedVector]) -> Array:
    return np.array([vector.values for vector in vectors], dtype=np.float64)


def _batches(
    vectors: Sequence[ServedVector], lists: Mapping[str, FeatureList]
) -> Iterator[tuple[FeatureList, list[ServedVector]]]:
    by_list: dict[str, list[ServedVector]] = {}
    for vector in vectors:
        by_list.setdefault(vector.reads, []).append(vector)
    for name, group in by_list.items():
        for start in range(0, len(group) if name in lists else 0, _ROWS_AT_A_TIME):
            yield lists[name], group[start : start + _ROWS_AT_A_TIME]
