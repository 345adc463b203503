"""How many rows each action has, what came of them, and with which chances they were drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipelines.dataset.snapshots import day


@dataclass(frozen=True, slots=True)
class ActionCount:
    """Rows of one action in a part, and in a span where `day` (UTC) says it.

    `share` is of the rows of that part or span, `mean` the mean reward with its standard error over rows, `positives`
    how many rewards are above 0; propensities are None where nobody drew.
    """

    part: str
    action: str
    rows: int
    share: float
    mean: float
    standard_error: float
    positives: int
    lowest_propensity: float | None
    highest_propensity: float | None
    day: str | None = None

    def text(self) -> str:
        """One line for a person."""
        return (
            f"{self.action:<20} {self.rows:>8,} rows {self.share:>6.1%}  mean reward {self.mean:>12,.4f} "
            f"± {self.standard_error:,.4f}  {self._drawn()}"
        )

    def _drawn(self) -> str:
        low, high = self.lowest_propensity, self.highest_propensity
        if low is None or high is None:
            return "not drawn"
        return f"drawn with chance {low:.4g}" + (f" to {high:.4g}" if low != high else "")


def count_actions(rows: pd.DataFrame, by: Sequence[str]) -> Iterator[ActionCount]:
    """Counts of the rows of a dataset of actions, for each of `by` (`part`, or `snapshot` and `part`) and action."""
    for _, own in rows.groupby(list(by), sort=True):
        for action, chosen in own.groupby("action", sort=True):
            rewards = chosen["label"].to_numpy(dtype=np.float64)
            chances = chosen["propensity"].dropna()
            yield ActionCount(
                str(own["part"].iloc[0]),
                str(action),
                len(chosen),
                len(chosen) / len(own),
                float(rewards.mean()),
                float(rewards.std(ddof=1) / np.sqrt(len(rewards))) if len(rewards) > 1 else float("nan"),
                int((rewards > 0).sum()),
                float(chances.min()) if len(chances) else None,
                float(chances.max()) if len(chances) else None,
                day(int(own["snapshot"].iloc[0])) if "snapshot" in by else None,
            )
