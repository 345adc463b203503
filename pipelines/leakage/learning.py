"""What LightGBM, as it comes, learns where it must learn nothing, and what other splits would have promised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.artefacts import Dataset
from pipelines.boosting import bin_values, matrix, parameters
from pipelines.leakage.areas import area_within, separation
from pipelines.leakage.results import Alarm
from pipelines.scoring.metrics import Array, auc, log_losses

PERMUTATIONS = 5
FEW_ROUNDS = 20
ROUNDS = 100  # LightGBM's own
SPLITS = 5  # a fifth is held out
SEED = 7
# Chance alone passes three of its standard errors once in 370 times.
BEYOND_CHANCE = 3.0


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of a model with what is needed to split them; `customers` are numbers from 0. Shape (rows,) each."""

    values: Array
    names: list[str]
    labels: Array
    customers: NDArray[np.int64]
    snapshots: NDArray[Any]
    is_test: NDArray[np.bool_]

    def only(self, chosen: NDArray[np.bool_]) -> Rows:
        return Rows(
            self.values[chosen], self.names, self.labels[chosen], self.customers[chosen], self.snapshots[chosen],
            self.is_test[chosen],
        )  # fmt: skip


def rows_of(dataset: Dataset) -> Rows:
    """Both parts, train first."""
    parts = [dataset.part("train"), dataset.part("test")]
    both = pd.concat(parts, ignore_index=True)
    inputs = dataset.inputs("train")
    values = np.vstack([matrix(inputs), matrix(dataset.inputs("test"))])
    return Rows(
        values, list(inputs.columns), both["label"].to_numpy(dtype=np.float64),
        pd.factorize(both["customer_id"])[0].astype(np.int64), both["snapshot"].astype("int64").to_numpy(),
        (both["part"] == "test").to_numpy(),
    )  # fmt: skip


def shuffled_labels(rows: Rows, tolerance: float) -> Alarm:
    """Labels permuted within each train snapshot, learned on whole customers, judged on the others.

    AUCs are within a snapshot and a fold: between snapshots the rate of positives differs, which is no leak.
    """
    train = rows.only(~rows.is_test)
    folds = _shuffled(train.customers, SEED)
    found = []
    for seed in range(PERMUTATIONS):
        labels = _permuted(train.labels, train.snapshots, seed)
        scores = _held_out(train, labels, folds, FEW_ROUNDS)
        found.append(area_within(labels, scores, train.snapshots * SPLITS + folds))
    areas = np.asarray([area.auc for area in found])
    mean, error = float(areas.mean()), float(areas.std(ddof=1) / np.sqrt(PERMUTATIONS))
    chance = found[0].chance_error / np.sqrt(PERMUTATIONS)
    threshold = max(tolerance, BEYOND_CHANCE * float(chance))
    detail = (
        f"AUC {mean:.4f}, standard error {error:.4f} over {PERMUTATIONS} permutations of {len(train.labels):,} labels"
    )
    if threshold > tolerance:
        detail += f"; with so few, chance alone may be off by {threshold:.3f}, and less raises no alarm"
    # Permuting within a snapshot makes labels of held-out rows and of the others repel each other a little. Of few
    # rows that alone takes the AUC below .5, which is no leak.
    off = mean - 0.5 if threshold > tolerance else abs(mean - 0.5)
    return Alarm(
        "shuffled_labels", off > threshold, off, threshold,
        "AUC off .5 where labels are shuffled, so that nothing can be learned", detail,
        {"auc": mean, "standard_error": error},
    )  # fmt: skip


def random_split_gap(rows: Rows, largest: float) -> Alarm:
    """The AUC that a random split would have read on its held-out rows, above that out of time.

    Taken apart by two more splits: by whole customers, and out of time with other customers.
    """
    scores = _on_four_splits(rows)
    figures, chance = {}, {}
    for name, probabilities in scores.items():
        judged = np.isfinite(probabilities)
        area = area_within(rows.labels[judged], probabilities[judged], np.zeros(int(judged.sum())))
        chance[name] = area.chance_error
        figures[f"{name}_auc"] = area.auc
        figures[f"{name}_log_loss"] = float(log_losses(rows.labels[judged], probabilities[judged]).mean())
    at_test = auc(rows.labels[rows.is_test], scores["by_customers"][rows.is_test])
    gap = figures["random_auc"] - figures["out_of_time_auc"]
    figures["same_customers"] = figures["random_auc"] - figures["by_customers_auc"]
    figures["same_time"] = at_test - figures["out_of_time_and_customers_auc"]
    threshold = max(largest, BEYOND_CHANCE * float(np.hypot(chance["random"], chance["out_of_time"])))
    detail = _taken_apart(gap, at_test, figures)
    if threshold > largest:
        detail += f". With so few rows, chance alone may make a gap of {threshold:.3f}, and less raises no alarm"
    return Alarm(
        "random_split_gap", gap > threshold, gap, threshold,
        "AUC that a random split would have promised above that out of time", detail, figures, blocks=False,
    )  # fmt: skip


