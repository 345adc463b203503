"""Contributions of the features to predictions (SHAP values in log-odds), and figures drawn from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from feature_repo.reasons import check_additive

Array: TypeAlias = NDArray[np.float64]
_BLOCK, _WORTH_THREADS = 250, 200
# Leaves times rows of some seconds of one core.
_WORK, _LEAST_ROWS = 4e7, 400


@dataclass(frozen=True, slots=True)
class Explained:
    """Rows, shape (rows, features), with their contributions, (rows, features), and scores, (rows,), in log-odds.

    `base` is the mean score the contributions start from. `gap` is the worst miss of their sum, in log-odds.
    """

    names: tuple[str, ...]
    values: Array
    contributions: Array
    base: float
    scores: Array
    gap: float


def affordable_rows(booster: lightgbm.Booster, most: int) -> int:
    """At most `most`, and not more than take some seconds: the work for a row grows with the leaves of the model."""
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    return int(min(most, max(_LEAST_ROWS, _WORK / max(leaves, 1))))


def explain_rows(
    booster: lightgbm.Booster, values: Array, advance: Callable[[float], None] = lambda amount: None,
    threads: int | None = None,
) -> Explained:  # fmt: skip
    """Path-dependent TreeSHAP of every row, checked to add up to the score.

    `threads` of LightGBM: as many as there are cores where rows are many, unless they are given.

    Raises:
        AdditivityError: a row's contributions miss its score by more than 1e-9.
    """
    blocks = []
    if threads is None:
        # Few rows wait for each other's threads longer than they take.
        threads = len(os.sched_getaffinity(0)) if len(values) >= _WORTH_THREADS else 1
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        blocks.append(np.asarray(booster.predict(block, pred_contrib=True, num_threads=threads), dtype=np.float64))
        advance(len(block))
    contributions = np.concatenate(blocks)
    scores = np.asarray(booster.predict(values, raw_score=True, num_threads=threads), dtype=np.float64)
    check_additive(contributions, scores)
    gap = float(np.abs(contributions.sum(axis=1) - scores).max())
    parts, base = contributions[:, :-1], float(contributions[0, -1])
    return Explained(tuple(booster.feature_name()), values, parts, base, scores, gap)


@dataclass(frozen=True, slots=True)
class Importance:
    """How much one feature moves predictions over the explained rows.

    `mean_contribution` is the mean of absolute contributions in log-odds, `share` its part of all features' sum.
    `direction` is Spearman's correlation of value and contribution over rows that have a value, None where undefined.
    """

    feature: str
    meaning: str
    mean_contribution: float
    share: float
    direction: float | None
    empty: float


def importances(explained: Explained, meanings: Mapping[str, str]) -> tuple[Importance, ...]:
    """All features, the most important first; ties in the order of the model."""
    sizes = np.abs(explained.contributions).mean(axis=0)
    total = float(sizes.sum()) or 1.0
    return tuple(
        Importance(
            name, meanings.get(name, name), float(sizes[at]), float(sizes[at]) / total,
            _direction(explained.values[:, at], explained.contributions[:, at]),
            float(np.isnan(explained.values[:, at]).mean()),
        )
        for at in np.argsort(-sizes, kind="stable").tolist() for name in [explained.names[at]]
    )  # fmt: skip


def _direction(values: Array, parts: Array) -> float | None:
    known = np.isfinite(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0 or np.ptp(parts[known]) == 0:
        return None
    return float(spearmanr(values[known], parts[known]).statistic)


def example_rows(probabilities: Array, labels: Array) -> dict[int, list[str]]:
    """Row numbers worth reading, each with the roles it was chosen for.

    Lowest to highest probability by quartiles, and the two worst mistakes: the surest wrong prediction of each kind.
    """
    ranked = np.argsort(probabilities, kind="stable")
    places = (
        ("lowest probability", 0.0), ("lower quartile", 0.25), ("median", 0.5),
        ("upper quartile", 0.75), ("highest probability", 1.0),
    )  # fmt: skip
    chosen: dict[int, list[str]] = {}
    for role, quantile in places:
        chosen.setdefault(int(ranked[round(quantile * (len(ranked) - 1))]), []).append(role)
    stayed, left = ranked[labels[ranked] == 0], ranked[labels[ranked] == 1]
    if len(left):
        chosen.setdefault(int(left[0]), []).append("lowest probability of those with label 1")
    if len(stayed):
        chosen.setdefault(int(stayed[-1]), []).append("highest probability of those with label 0")
    return chosen


@dataclass(frozen=True, slots=True)
class Reach:
    """What one gets who acts on the `share` of customers with the highest probabilities."""

    share: float
    rows: int
    lowest_probability: float
    precision: float
    recall: float
    lift: float


SHARES = (0.05, 0.1, 0.2, 0.3, 0.5)


def reach(probabilities: Array, labels: Array, shares: Sequence[float] = SHARES) -> tuple[Reach, ...]:
    """Precision, recall and lift over the base rate at each share, rows ranked by probability."""
    ranked = np.argsort(-probabilities, kind="stable")
    table = []
    for share in shares:
        rows = max(1, round(share * len(ranked)))
        found = float(labels[ranked[:rows]].sum())
        precision, positives = found / rows, max(float(labels.sum()), 1.0)
        lowest = float(probabilities[ranked[rows - 1]])
        table.append(Reach(share, rows, lowest, precision, found / positives, precision * len(labels) / positives))
    return tuple(table)
