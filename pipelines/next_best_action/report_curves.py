"""Curves of rankings for the report: what those who are acted on first bring, against the share that is acted on."""

from __future__ import annotations

import numpy as np

from pipelines.policy_value.logged import Array
from pipelines.uplift.metrics import OneAction, ranking

_POINTS = 100


def qini_curve(rows: OneAction, scores: Array) -> list[tuple[float, float]]:
    """(share acted on, Q) of at most 101 points, by the formula of `pipelines.uplift.metrics`; from (0, 0)."""
    prepared = ranking(rows, scores, 1.0)
    sums = np.cumsum(prepared.columns, axis=0)[prepared.group_ends]
    count, treated, of_treated, control, of_control, _ = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = (of_treated - np.where(control > 0, of_control * treated / control, 0.0)) / count[-1]
    share = count / count[-1]
    chosen = np.unique(np.searchsorted(share, np.linspace(0, 1, _POINTS + 1)[1:], side="left"))
    chosen = chosen[chosen < len(share)]
    return [(0.0, 0.0), *zip(share[chosen].tolist(), curve[chosen].tolist(), strict=True)]
