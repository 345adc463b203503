"""Areas under the curve, one column or one group of rows at a time, and what chance alone does to them.

Labels are 0 or 1. An AUC here is the chance that a random positive has the higher score, ties counted half.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.scoring.metrics import Array, auc

# Of fewer than these of a class, an AUC says little.
ENOUGH_OF_A_CLASS = 20


@dataclass(frozen=True, slots=True)
class Area:
    """An AUC, and the standard error that it has where scores and labels have nothing to do with each other."""

    auc: float
    chance_error: float


def area_within(labels: Array, scores: Array, groups: NDArray[Any]) -> Area:
    """The mean AUC within groups, weighted by pairs of a positive and a negative; NaN where there are none.

    The standard error is that of Mann and Whitney's U without ties, (n + m + 1) / (12 n m) squared.
    """
    areas, pairs, variances = [], [], []
    for group in np.unique(groups):
        inside = groups == group
        positives = float(labels[inside].sum())
        negatives = float(inside.sum()) - positives
        if positives and negatives:
            areas.append(auc(labels[inside], scores[inside]))
            pairs.append(positives * negatives)
            variances.append((positives + negatives + 1) / (12 * positives * negatives))
    if not pairs:
        return Area(float("nan"), float("nan"))
    weights = np.asarray(pairs) / np.sum(pairs)
    return Area(float(weights @ areas), float(np.sqrt(weights**2 @ variances)))


def separation(labels: Array, values: Array) -> tuple[float, str]:
    """How well one column alone tells the classes apart, in either direction: its AUC, and by what.

    Judged are its values where it is not empty, and whether it is empty.
    """
    empty = np.isnan(values)
    found = [(0.5, "value")]
    for scores, of, what in ((values, ~empty, "value"), (empty, np.ones_like(empty), "is empty")):
        positives, total = int(labels[of].sum()), int(of.sum())
        if min(positives, total - positives) >= ENOUGH_OF_A_CLASS:
            area = auc(labels[of], scores[of])
            found.append((max(area, 1.0 - area), what))
    return max(found)
