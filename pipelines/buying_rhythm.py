"""BG/NBD fitted to the histories of a training set: parameters of columns that a model may read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from feature_repo.bg_nbd import history
from feature_repo.configuration import Problem
from feature_repo.model_inputs import BuyingRhythm
from feature_repo.windows import DAY
from pipelines import bg_nbd
from pipelines.console import UserError
from pipelines.settings.labels import ActiveLabel, Label, microseconds
from pipelines.settings.models import BgNbdConfig

# Beyond some thousands of customers the four parameters of BG/NBD no longer move.
MOST_CUSTOMERS = 10_000
SEED = 20050501


def fit_rhythm(label: Label, asked: BgNbdConfig, rows: pd.DataFrame) -> BuyingRhythm:
    """Fitted to the newest training snapshot of `rows` (part, snapshot, and the features asked for); sees no label.

    Raises:
        UserError: no row of the newest training snapshot has a purchase.
    """
    train = rows[rows["part"] == "train"]
    late = train[train["snapshot"] == train["snapshot"].max()]
    sample = late if len(late) <= MOST_CUSTOMERS else late.sample(MOST_CUSTOMERS, random_state=SEED)
    columns = (sample[name].to_numpy(dtype=np.float64) for name in (asked.recency, asked.frequency, asked.age))
    x, t_x, age, known = history(*columns)
    active = microseconds(label.activity_window) / DAY if isinstance(label, ActiveLabel) else None
    try:
        model = bg_nbd.fit(x[known], t_x[known], age[known], active)
    except ValueError as error:
        hint = "remove inputs.bg_nbd, or name features with days since the last and first purchase, and their number"
        problem = Problem("inputs.bg_nbd", "customers who bought, in the newest training snapshot", str(error), hint)
        raise UserError("BG/NBD cannot be fitted.", [problem]) from None
    horizon = (microseconds(label.gap) + microseconds(label.horizon)) / DAY
    return BuyingRhythm(model, asked.recency, asked.frequency, asked.age, horizon)
