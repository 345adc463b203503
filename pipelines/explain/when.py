"""When the rows of a dataset were looked at, in words: at as-of days, or right after openings within spans of days."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from feature_repo.windows import DAY
from pipelines import label_words
from pipelines.explain.material import Material


def times(material: Material) -> dict[str, Any]:
    """What a row is called, what its snapshot is, and the first and last as-of instant of each part (UTC)."""
    config = material.config
    openings = config.snapshots.at == "opening"
    every = label_words.duration(config.snapshots.every)
    return {
        "at": config.snapshots.at,
        "rows": "openings" if openings else "rows",
        "row": "opening" if openings else "customer at one as-of day",
        "counted": "openings" if openings else "customers",
        "snapshot": f"Opened in the {every} from" if openings else "As of",
        "snapshots": f"spans of {every}" if openings else "as-of days",
        "within": "in" if openings else "at",
        "every": every,
        "horizon": label_words.duration(config.label.horizon),
        "parts": {"train": _reach(material.train), "test": _reach(material.test)},
        "overlap": _overlap(material),
    }


def _reach(rows: pd.DataFrame) -> dict[str, str]:
    first, last = rows["as_of"].min(), rows["as_of"].max()
    return {
        "first": _instant(first), "last": _instant(last),
        "first_day": f"{first:%Y-%m-%d}", "last_day": f"{last:%Y-%m-%d}",
    }  # fmt: skip


def _instant(at: pd.Timestamp) -> str:
    return f"{at:%Y-%m-%d}" if at == at.normalize() else f"{at:%Y-%m-%d %H:%M}"


def _overlap(material: Material) -> dict[str, float] | None:
    """Days that the label windows of neighbouring test snapshots share, and how long a window is; None of one."""
    starts = material.test["snapshot"].drop_duplicates().sort_values()
    if len(starts) < 2:
        return None
    window = material.dataset.manifest.horizon / DAY
    apart = min((later - earlier) / pd.Timedelta(days=1) for earlier, later in itertools.pairwise(starts))
    return {"days": max(window - apart, 0.0), "of": window}


def span_words(part: Mapping[str, str]) -> str:
    """`2018-05-02 03:00 to 2018-05-30 03:00`, or one instant."""
    first, last = part["first"], part["last"]
    return first if first == last else f"{first} to {last}"
