"""Matching: customers that share no identifier and are probably one person are linked, or put up for review."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.identity.clock import decided_at
from pipelines.identity.decisions import Decisions
from pipelines.identity.profiles import Profile, read_profiles
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
    """One run: user ids compared, pairs that were linked now, that wait for review, that had been decided, and
    that are one customer by other links.

    `rules` counts all pairs found by verdict and rule. `certain`: pairs to learn from; of fewer than
    LEAST_CERTAIN nothing is learned, and nothing is linked. `changed`: customers whose events are others now.
    """

    customers: int
    certain: int
    linked: int
    waiting: int
    known: int
    joined: int
    rules: Mapping[str, Mapping[str, int]]
    changed: tuple[str, ...]
    seconds: float

    def text(self) -> str:
        """The summary for a person."""
        head = f"{self.customers:,} customers compared in {self.seconds:.1f} s"
        if self.certain < LEAST_CERTAIN:
            return f"{head}: only {self.certain} pairs are surely one person, too few of {LEAST_CERTAIN} to learn from"
        lines = [
            f"{head}: {self.linked:,} pairs linked, {self.waiting:,} for review, "
            f"{self.known:,} decided before, {self.joined:,} one customer already",
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


def itself(user_id: str) -> str:
    """The customer of a user id where nothing is linked."""
    return user_id


def match_customers(
    settings: Settings,
    decisions: Decisions | None = None,
    customer_of: Callable[[str], str] = itself,
) -> MatchSummary:
    """Compare all user ids of the workspace, link those that are surely one person, and put up the rest for review.

    `customer_of` gives the customer that a user id is of by now. Links are told to `decisions`; without it
    they are noted, and told by the next call that has it.

    Raises:
        JournalUnavailable: the journal cannot be read.
        EncryptionKeyMissing: there are personal values, and there is no key.
        sqlite3.Error: the review queue cannot be read or written.
    """
    began = time.monotonic()
    matching = match_profiles(read_profiles(settings), settings.identity.matching)
    apart = [item for item in matching.outcomes if customer_of(item.pair.left) != customer_of(item.pair.right)]
    queue = ReviewQueue(settings.workspace.identity)
    noted = queue.note(apart, decided_at(settings))
    changed = queue.tell(decisions) if decisions is not None else frozenset()
    return MatchSummary(
        customers=matching.customers,
        certain=matching.certain,
        linked=noted.linked,
        waiting=noted.waiting,
        known=noted.known,
        joined=len(matching.outcomes) - len(apart),
        rules=counts(matching.outcomes),
        changed=tuple(sorted(changed)),
        seconds=round(time.monotonic() - began, 1),
    )
