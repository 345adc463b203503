"""A part of many rows that holds customers whole."""

from __future__ import annotations

import numpy as np
import pandas as pd


def whole_customers(rows: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """All rows where there are at most `most`; else those of customers drawn at random, about `most` in all."""
    if len(rows) <= most:
        return rows
    numbers, names = pd.factorize(rows["customer_id"])
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.bincount(numbers)[order]
    drawn = order[: max(1, int(np.searchsorted(np.cumsum(sizes), most, side="right")))]
    return rows[np.isin(numbers, drawn)].reset_index(drop=True)
