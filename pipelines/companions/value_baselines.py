"""Simple ways to expect a customer's value, each with the interval it implies. Money in minor units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo.bg_nbd import BgNbd
from feature_repo.windows import DAY
from pipelines import bg_nbd, gamma_gamma
from pipelines.artefacts import newest_snapshot
from pipelines.boosting import Floats
from pipelines.companions.history import Histories, read_histories
from pipelines.gamma_gamma import GammaGamma
from pipelines.settings.labels import microseconds
from pipelines.settings.models import CompanionConfig

DRAWS = 1000
_ROWS_AT_ONCE = 2000
_SEED = 20050501


@dataclass(frozen=True, slots=True)
class Predicted:
    """Expected value and ends of the interval, shape (rows,) each."""

    value: Floats
    lower: Floats
    upper: Floats


def train_mean(train: pd.DataFrame, test: pd.DataFrame, level: float) -> Predicted:
    """The mean of the train part for everyone, and its quantiles."""
    labels = train["label"].to_numpy(dtype=np.float64)
    lower, upper = np.quantile(labels, [(1 - level) / 2, (1 + level) / 2])
    return Predicted(*(np.full(len(test), end) for end in (labels.mean(), lower, upper)))


def historical_rate(rows: pd.DataFrame, config: CompanionConfig) -> Floats:
    """Everything bought so far, by the day since the first purchase, times the days of the horizon.

    A customer of less than a horizon is taken as if the first purchase lay a horizon back, since one purchase of today
    is no daily rate. Without a purchase 0.
    """
    found, days = read_histories(rows, config), microseconds(config.label.horizon) / DAY
    bought = found.purchases * np.where(np.isfinite(found.mean_value), found.mean_value, 0.0)
    return np.where(found.known, bought / np.maximum(found.age, days) * days, 0.0)


@dataclass(frozen=True, slots=True)
class BuyTillYouDie:
    """BG/NBD times Gamma-Gamma: how often, and for how much. `scale` maps money bought to the label's money.

    They know purchases only; refunds, and drift since the history, are left to `scale` (1: none).
    """

    buying: BgNbd
    spending: GammaGamma
    horizon: float
    gap: float
    unknown: float
    scale: float = 1.0

    def expected(self, found: Histories) -> Floats:
        """Expected value, shape (rows,); `unknown` where there is no purchase."""
        count = bg_nbd.expected_purchases(self.buying, found.x, found.t_x, found.age, self.horizon, self.gap)
        worth = gamma_gamma.expected_value(self.spending, found.purchases, found.mean_value)
        return np.where(found.known, self.scale * count * worth, self.unknown)

    def predict(self, found: Histories, level: float) -> Predicted:
        """With the quantiles of simulated totals as interval."""
        ends = np.empty((2, len(found.x)))
        for start in range(0, len(found.x), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            x, t_x, age, seed = found.x[rows], found.t_x[rows], found.age[rows], _SEED + start
            counts = bg_nbd.simulate_purchases(self.buying, x, t_x, age, self.horizon, self.gap, DRAWS, seed)
            purchases, mean_value = found.purchases[rows], found.mean_value[rows]
            totals = gamma_gamma.simulate_totals(self.spending, purchases, mean_value, counts, seed + 1)
            ends[:, rows] = self.scale * np.quantile(totals, [(1 - level) / 2, (1 + level) / 2], axis=1)
        return Predicted(self.expected(found), ends[0], ends[1])


def buy_till_you_die(
    train: pd.DataFrame, config: CompanionConfig, buying: BgNbd, spending: GammaGamma, scaled: bool
) -> BuyTillYouDie:
    """`scaled`: multiplied so that totals agree on the newest training snapshot, whose labels are read for that."""
    horizon, gap = (microseconds(length) / DAY for length in (config.label.horizon, config.label.gap))
    plain = BuyTillYouDie(buying, spending, horizon, gap, float(train["label"].mean()))
    if not scaled:
        return plain
    late = newest_snapshot(train)
    expected = float(plain.expected(read_histories(late, config)).sum())
    scale = float(late["label"].sum()) / expected if expected > 0 else 1.0
    return BuyTillYouDie(buying, spending, horizon, gap, plain.unknown, max(scale, 0.0))
