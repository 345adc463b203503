"""Served predictions made again: features from lake and journal, and what was answered by the version that answered.

Where the features of a prediction come out equal to the last bit, what is made of the logged ones is what would be made
of those that the events give. So what follows from features is made again of the logged ones, also for customers whose
events are gone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from feature_repo.reasons import ADDITIVITY
from pipelines.feature_audit import Difference, compare_features, drawn_of
from pipelines.predictions.answers import compare_answers
from pipelines.predictions.versions import Versions
from pipelines.settings import Settings

_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class PredictionReplay:
    """`drawn` of the `logged` predictions made again; those that could not be are counted by reason.

    Of `features_of` predictions `values` features were computed again, of `answers` score and probability, of
    `explained` of these all contributions, which missed the score by `largest_gap` log-odds at most. `lost` were served
    and never came into the log, `unreadable` lines are torn.
    """

    logged: int
    drawn: int
    features_of: int
    values: int
    answers: int
    explained: int
    shadows: int
    largest_gap: float
    differences: tuple[Difference, ...]
    features_not_replayed: dict[str, int]
    answers_not_replayed: dict[str, int]
    lost: int
    unreadable: int
    seed: int

    @property
    def passed(self) -> bool:
        """Something was made again, all of it is equal, and all reasons add up."""
        return self.answers > 0 and not self.differences and self.largest_gap <= ADDITIVITY

    def text(self) -> str:
        """The result for a person."""
        apart = len({(one.request_id, one.customer_id) for one in self.differences})
        lines = [
            f"{self.drawn:,} of {self.logged:,} logged predictions: {self.answers:,} answered again by their version,"
            f" {self.features_of:,} computed again from the events ({self.values:,} values); {apart:,} came out"
            " otherwise",
            f"  {self.explained:,} with reasons, whose contributions miss the score by {self.largest_gap:.1e} at most",
            *([f"  {self.shadows:,} shadow scores made again"] if self.shadows else []),
            *(f"  features not made again: {count:,} {why}" for why, count in self.features_not_replayed.items()),
            *(f"  answers not made again: {count:,} {why}" for why, count in self.answers_not_replayed.items()),
        ]
        if self.lost:
            lines.append(f"  {self.lost:,} predictions were served and did not come into the log")
        if self.unreadable:
            lines.append(f"  {self.unreadable:,} torn lines were left out")
        lines += [f"  {difference.text()}" for difference in self.differences[:_MOST_TOLD]]
        if len(self.differences) > _MOST_TOLD:
            lines.append(f"  and {len(self.differences) - _MOST_TOLD:,} more: --json has all")
        return "\n".join(lines)


def replay_predictions(settings: Settings, sample: int | None = None, seed: int = 0) -> PredictionReplay:
    """Make `sample` logged predictions again, drawn at random by `seed`, or all.

    Raises:
        UserError: nothing was logged.
    """
    drawn = drawn_of(settings, sys.maxsize if sample is None else sample, seed)
    features = compare_features(settings, drawn)
    answers = compare_answers(drawn.vectors, drawn.lists, Versions(settings.workspace.bentoml_home))
    return PredictionReplay(
        logged=drawn.logged,
        drawn=len(drawn.vectors),
        features_of=features.compared,
        values=features.values,
        answers=answers.compared,
        explained=answers.explained,
        shadows=answers.shadows,
        largest_gap=answers.largest_gap,
        differences=(*features.differences, *answers.differences),
        features_not_replayed=features.not_compared,
        answers_not_replayed=dict(answers.not_compared),
        lost=drawn.lost,
        unreadable=drawn.unreadable,
        seed=seed,
    )
