"""Estimates beside the true probabilities, where a retailer was made up and they are known.

Truth has no coin tosses in it, so this is far sharper than any test on labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from pipelines.console import UserError
from pipelines.scoring.metrics import Array, auc, bin_matrix, equal_mass_bins, known, log_losses

COLUMNS = ("customer_id", "as_of", "probability")


@dataclass(frozen=True, slots=True)
class ModelAgainstTruth:
    """`calibration_error`: mean over equal-mass bins of the estimate, by rows, of |mean estimate - mean truth|.

    `noise_floor` is what it would be by chance alone: customers with one estimate differ in truth, and a bin holds
    some of them. `correlation` is Pearson's, None of a constant.
    """

    name: str
    calibration_error: float
    noise_floor: float
    root_mean_squared_error: float
    correlation: float | None


@dataclass(frozen=True, slots=True)
class AgainstTruth:
    """On the test rows whose truth is known.

    `best_log_loss` and `best_auc` are those of the truth itself, which knows what no feature tells.
    """

    rows: int
    matched_share: float
    mean_truth: float
    best_log_loss: float
    best_auc: float | None
    models: tuple[ModelAgainstTruth, ...]


def against_truth(test: pd.DataFrame, probabilities: Mapping[str, Array], truth: pd.DataFrame) -> AgainstTruth:
    """Every model against `truth`: columns customer_id, as_of (instant, UTC) and probability of label 1.

    Raises:
        UserError: a column is missing, a row is there twice, a probability is none, or no test row is found in it.
    """
    known_truth = _checked(truth)
    keys = pd.MultiIndex.from_arrays([test["customer_id"].astype(str), _instants(test["as_of"])])
    true = known_truth.reindex(keys).to_numpy(dtype=np.float64)
    found = np.isfinite(true)
    if not found.any():
        problem = Problem("truth", "customers and instants of the test", "none of them",
                          "give the truth of this workspace's data, at the instants of the test")  # fmt: skip
        raise UserError("The truth is of other rows.", [problem])
    true, labels = true[found], test["label"].to_numpy(dtype=np.float64)[found]
    models = tuple(_against(name, values[found], true) for name, values in probabilities.items())
    return AgainstTruth(
        len(true), float(found.mean()), float(true.mean()), float(log_losses(labels, true).mean()),
        known(auc(labels, true)), models,
    )  # fmt: skip


def _against(name: str, estimates: Array, true: Array) -> ModelAgainstTruth:
    gaps = estimates - true
    members = bin_matrix(equal_mass_bins(estimates))
    error = float(np.abs(gaps @ members).sum() / len(gaps))
    constant = np.ptp(estimates) < 1e-12 or np.ptp(true) < 1e-12
    correlation = None if constant else known(float(np.corrcoef(estimates, true)[0, 1]))
    return ModelAgainstTruth(name, error, _floor(gaps, members), float(np.sqrt(np.mean(gaps**2))), correlation)


def _floor(gaps: Array, members: Array) -> float:
    """Mean absolute value of normal means of each bin's size and spread around 0, by rows."""
    sizes = members.sum(axis=0)
    means = gaps @ members / sizes
    spreads = np.sqrt(np.maximum(gaps**2 @ members / sizes - means**2, 0.0))
    return float((spreads * np.sqrt(2.0 / np.pi / sizes)) @ sizes / len(gaps))


def _checked(truth: pd.DataFrame) -> pd.Series:
    missing = [name for name in COLUMNS if name not in truth]
    got = ", ".join(map(str, truth.columns))
    problems = [Problem("truth", f"a column {name}", got, "name its columns so") for name in missing]
    if not problems:
        if truth.duplicated(["customer_id", "as_of"]).any():
            problems.append(Problem("truth", "a row a customer and instant", "some twice", "leave out the repeated"))
        if not truth["probability"].between(0.0, 1.0).all():
            problems.append(Problem("truth", "probabilities from 0 to 1", "others", "mend the column probability"))
    if problems:
        raise UserError("The truth cannot be read.", problems)
    keys = [truth["customer_id"].astype(str), _instants(truth["as_of"])]
    return pd.Series(truth["probability"].to_numpy(dtype=np.float64), pd.MultiIndex.from_arrays(keys))


def _instants(column: pd.Series) -> pd.Series:
    return pd.to_datetime(column, utc=True).dt.as_unit("us").astype("int64")
