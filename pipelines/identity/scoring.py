"""How probable it is that two customers are one person: Splink's model of Fellegi and Sunter over DuckDB.

Nobody labels pairs. How often people who are not the same agree is counted in random pairs; how often one
person's records agree is found by expectation maximisation over pairs that have something in common.
Samples are drawn by hashes of the customer ids, so the same customers give the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from pipelines.identity.comparisons import BY_NAME, CERTAIN, CERTAIN_SHARE, TRAINING, records, splink_settings
from pipelines.identity.profiles import Profile

if TYPE_CHECKING:
    from splink import Linker

_SEED = 20260630
_RANDOM_PAIRS = 5e5
# Of fewer pairs nothing can be learned about how one person's records differ.
LEAST_CERTAIN = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """What one comparison says: its level in words, and what it adds to the match weight (log2 of odds).

    `known`: both have something to compare. `strong`: see `Level`.
    """

    words: str
    weight: float
    agrees: bool
    strong: bool
    known: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """The pairs, the most probable first, and how many pairs that are certainly one person they were learned
    from; there are none where those are fewer than LEAST_CERTAIN."""

    pairs: tuple[ScoredPair, ...]
    certain: int


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two customers (left < right), the probability that they are one person, and why, by comparison."""

    left: str
    right: str
    probability: float
    findings: Mapping[str, Finding]


def score_pairs(profiles: Sequence[Profile], least: float) -> Scores:
    """All pairs with a probability of at least `least`."""
    table = records(profiles)
    # One thread: sums of floating-point numbers in another order differ in the last bits.
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("records", table)
        certain = _count(connection, CERTAIN)
        if certain < LEAST_CERTAIN:
            return Scores((), certain)
        rows = _trained(connection, table).inference.predict(threshold_match_probability=least).as_record_list()
    return Scores(tuple(sorted(map(_pair, rows), key=lambda pair: (-pair.probability, pair.left, pair.right))), certain)


def _count(connection: duckdb.DuckDBPyConnection, rules: Sequence[tuple[str, ...]]) -> int:
    """How many pairs have all columns of any of the rules in common."""
    parts = (
        f"SELECT l.customer_id, r.customer_id FROM records l JOIN records r USING ({', '.join(rule)})"
        " WHERE l.customer_id < r.customer_id"
        for rule in rules
    )
    return int(connection.execute(f"SELECT count(*) FROM ({' UNION '.join(parts)})").fetchall()[0][0])


def _trained(connection: duckdb.DuckDBPyConnection, table: pa.Table) -> Linker:
    from splink import DuckDBAPI, Linker, block_on

    api = DuckDBAPI(connection)
    linker = Linker(api.register(table), splink_settings(), log_level=logging.ERROR)
    training = linker.training
    training.estimate_probability_two_random_records_match([block_on(*rule) for rule in CERTAIN], CERTAIN_SHARE)
    training.estimate_u_using_random_sampling(max_pairs=_RANDOM_PAIRS, seed=_SEED)
    # Where nothing of a kind is known at all there is nothing to learn from it.
    for rule in TRAINING:
        if _count(connection, [rule]):
            training.estimate_parameters_using_expectation_maximisation(block_on(*rule))
    return linker


def _pair(row: Mapping[str, object]) -> ScoredPair:
    left, right = sorted((str(row["customer_id_l"]), str(row["customer_id_r"])))
    return ScoredPair(
        left, right, float(str(row["match_probability"])), {name: _finding(row, name) for name in BY_NAME}
    )


def _finding(row: Mapping[str, object], name: str) -> Finding:
    level = BY_NAME[name].words(int(str(row[f"gamma_{name}"])))
    return Finding(level.words, float(str(row[f"mw_{name}"])), level.agrees, level.strong, level.known)
