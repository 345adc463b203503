"""Platt scaling, and how it becomes part of the booster.

Calibrated log-odds are `slope * raw + intercept` (Platt 1999; targets smoothed as there, fitted with
Newton's method as in Lin, Lin & Weng 2007). Baked into the leaves, `Booster.predict` answers the
calibrated probability, `raw_score` its log-odds, and `pred_contrib` still sums to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.boosting import Floats, probability
from pipelines.fitting.average import leaf_counts

ENOUGH_ROWS = 500
ENOUGH_OF_A_CLASS = 50
LEAST_SLOPE = 0.05


@dataclass(frozen=True, slots=True)
class Calibration:
    """`slope * raw + intercept`, in log-odds; `rows` of `snapshots` (ISO days) it was fitted on."""

    slope: float
    intercept: float
    rows: int
    snapshots: tuple[str, ...]
    note: str = ""


def calibrate(raw: Floats, labels: NDArray[Any], snapshots: NDArray[Any]) -> Calibration:
    """Fit on out-of-fold log-odds `raw` and 0/1 `labels`, shape (rows,), of the latest of their `snapshots`.

    Earlier snapshots are added, newest first, until there are 500 rows and 50 of each class. A slope
    under 0.05 would turn the ranking round or flatten it; it is held there, and the note says so.
    """
    chosen, used = _latest(labels, snapshots)
    labels, scores = labels[chosen], raw[chosen]
    slope, intercept = platt(scores, labels)
    notes = [f"{len(used)} snapshots, as the latest alone has too few rows"] if len(used) > 1 else []
    if slope < LEAST_SLOPE:
        notes.append(
            f"the fitted slope {slope:.3f} was raised to {LEAST_SLOPE}: out-of-fold scores do not rank the labels"
        )
        slope, intercept = LEAST_SLOPE, _intercept(LEAST_SLOPE * scores, labels)
    return Calibration(slope, intercept, int(chosen.sum()), used, "; ".join(notes))


def platt(raw: Floats, labels: NDArray[Any]) -> tuple[float, float]:
    """Slope and intercept of the logistic regression of smoothed 0/1 `labels` on `raw`.

    Constant scores carry nothing to fit a slope to: it stays 1.
    """
    if np.ptp(raw) == 0.0:
        return 1.0, _intercept(raw, labels)
    design = np.column_stack([raw, np.ones_like(raw)])
    return tuple(_newton(design, np.zeros_like(raw), labels))  # type: ignore[return-value]


def bake(booster: lgb.Booster, calibration: Calibration) -> lgb.Booster:
    """A copy of `booster` whose raw score is `slope * raw + intercept`.

    Every leaf is multiplied by the slope; the leaves of the first tree also carry the intercept.
    """
    text = booster.model_to_string(num_iteration=-1)
    baked = lgb.Booster(model_str=text)
    for tree, leaves in enumerate(leaf_counts(text)):
        shift = calibration.intercept if tree == 0 else 0.0
        for leaf in range(leaves):
            baked.set_leaf_output(tree, leaf, calibration.slope * baked.get_leaf_output(tree, leaf) + shift)
    return baked


def _latest(labels: NDArray[Any], snapshots: NDArray[Any]) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    chosen = np.zeros(len(labels), dtype=bool)
    used: list[str] = []
    for instant in np.unique(snapshots)[::-1]:
        chosen |= snapshots == instant
        used.append(pd.Timestamp(instant).date().isoformat())
        classes = np.bincount(labels[chosen], minlength=2)
        if chosen.sum() >= ENOUGH_ROWS and classes.min() >= ENOUGH_OF_A_CLASS:
            break
    return chosen, tuple(used)


def _intercept(offset: Floats, labels: NDArray[Any]) -> float:
    return float(_newton(np.ones((len(offset), 1)), offset, labels)[0])


def _newton(design: Floats, offset: Floats, labels: NDArray[Any]) -> list[float]:
    """Coefficients that minimise the log-loss of `offset + design @ coefficients`.

    Steps are halved until the loss falls, so that it converges from any start; the smoothed targets
    keep the minimum finite also where scores separate the classes.
    """
    positives = labels.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    targets = np.where(labels == 1, high, low)

    def loss(at: Floats) -> float:
        scores = offset + design @ at
        return float(np.sum(np.logaddexp(0.0, scores) - targets * scores))

    at = np.zeros(design.shape[1])
    for _ in range(100):
        chance = probability(offset + design @ at)
        gradient = design.T @ (chance - targets)
        if np.abs(gradient).max() < 1e-9 * len(labels):
            break
        curvature = design.T @ (design * (chance * (1 - chance))[:, None]) + 1e-12 * np.eye(len(at))
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while loss(at - length * step) > loss(at) and length > 1e-6:
            length /= 2
        at = at - length * step
    return [float(value) for value in at]
