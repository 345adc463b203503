"""Distributions of a time to an event within a horizon, as survival curves of many rows, and scores of them.

A time is in days from the start of the horizon; NaN where the horizon holds no event. `grid` is shape (points,),
from 0 to the horizon, and `values` shape (rows, points): the chance of no event until then, from 1 downwards.
Between points the hazard is constant. What is left at the horizon is the chance of no event within it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from feature_repo.windows import DAY
from pipelines.boosting import Floats

_LEAST = 1e-12
_COARSEST = 24


def times_of(labels: np.ndarray) -> Floats:
    """Days from a label of microseconds, -1 being none."""
    return np.where(labels < 0, np.nan, labels / DAY)


def daily_grid(horizon: float) -> Floats:
    """A point a day, and at least 24 of them, so that short horizons are seen as finely."""
    return np.linspace(0.0, horizon, max(_COARSEST, round(horizon)) + 1)


@dataclass(frozen=True, slots=True)
class Survival:
    """Curves; see the module's text."""

    grid: Floats
    values: Floats

    @property
    def horizon(self) -> float:
        return float(self.grid[-1])

    def on(self, grid: Floats) -> Survival:
        """The same curves at other points."""
        return Survival(grid, np.column_stack([self.at(point) for point in grid]))

    def at(self, days: float | Floats) -> Floats:
        """Chance of no event until `days`, one for all rows or one a row, shape (rows,)."""
        asked = np.broadcast_to(np.asarray(days, dtype=np.float64), (len(self.values),))
        right = np.clip(np.searchsorted(self.grid, asked, side="left"), 1, len(self.grid) - 1)
        rows = np.arange(len(self.values))
        logs = np.log(np.maximum(self.values, _LEAST))
        share = (asked - self.grid[right - 1]) / (self.grid[right] - self.grid[right - 1])
        return np.exp(logs[rows, right - 1] + share * (logs[rows, right] - logs[rows, right - 1]))

    def median(self) -> Floats:
        """Day by which an event has come with chance one half, NaN where that lies past the horizon."""
        reached = self.values <= 0.5
        right = np.clip(reached.argmax(axis=1), 1, None)
        rows = np.arange(len(self.values))
        logs = np.log(np.maximum(self.values, _LEAST))
        fall = logs[rows, right - 1] - logs[rows, right]
        share = (logs[rows, right - 1] - np.log(0.5)) / np.maximum(fall, _LEAST)
        found = self.grid[right - 1] + np.clip(share, 0.0, 1.0) * (self.grid[right] - self.grid[right - 1])
        return np.where(reached.any(axis=1), found, np.nan)


def kaplan_meier(times: Floats, grid: Floats) -> Floats:
    """Survival of all rows together at `grid`, shape (points,); rows without an event leave at the horizon.

    Product-limit estimator (Kaplan & Meier 1958). Within the horizon nobody is lost before, so it is the share
    without an event until then.
    """
    ordered = np.sort(times[np.isfinite(times)])
    return 1.0 - np.searchsorted(ordered, grid, side="right") / len(times)


def crps(curves: Survival, times: Floats) -> Floats:
    """Continuous ranked probability score of each row, in days: the Brier score integrated over the horizon.

    The integral of (F(s) - 1{time <= s})^2 over s from 0 to the horizon (Gneiting & Raftery 2007; Graf et al. 1999),
    by the midpoints of the grid.
    """
    middles, widths = (curves.grid[1:] + curves.grid[:-1]) / 2.0, np.diff(curves.grid)
    gone = 1.0 - np.sqrt(np.maximum(curves.values[:, 1:], 0.0) * np.maximum(curves.values[:, :-1], 0.0))
    came = np.where(np.isfinite(times), times, np.inf)[:, None] <= middles
    return np.asarray(((gone - came) ** 2) @ widths)


def log_likelihoods(curves: Survival, times: Floats, edges: Floats) -> Floats:
    """Log-chance (nats) of the bin of `edges` in which each time fell, or of none of them, shape (rows,)."""
    binned = curves.on(edges).values
    chances = np.column_stack([binned[:, :-1] - binned[:, 1:], binned[:, -1]])
    inside = np.clip(
        np.searchsorted(edges, np.where(np.isfinite(times), times, 0.0), side="right") - 1, 0, len(edges) - 2
    )
    bins = np.where(np.isfinite(times), inside, len(edges) - 1)
    return np.log(np.maximum(chances[np.arange(len(times)), bins], _LEAST))


def probability_integral(curves: Survival, times: Floats, seed: int) -> Floats:
    """F at each time, uniform on (0, 1) if the curves are right; where no event came, drawn above F at the horizon."""
    generator = np.random.default_rng(seed)
    came = np.isfinite(times)
    left = curves.at(np.where(came, times, curves.horizon))
    return np.where(came, 1.0 - left, 1.0 - left * generator.random(len(times)))
