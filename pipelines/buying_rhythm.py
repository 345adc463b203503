"""BG/NBD fitted to the histories of a training set: for columns that a model reads, and for the simple models."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.bg_nbd import Array, BgNbd, history
from feature_repo.configuration import Problem
from feature_repo.model_inputs import BuyingRhythm
from feature_repo.windows import DAY
from pipelines import bg_nbd
from pipelines.artefacts import newest_snapshot
from pipelines.console import UserError
from pipelines.settings.labels import ActiveLabel, Label, microseconds
from pipelines.settings.models import BgNbdConfig

# Beyond some thousands of customers the four parameters of BG/NBD no longer move.
MOST_CUSTOMERS = 10_000
SEED = 20050501


def fit_rhythm(label: Label, asked: BgNbdConfig, rows: pd.DataFrame) -> BuyingRhythm:
    """Fitted to the train part of `rows` (part, snapshot, and the features asked for).

    Raises:
        UserError: no row of the newest training snapshot has a purchase.
    """
    try:
        model = fit_bg_nbd(label, asked, rows[rows["part"] == "train"])
    except ValueError as error:
        hint = "remove inputs.bg_nbd, or name features with days since the last and first purchase, and their number"
        problem = Problem("inputs.bg_nbd", "customers who bought, in the newest training snapshot", str(error), hint)
        raise UserError("BG/NBD cannot be fitted.", [problem]) from None
    horizon = (microseconds(label.gap) + microseconds(label.horizon)) / DAY
    return BuyingRhythm(model, asked.recency, asked.frequency, asked.age, horizon)


def fit_bg_nbd(label: Label, asked: BgNbdConfig, train: pd.DataFrame) -> BgNbd:
    """Maximum likelihood, time in days, given that a customer is in the dataset at all; no label is read.

    Raises:
        ValueError: no row of the newest snapshot has a purchase.
    """
    x, t_x, age, known = histories(newest_sample(train), asked)
    active = microseconds(label.activity_window) / DAY if isinstance(label, ActiveLabel) else None
    return bg_nbd.fit(x[known], t_x[known], age[known], active)


def newest_sample(train: pd.DataFrame) -> pd.DataFrame:
    """The newest snapshot, or as many rows of it, at random with a fixed seed, as parameters need."""
    late = newest_snapshot(train)
    return late if len(late) <= MOST_CUSTOMERS else late.sample(MOST_CUSTOMERS, random_state=SEED)


def histories(rows: pd.DataFrame, asked: BgNbdConfig) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """x, t_x, T and whether there is a purchase, of each row (`feature_repo/bg_nbd.py`)."""
    columns = (rows[name].to_numpy(dtype=np.float64) for name in (asked.recency, asked.frequency, asked.age))
    return history(*columns)
