"""From what a request was answered to the records of the log; made in the log's thread, where no request waits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feature_repo.served import FeatureList, ServedVector, ShadowScore, feature_list
from serving.api.context import Context
from serving.api.error_log import described
from serving.champion import Champion
from serving.predictor import Prediction, Read

logger = logging.getLogger("bentoml.twin")

Array: TypeAlias = NDArray[np.float64]


class Moment(NamedTuple):
    """An instant by two clocks: int64 microseconds UTC, and nanoseconds that never go back."""

    utc: int
    monotonic: int


@dataclass(frozen=True, slots=True)
class ShadowModel:
    """A version that answers in the shadow of a champion.

    `predict` gets features as the champion read them, shape (n, f), float64 with NaN for empty, in the order of
    `champion.features`, and returns log-odds and probabilities, shape (n,) each.
    """

    model: str
    version: str
    predict: Callable[[Array], tuple[Array, Array]]


# Who answers in the shadow of a champion: called in the log's thread, once for each batch of answers of the champion.
ShadowOf: TypeAlias = Callable[[Champion], Sequence[ShadowModel]]


def no_shadow(champion: Champion) -> Sequence[ShadowModel]:
    """Nobody."""
    return ()


@dataclass(frozen=True, slots=True)
class Answered:
    """What one request was answered; `began` is before its features were read. `kept` is told what became of it."""

    request_id: str
    champion: Champion
    began: Moment
    as_of: int
    predictions: Sequence[tuple[Prediction, Read, float]]
    context: Context
    kept: Future[None] | None = None


class Records:
    """Makes records of answers, and counts the shadow scores that could not be made."""

    def __init__(self, shadow_of: ShadowOf = no_shadow) -> None:
        self._shadow_of = shadow_of
        self.shadow_failed = 0

    def of(self, answers: Sequence[Answered]) -> Iterator[tuple[FeatureList, list[ServedVector]]]:
        """Records, and what their champion reads: those of one champion at a time, in the order of answers."""
        by_champion: dict[int, list[Answered]] = {}
        for answer in answers:
            by_champion.setdefault(id(answer.champion), []).append(answer)
        for some in by_champion.values():
            champion = some[0].champion
            reads = feature_list(champion.model, champion.version, champion.spec_hash, champion.features)
            yield reads, self._of_champion(champion, reads.id, some)

    def _of_champion(self, champion: Champion, reads: str, answers: Sequence[Answered]) -> list[ServedVector]:
        given = [(answer, *prediction) for answer in answers for prediction in answer.predictions]
        features = np.array([read.values for _, _, read, _ in given], dtype=np.float64)
        scores = champion.scores(champion.columns(features)).tolist()
        shadows = self._shadows(champion, features)
        return [
            ServedVector(
                request_id=answer.request_id,
                customer_id=prediction.customer_id,
                served_at=answer.began.utc,
                as_of=answer.as_of,
                position=read.position,
                revision=read.revision,
                reads=reads,
                values=read.values,
                probability=probability,
                score=scores[row] if prediction.score is None else prediction.score,
                contributions=prediction.contributions,
                context=answer.context,
                shadow=tuple(shadow[row] for shadow in shadows),
            )
            for row, (answer, prediction, read, probability) in enumerate(given)
        ]

    def _shadows(self, champion: Champion, features: Array) -> list[list[ShadowScore]]:
        """Scores of each row by each version in the shadow; of those that fail none."""
        try:
            asked = list(self._shadow_of(champion))
        except Exception as error:  # noqa: BLE001 (whatever it is, what was served has to be logged)
            self._note(champion, len(features), error)
            return []
        made = []
        for shadow in asked:
            try:
                # A copy, so that nobody changes what is logged.
                scores, probabilities = (part.tolist() for part in shadow.predict(features.copy()))
                rows = zip(scores, probabilities, strict=True)
                told = [ShadowScore(shadow.model, shadow.version, score, chance) for score, chance in rows]
                if len(told) != len(features):
                    raise ValueError(f"{len(told)} shadow scores of {len(features)} predictions")
                made.append(told)
            except Exception as error:  # noqa: BLE001 (as above)
                self._note(champion, len(features), error)
        return made

    def _note(self, champion: Champion, count: int, error: Exception) -> None:
        if not self.shadow_failed:
            logger.warning("shadow scores of %s are missing; the first: %s", champion.model, described(error))
        self.shadow_failed += count
