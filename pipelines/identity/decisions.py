"""What people and matching decide about two identifiers; it outlasts everything that events say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Decision:
    """`left` and `right` are identifiers (kind, value as events hold it). Of a pair the newest decision holds.

    `link`: they are of one customer. `apart`: they never are. `withdrawn`: as if nothing had been decided.
    `at` in int64 microseconds UTC.
    """

    verdict: Literal["link", "apart", "withdrawn"]
    left: tuple[str, str]
    right: tuple[str, str]
    method: Literal["match", "manual"]
    by: str
    at: int
    probability: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Decisions(Protocol):
    """Where decisions are kept."""

    def decide(self, decision: Decision) -> frozenset[str]:
        """Keep a decision, and give the customers whose events it changes. Raises UserError for an unusable value."""
