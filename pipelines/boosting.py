"""LightGBM as tuning and training both use it: fixed parameters, folds, and how a score is judged.

Features are float64 with NaN for empty; none is declared categorical. Rows are not re-weighted for
class imbalance: that would bias every probability.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.artefacts import Dataset

ROWS_WORTH_THREADS = 50_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LearningRows:
    """What a model is fitted to: `values` (rows, columns) called `names`; `labels`, `folds` and `snapshots` (rows,).

    All rows of a customer are in one fold. `snapshots` are instants (datetime64[us], UTC).
    """

    values: Floats
    names: tuple[str, ...]
    labels: NDArray[Any]
    folds: NDArray[Any]
    snapshots: NDArray[Any]


@dataclass(frozen=True, slots=True)
class BinnedFold:
    """One fold as LightGBM sees it: `fit` are the rows of all other folds, `held_out` its own, `size` of them."""

    number: int
    size: int
    fit: lgb.Dataset
    held_out: lgb.Dataset


@dataclass(frozen=True, slots=True)
class Fold(BinnedFold):
    """A fold with its own rows at hand: their places among all rows that are learned from, and their values."""

    rows: NDArray[np.int64]
    values: Floats


def parameters(chosen: Mapping[str, Any], seed: int, rows: int) -> dict[str, Any]:
    """`chosen` with what never varies. The same data and seed give the same trees on any number of threads.

    `rows` decides the threads: on few rows they wait for each other longer than they work.
    """
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "verbosity": -1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "num_threads": 1 if rows < ROWS_WORTH_THREADS else len(os.sched_getaffinity(0)),
        **chosen,
    }


def learning_rows(dataset: Dataset) -> LearningRows:
    """The train part of a dataset, all columns of its model."""
    chosen = np.flatnonzero(dataset.rows["part"] == "train")
    rows, features = dataset.rows, dataset.manifest.features
    # Column by column: a million rows are not copied as a table first.
    values = np.empty((len(chosen), len(features)))
    for place, name in enumerate(features):
        values[:, place] = rows[name].to_numpy()[chosen]
    inputs = dataset.manifest.inputs
    snapshots = rows["snapshot"].to_numpy(dtype="datetime64[us]")[chosen]
    labels, folds = (rows[name].to_numpy()[chosen] for name in ("label", "fold"))
    return LearningRows(inputs.matrix(values), inputs.names, labels, folds, snapshots)


def learning_customers(dataset: Dataset) -> NDArray[Any]:
    """The customer of each row of `learning_rows`, text."""
    return dataset.rows["customer_id"].to_numpy()[np.flatnonzero(dataset.rows["part"] == "train")]


def drawn(customers: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Places of at most `most` rows, ascending: all rows of customers drawn by a hash of their ids.

    `customers` are the ids of the rows, shape (rows,). Customers stand in the same line in every run. The draw takes
    them from its front and ends at the first with more rows than there is room for; as long as less than half of the
    room is taken, such a customer is passed over instead. So no customer is passed over who has at most `most` / 2
    rows, and where all are like that, a larger draw holds a smaller one. Every snapshot stands in the draw as it does
    in all rows, the newest too.

    Where every customer has more than `most` rows, it is all rows of the smallest customer: a draw is never empty.
    """
    if len(customers) <= most:
        return np.arange(len(customers))
    owners, ids = pd.factorize(customers)
    counts = np.bincount(owners)
    order = np.argsort(np.array([_place_in_line(str(customer)) for customer in ids], dtype=np.uint64), kind="stable")
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[order[_first_that_fit(counts[order], most)]] = True
    return np.flatnonzero(chosen[owners])


def _first_that_fit(counts: NDArray[np.int64], most: int) -> list[int]:
    """Places in line of those who are drawn, where they have `counts` rows each."""
    places, taken = [], 0
    for place, count in enumerate(counts.tolist()):
        if taken + count <= most:
            places.append(place)
            taken += count
        elif 2 * taken >= most:
            break
    return places or [int(counts.argmin())]


def sampled_rows(rows: LearningRows, customers: NDArray[Any], most: int) -> LearningRows:
    """At most `most` of `rows`, whole customers as `drawn` says; `customers` are the ids of the rows."""
    places = drawn(customers, most)
    if len(places) == len(rows.labels):
        return rows
    return LearningRows(
        rows.values[places], rows.names, rows.labels[places], rows.folds[places], rows.snapshots[places]
    )


def make_folds(rows: LearningRows, seed: int, among: NDArray[np.int64] | None = None) -> tuple[Fold, ...]:
    """The grouped folds, binned once and shared by every fit; of the rows at the places `among`, else of all."""
    return tuple(each_fold(rows, seed, among))


def each_fold(rows: LearningRows, seed: int, among: NDArray[np.int64] | None = None) -> Iterator[Fold]:
    """As `make_folds`, one at a time."""
    places = np.arange(len(rows.labels)) if among is None else among
    numbers = rows.folds[places]
    for number in np.unique(numbers):
        own, others = places[numbers == number], places[numbers != number]
        values = rows.values[own]
        fit = bin_values(rows.values[others], rows.labels[others], list(rows.names), seed)
        held_out = fit.create_valid(values, rows.labels[own], params=fit.params).construct()
        yield Fold(int(number), len(own), fit, held_out, own, values)


def matrix(features: pd.DataFrame) -> Floats:
    """Rows by features, float64."""
    return np.ascontiguousarray(features.to_numpy(dtype=np.float64))


def bin_values(values: Floats, labels: NDArray[Any], names: list[str], seed: int) -> lgb.Dataset:
    """A LightGBM dataset that may be trained on many times, with other parameters each time."""
    return lgb.Dataset(
        values, labels, feature_name=names, params=parameters({}, seed, len(values)), free_raw_data=False
    ).construct()


def fit_fold(
    fold: BinnedFold,
    settings: Mapping[str, Any],
    rounds: int,
    patience: int,
    after_each: Callable[[Any], None] | None = None,
) -> lgb.Booster:
    """Boost up to `rounds` trees, until the held-out log-loss has not fallen for `patience` of them.

    `after_each` is called after each tree as LightGBM calls its callbacks; what it raises ends the fit.
    """
    stop = lgb.early_stopping(patience, verbose=False)
    callbacks = [stop] if after_each is None else [stop, after_each]
    return lgb.train(dict(settings), fold.fit, rounds, valid_sets=[fold.held_out], callbacks=callbacks)


def log_loss(labels: NDArray[Any], raw: Floats) -> float:
    """Mean negative log-likelihood (nats) of 0/1 `labels` under log-odds `raw`; finite for finite scores."""
    return float(np.mean(np.logaddexp(0.0, raw) - labels * raw))


def probability(raw: Floats) -> Floats:
    """The logistic function of log-odds, without overflow."""
    return np.exp(-np.logaddexp(0.0, -raw))


def _place_in_line(customer: str) -> int:
    # Another hash than the one that deals customers to folds, else a draw would not hold all folds alike.
    return int.from_bytes(hashlib.blake2b(customer.encode(), digest_size=8, person=b"drawn").digest(), "big")
