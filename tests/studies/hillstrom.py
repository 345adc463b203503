"""A real e-mail trial of three arms: `python -m tests.studies.hillstrom` prints Markdown.

Kevin Hillstrom's e-mail data of 2008: customers of the last twelve months were drawn with equal chances for the women's
e-mail, the men's e-mail, or none; what counts is a visit in the two weeks after. Here is a random half of the 64,000.
It is asked whether known means come back from importance weights, whether learners of effects rank customers better
than chance and than the propensity to visit, and whether any learned policy beats one e-mail to all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.model_inputs import ModelInputs
from pipelines.policy_value.estimators import gain_of, value_of
from pipelines.policy_value.logged import Array, Estimate, Gain, Logged, Policy
from pipelines.scoring.bootstrap import Interval, customer_counts, interval_of
from pipelines.uplift.base import Fit, arm_boosters, customer_folds, part, predicted
from pipelines.uplift.doubly_robust import cross_fitted_responses, pseudo_effects
from pipelines.uplift.learners import cross_fitted, fit_effects
from pipelines.uplift.metrics import METRICS, OneAction, ranking
from pipelines.uplift.rows import TrialRows
from pipelines.uplift.tuning import CAUTIOUS, CAUTIOUS_ROUNDS, tuned
from tests.real_data import DATA
from tests.studies import hillstrom_tables

FILE = DATA / "hillstrom" / "hillstrom.csv.gz"
CONTROL, ACTIONS = "No E-Mail", ("Womens E-Mail", "Mens E-Mail")
COLUMNS = ("recency", "history", "history_segment", "mens", "womens", "newbie")
CODED = {"zip_code": ("Rural", "Surburban", "Urban"), "channel": ("Multichannel", "Phone", "Web")}
NAMES = (*COLUMNS, *(f"{column}_{value}" for column, values in CODED.items() for value in values))

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
    seconds: float = 60.0
    most_rounds: int = 150
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out. All rates are visits a customer, and all intervals of 95 %.

    arms: the mean of each arm, and estimates of it by name of estimator. rankings: (setting, scores, metric) to the
    mean over splits, its interval over resamples of customers. spread: the same keys to the deviation over splits.
    better: the same keys to the mean over splits minus that of a random ranking. tuning: (learner, metric) to tuned
    minus cautious. chosen: what a search took in each split. values: DR values of policies; shares: how often they
    choose each arm; gains: over the best single arm. detectable: the smallest mean effect a test of this size finds.
    """

    rows: int
    two_arm_rows: int
    test_rows: int
    detectable: float
    arms: Mapping[str, tuple[float, Mapping[str, Estimate]]]
    rankings: Mapping[tuple[str, str, str], Interval]
    spread: Mapping[tuple[str, str, str], float]
    better: Mapping[tuple[str, str, str], Interval]
    tuning: Mapping[tuple[str, str], Interval]
    chosen: Mapping[str, tuple[str, ...]]
    best_arm: str
    values: Mapping[str, Estimate]
    shares: Mapping[str, tuple[float, ...]]
    gains: Mapping[str, Gain]

    @property
    def recommendation(self) -> str:
        """The best learned policy if it is shown to bring more than the best single arm, else that arm."""
        shown = {name: gain for name, gain in self.gains.items() if gain.is_shown}
        if shown:
            return max(shown, key=lambda name: shown[name].value)
        return self.best_arm


def read_trial(table: pd.DataFrame | None = None) -> TrialRows:
    """All rows with the chance of a third each; nothing is dropped, every row is its own customer."""
    frame = pd.read_csv(FILE) if table is None else table
    coded = frame.assign(history_segment=frame["history_segment"].str[0].astype(float))
    columns = [coded[name].to_numpy(dtype=np.float64) for name in COLUMNS]
    columns += [(frame[name] == value).to_numpy(dtype=np.float64) for name, values in CODED.items() for value in values]
    action = frame["segment"].map({name: at for at, name in enumerate((CONTROL, *ACTIONS))}).to_numpy(dtype=np.int64)
    return TrialRows(
        np.column_stack(columns),
        frame["visit"].to_numpy(dtype=np.float64),
        action,
        np.full(len(frame), 1.0 / 3.0),
        np.arange(len(frame)),
        ACTIONS,
        CONTROL,
        ModelInputs(NAMES, NAMES),
    )


def figures(rows: TrialRows, effort: Effort) -> Figures:
    """Everything that the study prints."""
    fold = customer_folds(rows.cluster, 5, effort.seeds[0])
    cautious = Fit(CAUTIOUS, CAUTIOUS_ROUNDS, effort.seeds[0], effort.threads)
    expected = cross_fitted_responses(rows, fold, cautious)
    women = womens_only(rows)
    splits = [split(women, seed, effort) for seed in effort.seeds]
    rankings, spread, better, tuning = over_splits(women, splits, effort)
    best_arm, values, shares, gains = policies(rows, fold, expected, effort)
    return Figures(
        len(rows.reward),
        len(women.reward),
        int(splits[0].test.sum()),
        detectable_effect(women, splits[0].test),
        arm_means(rows, expected),
        rankings,
        spread,
        better,
        tuning,
        {learner: tuple(one.chosen[learner] for one in splits) for learner in LEARNERS},
        best_arm,
        values,
        shares,
        gains,
    )


# Known means ---------------------------------------------------------------------------------------------------------


def logged(rows: TrialRows) -> Logged:
    eligible = np.ones((len(rows.reward), len(rows.actions) + 1), dtype=bool)
    return Logged(rows.action, rows.reward, rows.propensity, eligible, rows.cluster)


