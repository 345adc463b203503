"""Folds as files that other processes read: binned once, in LightGBM's own binary format."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb

from pipelines.artefacts import read_json, write_json
from pipelines.boosting import BinnedFold, LearningRows, each_fold, parameters

_SIZES = "sizes.json"


def save_folds(folder: Path, rows: LearningRows, seed: int) -> None:
    """Bin the folds of `rows` one at a time, and write each into `folder`."""
    sizes = {}
    for fold in each_fold(rows, seed):
        fold.fit.save_binary(_file(folder, fold.number, "fit"))
        fold.held_out.save_binary(_file(folder, fold.number, "held_out"))
        sizes[str(fold.number)] = fold.size
    write_json(folder / _SIZES, sizes)


def load_folds(folder: Path, seed: int) -> tuple[BinnedFold, ...]:
    """What `save_folds` wrote. Held-out rows keep the bins of the rows that are fitted, so scores are the same."""
    return tuple(_load(folder, int(number), size, seed) for number, size in read_json(folder / _SIZES).items())


def _load(folder: Path, number: int, size: int, seed: int) -> BinnedFold:
    settings = parameters({"num_threads": 1}, seed, size)
    fit = lgb.Dataset(_file(folder, number, "fit"), params=settings, free_raw_data=False).construct()
    held_out = fit.create_valid(_file(folder, number, "held_out"), params=settings).construct()
    return BinnedFold(number, size, fit, held_out)


def _file(folder: Path, number: int, which: str) -> str:
    return str(folder / f"{number}.{which}.bin")
