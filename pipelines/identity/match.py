"""Matching: customers that share no identifier and are probably one person are linked, or put up for review."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.identity.decisions import Decisions
from pipelines.identity.profiles import Opened, Profile, read_profiles, stored_as_is
from pipelines.identity.review import ReviewQueue
from pipelines.identity.rules import Outcome, counts, decide_all
from pipelines.identity.scoring import LEAST_CERTAIN, score_pairs
from pipelines.settings import Settings
from pipelines.settings.identity import MatchingConfig


@dataclass(frozen=True, slots=True)
class Matching:
    """What matching says of some customers: outcomes from the threshold of review on, the most probable first."""

    customers: int
    certain: int
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class MatchSummary:
    """One run: customers compared, pairs that were linked now, that wait for review, and that had been decided.

    `rules` counts all pairs found by verdict and rule. `certain`: pairs to learn from; of fewer than
    LEAST_CERTAIN nothing is learned, and nothing is linked. `changed`: customers whose events are others now.
    """

    customers: int
    certain: int
    linked: int
    waiting: int
    known: int
    rules: Mapping[str, Mapping[str, int]]
    changed: tuple[str, ...]
    seconds: float

    def text(self) -> str:
        """The summary for a person."""
        head = f"{self.customers:,} customers compared in {self.seconds:.1f} s"
        if self.certain < LEAST_CERTAIN:
            return f"{head}: only {self.certain} pairs are surely one person, too few of {LEAST_CERTAIN} to learn from"
        lines = [
            f"{head}: {self.linked:,} pairs linked, {self.waiting:,} for review, {self.known:,} decided before",
            *(
                f"  {verdict:<8}{count:>6,}  {why}"
                for verdict, rules in self.rules.items()
                for why, count in rules.items()
            ),
        ]
        if self.waiting:
            lines.append("decide with: twin identity review")
        return "\n".join(lines)


def match_profiles(profiles: Sequence[Profile], thresholds: MatchingConfig) -> Matching:
    """Compare customers; nothing is written."""
    scores = score_pairs(profiles, thresholds.review)
    return Matching(len(profiles), scores.certain, tuple(decide_all(scores.pairs, thresholds)))


def match_customers(
    settings: Settings, decisions: Decisions | None = None, opened: Opened = stored_as_is
) -> MatchSummary:
    """Compare all customers of the workspace, link those that are surely one, and put up the rest for review.

    `opened` gives the plain text of personal values. Links are told to `decisions`; without it they are
    noted, and told by the next call that has it.

    Raises:
        JournalUnavailable: the journal cannot be read.
        sqlite3.Error: the review queue cannot be read or written.
    """
    began = time.monotonic()
    matching = match_profiles(read_profiles(settings, opened), settings.identity.matching)
    queue = ReviewQueue(settings.workspace.identity)
    noted = queue.note(matching.outcomes, time.time_ns() // 1000)
    changed = queue.tell(decisions) if decisions is not None else frozenset()
    return MatchSummary(
        matching.customers,
        matching.certain,
        noted.linked,
        noted.waiting,
        noted.known,
        counts(matching.outcomes),
        tuple(sorted(changed)),
        round(time.monotonic() - began, 1),
    )