def always(arm: int, rows: TrialRows) -> Policy:
    """The policy of one arm for everybody."""
    policy = np.zeros((len(rows.reward), len(rows.actions) + 1))
    policy[:, arm] = 1.0
    return policy


def arm_means(rows: TrialRows, expected: Array) -> dict[str, tuple[float, dict[str, Estimate]]]:
    """The mean of those who got an arm, and the value of giving it to all as if the log were not of a trial."""
    found = {}
    for arm, name in enumerate((rows.control, *rows.actions)):
        policy = always(arm, rows)
        estimates = {one: value_of(one, logged(rows), policy, expected) for one in ("ips", "snips", "dr")}
        found[name] = (float(rows.reward[rows.action == arm].mean()), estimates)
    return found


# One e-mail against none ---------------------------------------------------------------------------------------------


def womens_only(rows: TrialRows) -> TrialRows:
    """The women's e-mail and the control alone; who got the other e-mail was not left alone, so is no control."""
    kept = part(rows, rows.action != ACTIONS.index("Mens E-Mail") + 1)
    return replace(kept, propensity=np.full(len(kept.reward), 0.5), actions=ACTIONS[:1])


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
        chosen[learner] = f"{found.rounds} × {found.params.get('num_leaves', 31)} leaves"
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


def over_splits(
    rows: TrialRows, splits: list[Split], effort: Effort
) -> tuple[dict[Any, Interval], dict[Any, float], dict[Any, Interval], dict[Any, Interval]]:
    """Means over splits; customers are drawn again for all splits at once, since tests of two splits share some."""
    counts = np.concatenate(list(customer_counts(len(rows.reward), effort.resamples)))
    estimates: dict[tuple[str, str], Array] = {}
    draws: dict[tuple[str, str], Array] = {}
    for key in splits[0].scores:
        prepared = [ranking(one_action(rows, one), one.scores[key], TOP) for one in splits]
        estimates[key] = np.stack(
            [item.metrics(np.ones((1, int(one.test.sum()))))[:, 0] for item, one in zip(prepared, splits, strict=True)]
        )
        draws[key] = np.mean(
            [item.metrics(counts[:, one.test]) for item, one in zip(prepared, splits, strict=True)], axis=0
        )

    def minus(key: tuple[str, str], other: tuple[str, str], at: int) -> Interval:
        difference = (estimates[key] - estimates[other])[:, at].mean()
        return interval_of(float(difference), draws[key][at] - draws[other][at])

    rankings, spread, better = {}, {}, {}
    for setting, name in estimates:
        for at, metric in enumerate(METRICS):
            found = estimates[setting, name][:, at]
            rankings[setting, name, metric] = interval_of(float(found.mean()), draws[setting, name][at])
            spread[setting, name, metric] = float(found.std())
            better[setting, name, metric] = minus((setting, name), (setting, "random"), at)
    tuning = {
        (learner, metric): minus((TUNED, learner), ("cautious", learner), at)
        for learner in LEARNERS
        for at, metric in enumerate(METRICS)
    }
    return rankings, spread, better, tuning


def one_action(rows: TrialRows, one: Split) -> OneAction:
    test = part(rows, one.test)
    return OneAction(test.reward, test.action == 1, test.propensity, one.pseudo, test.cluster)


def detectable_effect(rows: TrialRows, test: np.ndarray) -> float:
    """The smallest mean effect that a test of 5 % finds in 80 of 100 such tests, in visits a customer."""
    reward, action = rows.reward[test], rows.action[test]
    variance = sum(float(reward[action == arm].var() / (action == arm).sum()) for arm in (0, 1))
    return (1.959964 + 0.841621) * variance**0.5


# Three arms ----------------------------------------------------------------------------------------------------------


def policies(
    rows: TrialRows, fold: np.ndarray, expected: Array, effort: Effort
) -> tuple[str, dict[str, Estimate], dict[str, tuple[float, ...]], dict[str, Gain]]:
    """DR values by the same reward model for all; every customer's choice is of models of other customers."""
    seed = effort.seeds[0]
    made: dict[str, Policy] = {
        "nobody": always(0, rows),
        "women's to all": always(1, rows),
        "men's to all": always(2, rows),
        "at random": np.full((len(rows.reward), 3), 1.0 / 3.0),
    }
    singles = list(made)[:3]
    for setting, (params, rounds) in SETTINGS.items():
        for learner in LEARNERS:
            found = cross_fitted(learner, rows, fold, params, rounds, seed, effort.threads)
            made[f"{learner}, {setting}"] = choose(np.column_stack([np.zeros(len(rows.reward)), found.effects]))
            if learner == "t":
                contacted = np.column_stack([np.full(len(rows.reward), -np.inf), found.responses[:, 1:]])
                made[f"propensity, {setting}"] = choose(contacted)
    log = logged(rows)
    values = {name: value_of("dr", log, policy, expected) for name, policy in made.items()}
    best = max(singles, key=lambda name: values[name].value)
    gains = {name: gain_of("dr", log, policy, made[best], expected) for name, policy in made.items() if name != best}
    shares = {name: tuple(policy.mean(axis=0).tolist()) for name, policy in made.items()}
    return best, values, shares, gains


def choose(worth: Array) -> Policy:
    """The arm of the highest worth (n, arms) for certain, the first of equals: no e-mail where none brings anything."""
    policy = np.zeros(worth.shape)
    policy[np.arange(len(worth)), worth.argmax(axis=1)] = 1.0
    return policy


def main() -> int:
    if not FILE.exists():
        print(f"no data: {FILE.name}", file=sys.stderr)
        return 1
    began = time.monotonic()
    print(hillstrom_tables.report(figures(read_trial(), Effort())))
    print(f"\nMade in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
