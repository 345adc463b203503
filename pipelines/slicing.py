"""Kinds of customers that a model is judged on apart: bands of a feature, which of several is largest, consent."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.settings.models import SliceConfig

EMPTY, NONE, NOT_KNOWN = "empty", "none", "not known"

# Of each purpose: the group of each customer, in words.
ConsentGroups = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows told apart: `numbers` (rows,) says which of `bands` each row is in."""

    name: str
    bands: tuple[str, ...]
    numbers: NDArray[np.int64]


def slice_rows(
    config: SliceConfig, rows: pd.DataFrame, train: pd.DataFrame, consent: ConsentGroups | None = None
) -> Slice:
    """Put `rows` into the bands of one slice; ends of quantile bands come from `train` alone.

    A row whose feature is empty is in the band `empty`, there where any is. A customer of no consent group is in
    `not known`.
    """
    if config.consent is not None:
        return _by_consent(config, rows, (consent or {}).get(config.consent, {}))
    if config.largest_of:
        return _by_largest(config, rows)
    values = rows[str(config.feature)].to_numpy(dtype=np.float64)
    ends = np.array(config.below, dtype=np.float64)
    if config.quantiles is not None:
        known = train[str(config.feature)].to_numpy(dtype=np.float64)
        ends = quantile_ends(known[np.isfinite(known)], config.quantiles)
    words = config.labels if len(config.labels) == len(ends) + 1 else band_words(ends)
    numbers = np.searchsorted(ends, values, side="right")
    empty = ~np.isfinite(values)
    if not empty.any():
        return Slice(config.name, words, numbers.astype(np.int64))
    return Slice(config.name, (*words, EMPTY), np.where(empty, len(words), numbers).astype(np.int64))


def quantile_ends(values: NDArray[np.float64], bands: int) -> NDArray[np.float64]:
    """Upper ends of all bands but the last; fewer where many values are equal, none where there is no value."""
    if not len(values):
        return np.empty(0)
    ends = np.unique(np.quantile(values, np.arange(1, bands) / bands))
    return np.asarray(ends[ends > values.min()])


def band_words(ends: NDArray[np.float64]) -> tuple[str, ...]:
    """`below 2`, `2 to 5`, `5 and more`; `all` where nothing is told apart."""
    if not len(ends):
        return ("all",)
    said = [f"{end:,.4g}" if abs(end) < 10_000 else f"{end:,.0f}" for end in ends]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(said)]
    return (f"below {said[0]}", *between, f"{said[-1]} and more")


def _by_largest(config: SliceConfig, rows: pd.DataFrame) -> Slice:
    """Of equal features the one that is named first; `none` where all are empty or 0."""
    values = np.nan_to_num(rows[list(config.largest_of.values())].to_numpy(dtype=np.float64), nan=0.0)
    words = (*config.largest_of, NONE)
    numbers = np.where((values > 0).any(axis=1), values.argmax(axis=1), len(config.largest_of))
    return Slice(config.name, words, numbers.astype(np.int64))


def _by_consent(config: SliceConfig, rows: pd.DataFrame, groups: Mapping[str, str]) -> Slice:
    found = rows["customer_id"].map(groups).fillna(NOT_KNOWN)
    words = tuple(sorted(found.unique()))
    place = {word: number for number, word in enumerate(words)}
    return Slice(config.name, words, found.map(place).to_numpy(dtype=np.int64))
