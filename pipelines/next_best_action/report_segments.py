"""The effect of each action in parts of the test rows: what was predicted, and what the log says, side by side.

What the log says is the mean of doubly-robust pseudo-outcomes (`pipelines.uplift.doubly_robust`): right where the
chances of the log are, whatever the model says. In units of the reward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feature_repo.reasons import format_value
from pipelines.policy_value.intervals import interval, standard_error
from pipelines.policy_value.logged import Array

_BANDS = 4
_FEWEST = 30


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of the rows. `predicted` and `observed` are mean effects, with the 95 % interval of the latter."""

    action: str
    of: str
    band: str
    rows: int
    predicted: float
    observed: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether what was predicted lies within the interval."""
        return self.low <= self.predicted <= self.high


def segments_of(
    action: str, effects: Array, observed: Array, cluster: NDArray[np.int64], columns: Array, names: Sequence[str],
    leading: Sequence[str],
) -> tuple[Segment, ...]:  # fmt: skip
    """Segments of one action, whose predicted `effects` and `observed` pseudo-effects have shape (n,).

    By quarters of the predicted effect, and of each input in `leading`, of `columns`, shape (n, k). Parts of fewer than
    30 rows are left out.
    """
    cuts = [("predicted effect", effects), *((name, columns[:, list(names).index(name)]) for name in leading)]
    found = []
    for of, values in cuts:
        for band, chosen in _bands(values):
            if chosen.sum() >= _FEWEST:
                found.append(_segment(action, of, band, effects[chosen], observed[chosen], cluster[chosen]))
    return tuple(found)


def _segment(action: str, of: str, band: str, effects: Array, observed: Array, cluster: NDArray[np.int64]) -> Segment:
    mean = float(observed.mean())
    low, high = interval(mean, standard_error(observed, cluster), len(np.unique(cluster)))
    return Segment(action, of, band, len(effects), float(effects.mean()), mean, low, high)


def _bands(values: Array) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Parts of about equal size by value, ties together, and those without one."""
    known = np.isfinite(values)
    if known.any():
        ends = np.unique(np.quantile(values[known], np.arange(1, _BANDS) / _BANDS))
        places = np.searchsorted(ends, values, side="left")
        for at in range(len(ends) + 1):
            chosen = known & (places == at)
            if chosen.any():
                own = values[chosen]
                yield f"{format_value(float(own.min()))} to {format_value(float(own.max()))}", chosen
    if not known.all():
        yield "empty", ~known