def _on_four_splits(rows: Rows) -> dict[str, Array]:
    """Probabilities by split, NaN where a row is not judged."""
    by_row = np.random.default_rng(SEED).permutation(len(rows.labels)) % SPLITS
    by_customer, by_part = _shuffled(rows.customers, SEED), rows.is_test.astype(np.int64)
    earlier, test = ~rows.is_test, rows.is_test
    return {
        "random": _held_out(rows, rows.labels, by_row, ROUNDS),
        "by_customers": _held_out(rows, rows.labels, by_customer, ROUNDS),
        "out_of_time": _held_out(rows, rows.labels, by_part, ROUNDS, earlier, test),
        "out_of_time_and_customers": _held_out(rows, rows.labels, by_customer, ROUNDS, earlier, test),
    }


def _taken_apart(gap: float, at_test: float, figures: dict[str, float]) -> str:
    def said(name: str) -> str:
        return f"AUC {figures[f'{name}_auc']:.3f}, log-loss {figures[f'{name}_log_loss']:.3f}"

    return (
        f"a random split would have promised {gap:+.3f} AUC: {said('random')} on random rows, {said('out_of_time')} "
        f"out of time. Other rows of the same customer are worth {figures['same_customers']:+.3f} of it (whole "
        f"customers held out: {said('by_customers')}). Other rows of the test's own time are worth "
        f"{figures['same_time']:+.3f} (rows of the test by a model of other customers: AUC {at_test:.3f} with them, "
        f"{said('out_of_time_and_customers')} without). Figures elsewhere are all out of time, so this alarm is a "
        "warning to whoever splits otherwise"
    )


def time_in_features(rows: Rows) -> Alarm:
    """Can the columns tell the newest train snapshot from the test? Time alone does that; it is told, not alarmed."""
    newest = rows.snapshots[~rows.is_test].max()
    two = rows.only(rows.is_test | (rows.snapshots == newest))
    later, folds = two.is_test.astype(np.float64), _shuffled(two.customers, SEED)
    area = auc(later, _held_out(two, later, folds, FEW_ROUNDS))
    whole = lgb.train(parameters({}, SEED, len(later)), bin_values(two.values, later, two.names, SEED), FEW_ROUNDS)
    gains = whole.feature_importance("gain")
    most = np.argsort(-gains, kind="stable")[:5]
    shares = {two.names[at]: float(gains[at] / max(gains.sum(), 1e-12)) for at in most}
    named = ", ".join(
        f"{two.names[at]} {shares[two.names[at]]:.0%} (alone AUC {separation(later, two.values[:, at])[0]:.3f})"
        for at in most
    )
    return Alarm(
        "time_in_features", False, area, None, "AUC of telling the test from the newest train snapshot by the columns",
        f"told apart with AUC {area:.3f} (.5: alike); of the gain, {named}", shares,
    )  # fmt: skip


def _held_out(
    rows: Rows,
    labels: Array,
    splits: NDArray[np.int64],
    rounds: int,
    fit: NDArray[np.bool_] | None = None,
    judged: NDArray[np.bool_] | None = None,
) -> Array:
    """Probabilities of default LightGBM, shape (rows,): of the rows of a split by the rows of all other splits.

    Only rows of `fit` are learned from, and only those of `judged` are judged (None: all); others are NaN.
    """
    fit = np.ones(len(labels), dtype=bool) if fit is None else fit
    judged = np.ones(len(labels), dtype=bool) if judged is None else judged
    # Binned once: bins see no label.
    data = bin_values(rows.values, labels, rows.names, SEED)
    settings, scores = parameters({}, SEED, len(labels)), np.full(len(labels), np.nan)
    for split in np.unique(splits[judged]):
        own = splits == split
        booster = lgb.train(settings, data.subset(np.flatnonzero(~own & fit), params=settings), rounds)
        scores[own & judged] = booster.predict(rows.values[own & judged])
    return scores


def _shuffled(customers: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A split for every row, all rows of a customer in one; about equally many customers in each."""
    order = np.random.default_rng(seed).permutation(int(customers.max()) + 1)
    return np.asarray(order[customers] % SPLITS)


def _permuted(labels: Array, groups: NDArray[Any], seed: int) -> Array:
    generator = np.random.default_rng(seed)
    shuffled = labels.copy()
    for group in np.unique(groups):
        inside = groups == group
        shuffled[inside] = generator.permutation(labels[inside])
    return shuffled
