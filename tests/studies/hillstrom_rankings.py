"""One e-mail against none: how well learners of effects rank customers, over several splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.policy_value.logged import Array
from pipelines.scoring.bootstrap import Interval, customer_counts, interval_of
from pipelines.uplift.base import Fit, arm_boosters, customer_folds, part, predicted
from pipelines.uplift.doubly_robust import pseudo_effects
from pipelines.uplift.learners import fit_effects
from pipelines.uplift.metrics import METRICS, OneAction, ranking
from pipelines.uplift.rows import TrialRows
from pipelines.uplift.tuning import CAUTIOUS, CAUTIOUS_ROUNDS, tuned

LEARNERS = ("s", "t", "x", "dr")
TEST_SHARE, TOP = 0.3, 0.2
SETTINGS: Mapping[str, tuple[Mapping[str, Any], int]] = {
    "cautious": (CAUTIOUS, CAUTIOUS_ROUNDS),
    "LightGBM's defaults": ({}, 100),
}
TUNED = "tuned"


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent: resamples of customers, seeds of splits, trials of a search, and trees at most."""

    resamples: int = 500
    seeds: tuple[int, ...] = (11, 23, 37, 53, 71)
    trials: int = 10
    seconds: float = 600.0
    most_rounds: int = 150
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Compared:
    """Rankings of customers over splits, in visits a customer, with intervals of 95 %.

    metrics: (setting, scores, metric) to the mean over splits, its interval over resamples of customers. spread: the
    same keys to the standard deviation over splits. better: these and `random` or `propensity` to the mean minus that
    of these scores. tuning: to the mean of the tuned learner minus this. chosen: what the searches took, one a split.
    detectable: the smallest mean effect that a test of this size finds.
    """

    test_rows: int
    detectable: float
    metrics: Mapping[tuple[str, str, str], Interval]
    spread: Mapping[tuple[str, str, str], float]
    better: Mapping[tuple[str, str, str, str], Interval]
    tuning: Mapping[tuple[str, str, str], Interval]
    chosen: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Split:
    """One split: which rows are tested on, pseudo-effects of those (test rows,), scores by setting and name."""

    test: np.ndarray
    pseudo: Array
    scores: Mapping[tuple[str, str], Array]
    chosen: Mapping[str, str]


def split(rows: TrialRows, seed: int, effort: Effort) -> Split:
    """Learn from 70 %, score the rest. Scores of `propensity` are expected visits of those who are written to."""
    test = stratified(rows, seed)
    train, columns = part(rows, ~test), rows.columns[test]
    random = np.zeros(int(test.sum()))  # a constant score ranks at random, exactly
    cautious = Fit(CAUTIOUS, CAUTIOUS_ROUNDS, seed, effort.threads)
    expected = np.column_stack([predicted(booster, columns) for booster in arm_boosters(train, cautious)])
    pseudo = pseudo_effects(part(rows, test), expected)[:, 0]
    scores: dict[tuple[str, str], Array] = {}
    chosen = {}
    for setting, (params, rounds) in SETTINGS.items():
        scores[setting, "propensity"] = propensity(train, columns, Fit(params, rounds, seed, effort.threads))
        scores[setting, "random"] = random
        for learner in LEARNERS:
            scores[setting, learner] = effects(learner, train, columns, params, rounds, seed, effort)
    fold = customer_folds(train.cluster, 3, seed)
    for learner in LEARNERS:
        found = tuned(
            learner, train, fold, trials=effort.trials, seconds=effort.seconds, rounds=effort.most_rounds, seed=seed,
            threads=effort.threads,
        )  # fmt: skip
        chosen[learner] = f"{found.rounds} × {found.params.get('num_leaves', 31)}"
        scores[TUNED, learner] = effects(learner, train, columns, found.params, found.rounds, seed, effort)
    for other in ("propensity", "random"):
        scores[TUNED, other] = scores["cautious", other]
    return Split(test, pseudo, scores, chosen)


def stratified(rows: TrialRows, seed: int) -> np.ndarray:
    """Which rows are tested on: the same share of each arm's visitors and others."""
    random, test = np.random.default_rng(seed), np.zeros(len(rows.reward), dtype=bool)
    for arm in np.unique(rows.action):
        for reward in np.unique(rows.reward):
            places = np.flatnonzero((rows.action == arm) & (rows.reward == reward))
            test[random.permutation(places)[: round(TEST_SHARE * len(places))]] = True
    return test


def effects(
    learner: str, train: TrialRows, columns: Array, params: Mapping[str, Any], rounds: int, seed: int, effort: Effort
) -> Array:
    return fit_effects(learner, train, params, rounds, seed, effort.threads).effect(columns)[:, 0]


def propensity(train: TrialRows, columns: Array, fit: Fit) -> Array:
    return predicted(arm_boosters(train, fit)[1], columns)


def compare(rows: TrialRows, effort: Effort) -> Compared:
    """All splits; customers are drawn again for all of them at once, since tests of two splits share some."""
    splits = [split(rows, seed, effort) for seed in effort.seeds]
    counts = np.concatenate(list(customer_counts(len(rows.reward), effort.resamples)))
    estimates: dict[tuple[str, str], Array] = {}
    draws: dict[tuple[str, str], Array] = {}
    for key in splits[0].scores:
        prepared = [ranking(one_action(rows, one), one.scores[key], TOP) for one in splits]
        found = [item.metrics(np.ones((1, len(one.pseudo))))[:, 0] for item, one in zip(prepared, splits, strict=True)]
        drawn = [item.metrics(counts[:, one.test]) for item, one in zip(prepared, splits, strict=True)]
        estimates[key], draws[key] = np.stack(found), np.mean(drawn, axis=0)

    def minus(key: tuple[str, str], other: tuple[str, str], at: int) -> Interval:
        difference = (estimates[key] - estimates[other])[:, at].mean()
        return interval_of(float(difference), draws[key][at] - draws[other][at])

    keys = [(setting, name, at, metric) for setting, name in estimates for at, metric in enumerate(METRICS)]
    return Compared(
        len(splits[0].pseudo),
        detectable_effect(rows, splits[0].test),
        {
            (setting, name, metric): interval_of(
                float(estimates[setting, name][:, at].mean()), draws[setting, name][at]
            )
            for setting, name, at, metric in keys
        },
        {(setting, name, metric): float(estimates[setting, name][:, at].std()) for setting, name, at, metric in keys},
        {
            (setting, name, metric, other): minus((setting, name), (setting, other), at)
            for setting, name, at, metric in keys
            for other in ("random", "propensity")
        },
        {
            (setting, name, metric): minus((TUNED, name), (setting, name), at)
            for setting, name, at, metric in keys
            if name in LEARNERS and setting in SETTINGS
        },
        {learner: tuple(one.chosen[learner] for one in splits) for learner in LEARNERS},
    )


def one_action(rows: TrialRows, one: Split) -> OneAction:
    test = part(rows, one.test)
    return OneAction(test.reward, test.action == 1, test.propensity, one.pseudo, test.cluster)


def detectable_effect(rows: TrialRows, test: np.ndarray) -> float:
    """The smallest mean effect that a test of 5 % finds in 80 of 100 such tests, in visits a customer."""
    reward, action = rows.reward[test], rows.action[test]
    variance = sum(float(reward[action == arm].var() / (action == arm).sum()) for arm in (0, 1))
    return (1.959964 + 0.841621) * variance**0.5
