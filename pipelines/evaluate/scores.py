"""The scores of one model on the test, and its differences to every other one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipelines.evaluate.results import Bin, Difference, ModelScores
from pipelines.scoring.bootstrap import Resampled
from pipelines.scoring.metrics import (
    Array,
    bin_matrix,
    calibration_error,
    equal_mass_bins,
    floor_of,
    simulated_rates,
)


def scores_of(name: str, labels: Array, probabilities: Array, resampled: Resampled, seed: int) -> ModelScores:
    """All of one model; its noise floor and the band around its calibration curve are simulated with `seed`."""
    slope = resampled.interval("calibration_slope")
    rates = simulated_rates(probabilities, seed=seed)
    return ModelScores(
        name=name,
        log_loss=resampled.interval("log_loss"), auc=resampled.interval("auc"), brier=resampled.interval("brier"),
        calibration_error=calibration_error(labels, probabilities),
        calibration_error_interval=resampled.interval("calibration_error"),
        calibration_noise_floor=floor_of(probabilities, rates),
        calibration_intercept=resampled.interval("calibration_intercept"),
        calibration_slope=slope.estimate, calibration_slope_interval=slope,
        curve=_curve(labels, probabilities, rates),
    )  # fmt: skip


def _curve(labels: Array, probabilities: Array, rates: Array) -> tuple[Bin, ...]:
    members = bin_matrix(equal_mass_bins(probabilities))
    sizes = members.sum(axis=0)
    low, high = np.quantile(rates, [0.025, 0.975], axis=0)
    columns = (sizes.astype(int), probabilities @ members / sizes, labels @ members / sizes, low, high)
    return tuple(Bin(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


def differences_of(model: str, resampled: Mapping[str, Resampled]) -> tuple[Difference, ...]:
    """A model minus each other one, in log-loss and AUC."""
    own = resampled[model]
    return tuple(
        Difference(model, name, metric, interval.estimate, interval.low, interval.high)
        for name, other in resampled.items() if name != model
        for metric in ("log_loss", "auc") for interval in [own.difference(other, metric)]
    )  # fmt: skip
