"""Which columns the model has, and the parameters of those that are computed."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np
import pandas as pd

from feature_repo.bg_nbd import history
from feature_repo.configuration import Problem
from feature_repo.model_inputs import BuyingRhythm, ModelInputs
from feature_repo.windows import DAY
from pipelines import bg_nbd
from pipelines.console import UserError
from pipelines.settings.labels import ActiveLabel, microseconds
from pipelines.settings.models import BgNbdConfig, LearningConfig

# Beyond some thousands of customers the four parameters of BG/NBD no longer move.
MOST_CUSTOMERS = 10_000
SEED = 20050501


def model_inputs(config: LearningConfig, rows: pd.DataFrame, names: tuple[str, ...]) -> ModelInputs:
    """The columns of the model over features `names`; BG/NBD is fitted to histories, and sees no label.

    Raises:
        UserError: BG/NBD is asked for, and no row of the newest training snapshot has a purchase.
    """
    left = tuple(name for name in names if not any(fnmatchcase(name, text) for text in config.inputs.without))
    asked = config.inputs.bg_nbd
    return ModelInputs(names, left, None if asked is None else _rhythm(config, asked, rows))


def _rhythm(config: LearningConfig, asked: BgNbdConfig, rows: pd.DataFrame) -> BuyingRhythm:
    label = config.label
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
