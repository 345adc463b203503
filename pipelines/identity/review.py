"""The review queue: pairs of customers that may be one person, and what was decided about each, for ever.

What is decided is noted here first and then told to the store of links, and told again after a crash
between the two; a pair that was decided is never asked or linked again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from feature_repo.configuration import Problem
from feature_repo.write_ahead import use_write_ahead_log
from pipelines.console import UserError
from pipelines.identity.decisions import Decision, Decisions
from pipelines.identity.rules import Outcome
from pipelines.settings.identity import USER_ID

Verdict = Literal["link", "apart"]

MATCHING = "match"
_TABLE = """
CREATE TABLE IF NOT EXISTS review_pairs (
  pair TEXT PRIMARY KEY, left_id TEXT NOT NULL, right_id TEXT NOT NULL, probability REAL NOT NULL,
  why TEXT NOT NULL, evidence TEXT NOT NULL, found_at INTEGER NOT NULL,
  verdict TEXT, method TEXT, decided_by TEXT, decided_at INTEGER, note TEXT, told INTEGER NOT NULL DEFAULT 0,
  UNIQUE (left_id, right_id))
"""
_COLUMNS = "pair, left_id, right_id, probability, why, evidence, found_at, verdict, decided_by, decided_at, note"
_INSERT = """
INSERT INTO review_pairs (pair, left_id, right_id, probability, why, evidence, found_at, verdict, method, decided_by,
  decided_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class ReviewPair:
    """One pair. `verdict` is None while it waits. Instants in int64 microseconds UTC."""

    pair: str
    left: str
    right: str
    probability: float
    why: str
    evidence: Mapping[str, Any]
    found_at: int
    verdict: Verdict | None = None
    by: str | None = None
    decided_at: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """How many pairs of a run were linked, wait, and had been decided before."""

    linked: int
    waiting: int
    known: int


def pair_name(left: str, right: str) -> str:
    """How a pair is called on the command line, whichever way round it is given."""
    both = json.dumps(sorted((left, right)), ensure_ascii=False)
    return hashlib.blake2b(both.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


class ReviewQueue:
    """The pairs of one workspace. Processes of one host may share it."""

    def __init__(self, path: Path) -> None:
        """Opens the file, made if there is none. Raises sqlite3.Error if it is no database."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with self._transaction() as connection:
            connection.execute(_TABLE)

    def note(self, outcomes: Iterable[Outcome], now: int) -> Noted:
        """Take over what a run of matching found, in place of what waited before.

        Links are noted as decided by matching, the rest waits; pairs that were decided stay as they are.
        """
        linked = waiting = known = 0
        with self._transaction() as connection:
            connection.execute("DELETE FROM review_pairs WHERE verdict IS NULL")
            decided = {name for (name,) in connection.execute("SELECT pair FROM review_pairs")}
            for outcome in outcomes:
                name = pair_name(outcome.pair.left, outcome.pair.right)
                if name in decided:
                    known += 1
                    continue
                connection.execute(_INSERT, (name, *_values(outcome, now)))
                linked += outcome.verdict == "link"
                waiting += outcome.verdict != "link"
        return Noted(linked, waiting, known)

    def waiting(self) -> list[ReviewPair]:
        """Pairs to be decided, the most probable first."""
        return self._pairs("WHERE verdict IS NULL ORDER BY probability DESC, pair")

    def decided(self) -> list[ReviewPair]:
        """Pairs that people or matching decided, in the order they did."""
        return self._pairs("WHERE verdict IS NOT NULL ORDER BY decided_at, pair")

    def check_waiting(self, pair: str) -> None:
        """Raises UserError: no such pair waits."""
        if not self._pairs("WHERE verdict IS NULL AND pair = ?", pair):
            with self._transaction() as connection:
                raise _not_waiting(connection, pair)

    def decide(self, pair: str, verdict: Verdict, by: str, note: str | None, now: int) -> ReviewPair:
        """Decide a pair that waits, for ever.

        Raises:
            UserError: no such pair waits.
        """
        with self._transaction() as connection:
            query = (
                "UPDATE review_pairs SET verdict = ?, method = 'manual', decided_by = ?, decided_at = ?, note = ?"
                " WHERE pair = ? AND verdict IS NULL"
            )
            if connection.execute(query, (verdict, by, now, note, pair)).rowcount == 0:
                raise _not_waiting(connection, pair)
        return self._pairs("WHERE pair = ?", pair)[0]

    def forget(self, customers: Iterable[str]) -> int:
        """Remove every pair of these user ids, decided or not; how many there were."""
        with self._transaction() as connection:
            query = "DELETE FROM review_pairs WHERE left_id = ?1 OR right_id = ?1"
            return sum(connection.execute(query, (customer,)).rowcount for customer in customers)

    def tell(self, decisions: Decisions) -> frozenset[str]:
        """Tell the store of links what it has not been told yet; the customers whose events changed.

        Told twice if the process dies in between: deciding the same again has to change nothing.
        """
        changed: set[str] = set()
        told: list[tuple[str]] = []
        try:
            for name, decision in self._untold():
                changed |= decisions.decide(decision)
                told.append((name,))
        finally:
            with self._transaction() as connection:
                connection.executemany("UPDATE review_pairs SET told = 1 WHERE pair = ?", told)
        return frozenset(changed)

    def _untold(self) -> list[tuple[str, Decision]]:
        query = (
            "SELECT pair, verdict, left_id, right_id, method, decided_by, decided_at, probability, evidence, note"
            " FROM review_pairs WHERE verdict IS NOT NULL AND told = 0 ORDER BY decided_at, probability DESC, pair"
        )
        with self._transaction() as connection:
            rows = connection.execute(query).fetchall()
        return [(row[0], _decision(*row[1:])) for row in rows]

    def _pairs(self, where: str, *values: str) -> list[ReviewPair]:
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM review_pairs {where}", values).fetchall()
        return [_review_pair(*row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=30.0)) as connection:
            use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous=FULL")
            with connection:
                yield connection


def _review_pair(
    pair: str, left: str, right: str, probability: float, why: str, evidence: str, found_at: int, *decided: Any
) -> ReviewPair:
    return ReviewPair(pair, left, right, probability, why, json.loads(evidence), found_at, *decided)


def _values(outcome: Outcome, now: int) -> tuple[Any, ...]:
    pair = outcome.pair
    evidence = json.dumps(outcome.evidence(), ensure_ascii=False)
    decided = ("link", MATCHING, MATCHING, now) if outcome.verdict == "link" else (None,) * 4
    return (pair.left, pair.right, pair.probability, outcome.why, evidence, now, *decided)


def _decision(
    verdict: Verdict,
    left: str,
    right: str,
    method: Literal["match", "manual"],
    by: str,
    at: int,
    probability: float,
    evidence: str,
    note: str | None,
) -> Decision:
    told = {**json.loads(evidence), **({"note": note} if note else {})}
    return Decision(verdict, (USER_ID, left), (USER_ID, right), method, by, at, probability, told)


def _not_waiting(connection: sqlite3.Connection, pair: str) -> UserError:
    row = connection.execute("SELECT verdict, decided_by FROM review_pairs WHERE pair = ?", (pair,)).fetchone()
    got = f"{pair!r}, which was decided: {row[0]}, by {row[1]}" if row else f"{pair!r}, which is none"
    problem = Problem("pair", "a pair that waits", got, "twin identity review lists them")
    return UserError("this pair cannot be decided", [problem])
