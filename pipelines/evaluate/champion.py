"""A candidate against the model that is served now, on the newest test snapshot: what the gates look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.evaluate.profit import profit_lost
from pipelines.evaluate.slices import Cut, Rows, judge_bands, worst_by
from pipelines.scoring.bootstrap import Interval, resample
from pipelines.scoring.metrics import Array
from pipelines.settings.models import ModelConfig

CHAMPION = "champion"
_CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class BandAgainstChampion:
    """Log-loss of the candidate minus that of the champion, nats; above 0 is worse."""

    slice: str
    band: str
    rows: int
    log_loss: Interval


@dataclass(frozen=True, slots=True)
class ChampionComparison:
    """On the newest test snapshot (int64 microseconds UTC), the same resamples of customers for both.

    Log-loss (nats) and calibration error are the candidate's minus the champion's. `profit` is the champion's minus
    the candidate's, in money a row: what would be lost. `worst_slice` is the band with the highest lower bound.
    """

    snapshot: int
    rows: int
    log_loss: Interval
    calibration_error: Interval
    profit: Interval | None
    worst_slice: BandAgainstChampion | None


def compare_with_champion(
    config: ModelConfig, rows: Rows, snapshots: NDArray[np.int64], cuts: Sequence[Cut], train_labels: Array,
    resamples: int, seed: int,
) -> ChampionComparison | None:  # fmt: skip
    """None without a champion. `snapshots`, shape (rows,), are those of all test rows."""
    if rows.champion is None:
        return None
    newest = snapshots == snapshots.max()
    late = rows.where(newest)
    both = {_CANDIDATE: late.probabilities, CHAMPION: rows.champion[newest]}
    drawn = resample(late.labels, both, late.customers, resamples, seed)
    bands = judge_bands([cut.where(newest) for cut in cuts], train_labels, late, resamples, seed)
    worst = worst_by(bands, lambda band: band.against_champion, "high")
    return ChampionComparison(
        snapshot=int(snapshots.max()), rows=len(late.labels),
        log_loss=drawn[_CANDIDATE].difference(drawn[CHAMPION], "log_loss"),
        calibration_error=drawn[_CANDIDATE].difference(drawn[CHAMPION], "calibration_error"),
        profit=None if config.profit is None else profit_lost(
            config.profit, late.labels, both[_CANDIDATE], both[CHAMPION], late.customers, resamples, seed),
        worst_slice=None if worst is None or worst.against_champion is None else BandAgainstChampion(
            worst.slice, worst.band, worst.rows, worst.against_champion),
    )  # fmt: skip
