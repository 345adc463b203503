"""Which pairs of features act together: SHAP interaction values in log-odds.

The values of one row form a symmetric matrix. Its diagonal is what a feature does alone; what two features do
together stands half in each of their two cells. A row of the matrix sums to the contribution of its feature
(Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees").
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import lightgbm
import numpy as np
import shap

from feature_repo.reasons import AdditivityError
from pipelines.explain.contributions import Array, Explained

MOST_ROWS, LEAST_ROWS = 200, 30
_WORK = 3e8
_CLOSE = 1e-6


@dataclass(frozen=True, slots=True)
class Pair:
    """Two features, the mean absolute effect of both together in log-odds, and its share of all effects."""

    first: str
    second: str
    size: float
    share: float


@dataclass(frozen=True, slots=True)
class Interactions:
    """Pairs, the strongest first. `values` (rows, features) are what was looked at, `strongest` (rows,) its effect.

    `alone` is the share of all effects that features have alone. `gap` is the worst miss of a sum, in log-odds.
    """

    rows: int
    pairs: tuple[Pair, ...]
    alone: float
    gap: float
    values: Array
    strongest: Array


def interactions(booster: lightgbm.Booster, explained: Explained, most_pairs: int = 10) -> Interactions | None:
    """Interactions in some of the explained rows, evenly spread over them; None where fewer than two features act.

    Raises:
        AdditivityError: the values are not symmetric, or do not sum to the contributions, within 1e-6.
    """
    if np.count_nonzero(np.abs(explained.contributions).max(axis=0)) < 2:
        return None
    count = min(_affordable(booster), len(explained.values))
    chosen = np.unique(np.linspace(0, len(explained.values) - 1, count).round().astype(int))
    values, contributions = explained.values[chosen], explained.contributions[chosen]
    effects = np.asarray(shap.TreeExplainer(booster).shap_interaction_values(values), dtype=np.float64)
    gap = check_interactions(effects, contributions)
    sizes = np.abs(effects).mean(axis=0)
    total = float(sizes.sum()) or 1.0
    places = list(itertools.combinations(range(len(explained.names)), 2))
    places.sort(key=lambda place: -sizes[place])
    pairs = [
        Pair(explained.names[i], explained.names[j], float(2 * sizes[i, j]), float(2 * sizes[i, j]) / total)
        for i, j in places[:most_pairs] if sizes[i, j] > 0
    ]  # fmt: skip
    alone = float(np.trace(sizes)) / total
    first, second = places[0]
    return Interactions(len(chosen), tuple(pairs), alone, gap, values, 2 * effects[:, first, second])


def check_interactions(effects: Array, contributions: Array) -> float:
    """The worst miss of symmetry and of the sums.

    `effects` have the shape (rows, features, features), `contributions` (rows, features).

    Raises:
        AdditivityError: it is above 1e-6, or not a number.
    """
    asymmetry = np.abs(effects - effects.transpose(0, 2, 1)).max(initial=0.0)
    gap = float(max(asymmetry, np.abs(effects.sum(axis=2) - contributions).max(initial=0.0)))
    if not gap <= _CLOSE:  # also true of NaN
        raise AdditivityError(f"interactions miss the contributions by {gap:.3g} log-odds, more than {_CLOSE:g}")
    return gap


def _affordable(booster: lightgbm.Booster) -> int:
    """How many rows take some seconds: the work for a row grows with leaves and features."""
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"])
    return int(np.clip(_WORK / (max(leaves, 1) * booster.num_feature()) / 10, LEAST_ROWS, MOST_ROWS))
