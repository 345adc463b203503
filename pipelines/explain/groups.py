"""Features that move together, and what each group of them contributes as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from pipelines.explain.contributions import Array, Explained

ALIKE = 0.8
_ROWS, _COMMON = 1000, 30


@dataclass(frozen=True, slots=True)
class Group:
    """Features whose every pair has |Spearman| of at least 0.8, the strongest first.

    `mean_contribution` is the mean of |sum of the members' contributions|; `apart` the sum of the members' own means.
    Where it is much larger, members cancel each other. `share` is the group's part of all groups' sum. Log-odds.
    """

    features: tuple[str, ...]
    meanings: tuple[str, ...]
    mean_contribution: float
    apart: float
    share: float


def groups(explained: Explained, meanings: Mapping[str, str]) -> tuple[Group, ...]:
    """All groups, single features too, the strongest first."""
    numbers = cluster(explained.values)
    sizes = np.abs(explained.contributions).mean(axis=0)
    made = []
    for number in np.unique(numbers):
        members = sorted(np.flatnonzero(numbers == number).tolist(), key=lambda at: (-sizes[at], at))
        together = float(np.abs(explained.contributions[:, members].sum(axis=1)).mean())
        made.append((together, members))
    made.sort(key=lambda item: (-item[0], item[1]))
    total = sum(together for together, _ in made) or 1.0
    return tuple(
        Group(
            names := tuple(explained.names[at] for at in members), tuple(meanings.get(name, name) for name in names),
            together, float(sizes[members].sum()), together / total,
        )
        for together, members in made
    )  # fmt: skip


def cluster(values: Array, alike: float = ALIKE) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """Group number of each column of `values` (rows, features), NaN where empty.

    Complete linkage on 1 - |Spearman|, so that every pair of a group is at least `alike`. A pair is compared over the
    rows where both have a value; with fewer than 30 such rows, or a constant, it is not alike.
    """
    if values.shape[1] < 2:
        return np.ones(values.shape[1], dtype=np.int32)
    step = max(1, len(values) // _ROWS)
    frame = pd.DataFrame(values[::step])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = frame.corr(method="spearman", min_periods=min(_COMMON, len(frame))).to_numpy(copy=True)
    distance = 1.0 - np.abs(np.nan_to_num(correlation, nan=0.0))
    np.fill_diagonal(distance, 0.0)
    links = linkage(squareform(np.clip(distance, 0.0, 1.0), checks=False), method="complete")
    return fcluster(links, 1.0 - alike + 1e-12, criterion="distance")
