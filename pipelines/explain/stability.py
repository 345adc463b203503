"""Whether the same features come out on top when the model is fitted again, and at other times."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.boosting import LearningRows, bin_values, parameters
from pipelines.explain.contributions import Array, explain_rows
from pipelines.fitting import monotone_constraints
from pipelines.settings.models import FitConfig

SEEDS, MOST_FOLDS = 3, 3
MOST_TRAIN_ROWS, LEAST_ROWS, MOST_ROWS = 20_000, 400, 4000
# Leaves times rows that all refits may visit: some seconds.
_WORK = 1.5e7
# Kind, name, seed, and the fold that is left out.
_Job: TypeAlias = tuple[str, str, int, int | None]


@dataclass(frozen=True, slots=True)
class Refit:
    """One more fit: with another seed, or without one fold. `tops` are its top features at each snapshot."""

    name: str
    kind: str
    tops: tuple[tuple[str, ...], ...]
    agreement: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stability:
    """Jaccard of sets of the `top` strongest features: shared ones over all in either, 1 where they are the same.

    `agreement` of a refit compares it with the model itself on the newest snapshot; a refit's other snapshots too.
    `own_seeds` and `own_folds` are means of that over the refits of a kind; `seeds` and `folds` are means over pairs of
    refits on the newest snapshot, `time` of the model itself over pairs of snapshots. `kept` says in which share of
    refits and snapshots each of the model's top features, as the report ranks them, is on top.
    """

    top: int
    snapshots: tuple[str, ...]
    refits: tuple[Refit, ...]
    own_seeds: float | None
    own_folds: float | None
    seeds: float | None
    folds: float | None
    time: float | None
    kept: dict[str, float]
    train_rows: int
    rows: int
    most_rows_a_snapshot: int
    random_parameters: bool
    averaged: int
    sampled: bool
    gap: float


def jaccard(first: Sequence[str], second: Sequence[str]) -> float:
    """Shared members over all members; 1 of two empty sets."""
    one, other = set(first), set(second)
    return len(one & other) / len(one | other) if one | other else 1.0


def top_features(names: Sequence[str], contributions: Array, most: int) -> tuple[str, ...]:
    """The `most` features of largest mean absolute contribution; those that contribute nothing are left out."""
    sizes = np.abs(contributions).mean(axis=0)
    return tuple(names[at] for at in np.argsort(-sizes, kind="stable")[:most] if sizes[at] > 0)


def how_many(features: int) -> int:
    """Ten; half of the features where they are fewer than twenty, since all of them are always the same."""
    return max(1, min(10, features // 2))


def stability(
    booster: lgb.Booster, learning: LearningRows, looked_at: Sequence[tuple[str, Array]],
    params: Mapping[str, Any], rounds: int, how: FitConfig, seed: int, sampled: bool = False,
    ranked: Sequence[str] = (),
) -> Stability:  # fmt: skip
    """Fit again with other seeds and without single folds, and compare the strongest features.

    Args:
        booster: the model itself.
        learning: rows of the train part to fit to.
        looked_at: snapshots (days), oldest first, each with rows (rows, features) to explain.
        params: LightGBM parameters that the model was fitted with.
        rounds: trees of one fit.
        how: directions that the domain knows.
        seed: the first seed; the others follow it.
        sampled: whether `learning` is part of what the model was fitted to.
        ranked: the model's own features, the strongest first, over more rows than `looked_at` has; what `kept` is of.

    Raises:
        AdditivityError: contributions do not sum to a score.
    """
    names, top = learning.names, how_many(len(learning.names))
    fixed = {**params, **monotone_constraints(how, names)}
    jobs: list[_Job] = [("seed", f"seed {seed + step}", seed + step, None) for step in range(1, SEEDS + 1)]
    folds = np.unique(learning.folds)[:MOST_FOLDS]
    jobs += [("fold", f"without fold {fold}", seed, int(fold)) for fold in folds]
    own, own_gap = _tops(booster, looked_at, top)

    def refit(job: _Job) -> tuple[Refit, float]:
        kind, name, own_seed, left_out = job
        kept = np.ones(len(learning.labels), dtype=bool) if left_out is None else learning.folds != left_out
        fitted = _fit(learning, kept, fixed, rounds, own_seed)
        tops, gap = _tops(fitted, looked_at, top)
        agreement = tuple(jaccard(mine, own[-1]) for mine in tops)
        return Refit(name, kind, tops, agreement), gap

    # Threads are enough: LightGBM computes outside Python's lock.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        done = list(pool.map(refit, jobs))
    refits = tuple(item for item, _ in done)
    return Stability(
        top, tuple(day for day, _ in looked_at), refits, _against_own(refits, "seed"), _against_own(refits, "fold"),
        _pairs([r.tops[-1] for r in refits if r.kind == "seed"]),
        _pairs([r.tops[-1] for r in refits if r.kind == "fold"]), _pairs(own),
        _kept(ranked[:top] or own[-1], refits),
        len(learning.labels), sum(len(values) for _, values in looked_at),
        max(len(values) for _, values in looked_at), _draws_at_random(fixed),
        how.seeds, sampled,
        max([own_gap, *(gap for _, gap in done)]),
    )  # fmt: skip


def _fit(
    learning: LearningRows, kept: NDArray[np.bool_], params: Mapping[str, Any], rounds: int, seed: int
) -> lgb.Booster:
    # One thread: the fits run side by side.
    chosen = {**parameters(params, seed, int(kept.sum())), "num_threads": 1}
    data = bin_values(learning.values[kept], learning.labels[kept], list(learning.names), seed)
    return lgb.train(chosen, data, rounds)


def _tops(
    booster: lgb.Booster, looked_at: Sequence[tuple[str, Array]], top: int
) -> tuple[tuple[tuple[str, ...], ...], float]:
    explained = explain_rows(booster, np.concatenate([values for _, values in looked_at]), threads=1)
    ends = np.cumsum([len(values) for _, values in looked_at])[:-1]
    parts = np.split(explained.contributions, ends)
    return tuple(top_features(explained.names, part, top) for part in parts), explained.gap


def _pairs(tops: Sequence[Sequence[str]]) -> float | None:
    pairs = [jaccard(first, second) for first, second in itertools.combinations(tops, 2)]
    return float(np.mean(pairs)) if pairs else None


def _against_own(refits: Sequence[Refit], kind: str) -> float | None:
    found = [item.agreement[-1] for item in refits if item.kind == kind]
    return float(np.mean(found)) if found else None


def _kept(own: Sequence[str], refits: Sequence[Refit]) -> dict[str, float]:
    all_tops = [top for item in refits for top in item.tops]
    return {name: sum(name in top for top in all_tops) / max(len(all_tops), 1) for name in own}


def _draws_at_random(params: Mapping[str, Any]) -> bool:
    """Whether another seed can give another model."""
    bagged = params.get("bagging_freq", 0) > 0 and params.get("bagging_fraction", 1.0) < 1.0
    return bool(bagged or params.get("feature_fraction", 1.0) < 1.0 or params.get("extra_trees", False))


def rows_of_refits(booster: lgb.Booster, averaged: int) -> int:
    """How many rows all refits can explain in some seconds: the work for a row grows with the leaves of one fit."""
    leaves = sum(tree["num_leaves"] for tree in booster.dump_model()["tree_info"]) / max(averaged, 1)
    return int(np.clip(_WORK / (max(leaves, 1.0) * (SEEDS + MOST_FOLDS)), LEAST_ROWS, MOST_ROWS))


def rows_to_look_at(
    rows: pd.DataFrame, inputs: Array, seed: int, most: int = LEAST_ROWS
) -> tuple[tuple[str, Array], ...]:
    """The same number of rows of each snapshot, oldest first, drawn at random; at least 30 each where there are."""
    days = rows["snapshot"].dt.strftime("%Y-%m-%d").to_numpy()
    names = np.unique(days)
    each = max(30, most // len(names))
    generator = np.random.default_rng(seed)
    chosen = []
    for name in names:
        places = np.flatnonzero(days == name)
        chosen.append(places if len(places) <= each else generator.choice(places, each, replace=False))
    return tuple((str(name), inputs[places]) for name, places in zip(names, chosen, strict=True))
