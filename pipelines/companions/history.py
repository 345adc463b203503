"""Histories of buying as BG/NBD and Gamma-Gamma read them, and both models fitted to the newest training snapshot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.bg_nbd import BgNbd
from feature_repo.configuration import Problem
from pipelines import buying_rhythm, gamma_gamma
from pipelines.boosting import Floats
from pipelines.buying_rhythm import histories, newest_sample
from pipelines.console import UserError
from pipelines.gamma_gamma import GammaGamma
from pipelines.settings.models import CompanionConfig


@dataclass(frozen=True, slots=True)
class Histories:
    """Repeat purchases, age at the last and age now (days); purchases and their mean value. Shape (rows,) each.

    Where `known` is false the row has no purchase, and its other values are 0.
    """

    x: Floats
    t_x: Floats
    age: Floats
    purchases: Floats
    mean_value: Floats
    known: NDArray[np.bool_]


def read_histories(rows: pd.DataFrame, config: CompanionConfig) -> Histories:
    """Histories of all rows, in order; the value is in minor units, NaN where no purchase has one."""
    x, t_x, age, known = histories(rows, config.bg_nbd)
    return Histories(
        x, t_x, age, np.where(known, x + 1.0, 0.0), rows[config.monetary].to_numpy(dtype=np.float64), known
    )


def fit_bg_nbd(train: pd.DataFrame, config: CompanionConfig) -> BgNbd:
    """Maximum likelihood given that a customer is in the dataset at all, time in days; no label is read.

    Raises:
        UserError: nobody has bought.
    """
    try:
        return buying_rhythm.fit_bg_nbd(config.label, config.bg_nbd, train)
    except ValueError as error:
        hint = "name features with days since the last and first purchase, and their number"
        raise _unfit("BG/NBD", "bg_nbd", "customers who bought", str(error), hint) from None


def fit_gamma_gamma(train: pd.DataFrame, config: CompanionConfig) -> tuple[GammaGamma, float | None]:
    """Maximum likelihood, and the correlation of frequency and value that the model takes for 0.

    Raises:
        UserError: no purchase is worth anything.
    """
    found = read_histories(newest_sample(train), config)
    try:
        model = gamma_gamma.fit(found.purchases, found.mean_value)
    except ValueError as error:
        hint = "name a feature with the mean value of a purchase"
        raise _unfit("Gamma-Gamma", "monetary", "purchases worth more than 0", str(error), hint) from None
    return model, gamma_gamma.frequency_value_correlation(found.purchases, found.mean_value)


def _unfit(model: str, field: str, expected: str, got: str, hint: str) -> UserError:
    problem = Problem(field, f"{expected}, in the newest training snapshot", got, hint)
    return UserError(f"{model} cannot be fitted.", [problem])
