"""Whether the model has other reasons for other customers, or at other times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.explain.contributions import Array, Explained, affordable_rows, explain_rows
from pipelines.explain.wording import number
from pipelines.settings.models import SliceConfig
from pipelines.slicing import slice_rows

TOP, ENOUGH = 8, 30
_ROWS_OVER_TIME, _ROWS_A_SNAPSHOT = 2000, 300


@dataclass(frozen=True, slots=True)
class Band:
    """Explained rows of one band; `sizes` are mean absolute contributions of the features of its `Cohorts`."""

    band: str
    rows: int
    mean_probability: float
    sizes: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The bands of one slice (or of time), each with the sizes of the same `features`, in log-odds."""

    name: str
    features: tuple[str, ...]
    bands: tuple[Band, ...]
    note: str


def by_slice(
    slices: Sequence[SliceConfig], train: pd.DataFrame, rows: pd.DataFrame, explained: Explained, top: Sequence[str]
) -> tuple[Cohorts, ...]:
    """Importance in each band of each slice; `rows` are the explained ones, with the columns that slices read."""
    made = []
    for item in slices:
        if item.consent is not None:
            made.append(Cohorts(item.name, tuple(top), (), "What customers consented to is not in the dataset."))
            continue
        cut = slice_rows(item, rows, train)
        found = [
            _band(name, cut.numbers == at, explained, top)
            for at, name in enumerate(cut.bands) if (cut.numbers == at).any()
        ]  # fmt: skip
        kept = tuple(band for band in found if band.rows >= ENOUGH)
        few = [f"{band.band} ({band.rows} rows)" for band in found if band.rows < ENOUGH]
        note = f"Not shown for fewer than {ENOUGH} explained rows: {', '.join(few)}." if few else ""
        made.append(Cohorts(item.name, tuple(top), kept, note))
    return tuple(made)


def over_time(
    booster: lightgbm.Booster, rows: pd.DataFrame, inputs: Array, top: Sequence[str], seed: int
) -> tuple[Cohorts, float]:
    """Importance at each snapshot, training ones too, over rows drawn at random; and the worst miss of additivity."""
    days = rows["snapshot"].dt.strftime("%Y-%m-%d").to_numpy()
    names = np.unique(days)
    most = min(_ROWS_A_SNAPSHOT, max(ENOUGH, affordable_rows(booster, _ROWS_OVER_TIME) // len(names)))
    generator = np.random.default_rng(seed)
    chosen = np.concatenate([_draw(np.flatnonzero(days == name), most, generator) for name in names])
    explained = explain_rows(booster, inputs[chosen])
    bands = tuple(_band(name, days[chosen] == name, explained, top) for name in names)
    note = f"{len(chosen):,} rows, at most {most} of each snapshot, drawn at random with a fixed seed."
    return Cohorts("snapshot", tuple(top), bands, note), explained.gap


def _draw(places: NDArray[np.int64], most: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return places if len(places) <= most else np.sort(generator.choice(places, most, replace=False))


def _band(name: str, chosen: NDArray[np.bool_], explained: Explained, top: Sequence[str]) -> Band:
    columns = [explained.names.index(feature) for feature in top]
    sizes = np.abs(explained.contributions[chosen][:, columns]).mean(axis=0)
    chances = 1.0 / (1.0 + np.exp(-explained.scores[chosen]))
    return Band(name, int(chosen.sum()), float(chances.mean()), tuple(float(size) for size in sizes))


def furthest(cohorts: Cohorts) -> str:
    """The feature whose importance differs most between bands, in words; empty where there is nothing to compare."""
    if len(cohorts.bands) < 2:
        return ""
    sizes = np.array([band.sizes for band in cohorts.bands])
    at = int(np.argmax(np.ptp(sizes, axis=0)))
    low, high = int(np.argmin(sizes[:, at])), int(np.argmax(sizes[:, at]))
    return (
        f"The largest change is in {cohorts.features[at]}: {number(float(sizes[low, at]))} log-odds in "
        f"{cohorts.bands[low].band}, {number(float(sizes[high, at]))} in {cohorts.bands[high].band}."
    )


def as_figures(cohorts: Cohorts) -> Mapping[str, Any]:
    """As `report.json` holds it."""
    return {
        "slice": cohorts.name, "features": list(cohorts.features), "note": cohorts.note,
        "bands": [
            {"band": band.band, "rows": band.rows, "mean_probability": band.mean_probability,
             "mean_contributions": list(band.sizes)} for band in cohorts.bands
        ],
    }  # fmt: skip
