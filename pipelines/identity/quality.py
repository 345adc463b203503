"""How good matching is where the truth is known, beside what is done without it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.identity.match import Matching
from pipelines.identity.names import skeleton
from pipelines.identity.profiles import Profile

Pairs = frozenset[tuple[str, str]]

_COLUMNS = ("member_id", "customer_id")
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Share:
    """`part` of `whole`, as a share (None of nothing), and its 95 % interval."""

    part: int
    whole: int
    value: float | None
    low: float
    high: float

    def text(self) -> str:
        return "-" if self.value is None else f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def share(part: int, whole: int) -> Share:
    """The share with Wilson's interval (1927); from 0 to 1 where nothing was counted."""
    if not whole:
        return Share(part, whole, None, 0.0, 1.0)
    value, z = part / whole, _NORMAL_95
    middle = value + z * z / (2 * whole)
    spread = z * math.sqrt(value * (1 - value) / whole + z * z / (4 * whole * whole))
    low, high = ((middle + sign * spread) / (1 + z * z / whole) for sign in (-1, 1))
    return Share(part, whole, value, max(0.0, low), min(1.0, high))


@dataclass(frozen=True, slots=True)
class Method:
    """Pairs that one way of linking found: the share of them that are true, and of the true ones that it found."""

    name: str
    precision: Share
    recall: Share


@dataclass(frozen=True, slots=True)
class Quality:
    """Matching against the truth. `true_pairs`: of customers that are both in the events; `review` counts the
    pairs between the thresholds or held back by a rule, and those of them that are true."""

    customers: int
    true_pairs: int
    review: Share
    methods: tuple[Method, ...]
    linked_wrongly: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """The figures for a person."""
        rows = [
            f"  {method.name:<34}{method.precision.whole:>7,}  {method.precision.text():<22} {method.recall.text()}"
            for method in self.methods
        ]
        return "\n".join([
            f"{self.true_pairs:,} true pairs among {self.customers:,} customers; 95 % intervals (Wilson)",
            f"  {'':<34}{'pairs':>7}  {'precision':<22} recall",
            *rows,
            f"  for review: {self.review.whole:,} pairs, {self.review.part:,} of them true",
        ])  # fmt: skip


def read_truth(path: Path) -> Pairs:
    """The true pairs of a Parquet file with the columns member_id and customer_id (null: is no customer).

    Raises:
        UserError: it is no such file.
    """
    try:
        table = pq.read_table(path, columns=list(_COLUMNS))
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        expected = f"a Parquet file with the columns {' and '.join(_COLUMNS)}"
        raise UserError("the truth cannot be read", [Problem("--truth", expected, f"{path}: {error}")]) from None
    members, customers = (table[name].to_pylist() for name in _COLUMNS)
    return frozenset(_pair(a, b) for a, b in zip(members, customers, strict=True) if a is not None and b is not None)


def measure(matching: Matching, profiles: Iterable[Profile], truth: Pairs) -> Quality:
    """Matching, and the baselines, against the true pairs; nobody else is the same person as anybody."""
    known = list(profiles)
    customers = {profile.customer_id for profile in known}
    true = frozenset(pair for pair in truth if customers.issuperset(pair))
    by_verdict: dict[str, set[tuple[str, str]]] = {"link": set(), "review": set()}
    for outcome in matching.outcomes:
        by_verdict[outcome.verdict].add(_pair(outcome.pair.left, outcome.pair.right))
    linked, review = by_verdict["link"], by_verdict["review"]
    found = {
        "matching": linked,
        "matching, and review without a slip": linked | (review & true),
        "same name and birth date": _agreeing(known, _name_and_birth_date),
        "names that sound the same": _agreeing(known, _sounds),
    }
    methods = (Method(name, *_shares(pairs, true)) for name, pairs in found.items())
    wrong = tuple(sorted(linked - true))
    return Quality(len(customers), len(true), share(len(review & true), len(review)), tuple(methods), wrong)


def _shares(found: Iterable[tuple[str, str]], true: Pairs) -> tuple[Share, Share]:
    pairs = frozenset(found)
    right = len(pairs & true)
    return share(right, len(pairs)), share(right, len(true))


def _agreeing(profiles: Iterable[Profile], keys: Callable[[Profile], Iterator[Hashable]]) -> set[tuple[str, str]]:
    """All pairs of customers that have a key in common."""
    groups: dict[Hashable, set[str]] = defaultdict(set)
    for profile in profiles:
        for key in keys(profile):
            groups[key].add(profile.customer_id)
    return {_pair(*pair) for group in groups.values() for pair in combinations(sorted(group), 2)}


def _name_and_birth_date(profile: Profile) -> Iterator[Hashable]:
    if profile.birth_date is not None:
        yield from ((name, profile.birth_date) for name in profile.names)


def _sounds(profile: Profile) -> Iterator[Hashable]:
    yield from ((skeleton(name.given), skeleton(name.family)) for name in profile.names)


def _pair(left: str, right: str) -> tuple[str, str]:
    return (left, right) if left < right else (right, left)
