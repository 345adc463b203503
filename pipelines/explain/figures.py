"""All figures of a report, section by section: what `report.json` holds, and what the plots are drawn from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pipelines import label_words
from pipelines.artefacts import DatasetManifest
from pipelines.boosting import learning_rows, sampled_rows
from pipelines.explain import cohorts, wording
from pipelines.explain.answers import answers
from pipelines.explain.cohorts import Cohorts
from pipelines.explain.contributions import (
    Array,
    Explained,
    Importance,
    affordable_rows,
    explain_rows,
    importances,
    reach,
)
from pipelines.explain.examples import examples
from pipelines.explain.groups import groups
from pipelines.explain.hints import LABEL, MOST_ROWS, Hints
from pipelines.explain.interactions import Interactions, interactions
from pipelines.explain.limits import words_for
from pipelines.explain.material import Material
from pipelines.explain.stability import MOST_TRAIN_ROWS, Stability, rows_of_refits, rows_to_look_at, stability
from pipelines.explain.when import times

SEED = 20050501
SECTIONS = 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the plots are drawn from. None where a section could not be made."""

    explained: Explained
    ranked: tuple[Importance, ...]
    interactions: Interactions | None
    over_time: Cohorts
    stability: Stability | None


class Clock:
    """Runs the sections one after the other; `seconds` says how long each took."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        self._advance = advance
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], _T]) -> _T:
        began = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - began, 2)
        self._advance(1)
        return result


def compute(material: Material, rows: int, clock: Clock) -> tuple[dict[str, Any], Drawn]:
    """Every section; `rows` test rows, drawn at random with a fixed seed, stand behind the global figures.

    Raises:
        AdditivityError: contributions do not sum to a score, or interactions to a contribution.
    """
    manifest, config = material.dataset.manifest, material.config
    sample = draw(len(material.test), affordable_rows(material.booster, rows))
    explained = clock("contributions", lambda: explain_rows(material.booster, material.inputs[sample]))
    ranked = importances(explained, material.words)
    top = [item.feature for item in ranked[: cohorts.TOP]]
    grouped = clock("groups", lambda: groups(explained, material.words))
    pairs = clock("interactions", lambda: interactions(material.booster, explained))
    sampled_rows = material.test.iloc[sample]
    slices = clock(
        "cohorts", lambda: cohorts.by_slice(config.slices, material.train, sampled_rows, explained, top)
    )  # fmt: skip
    both, inputs = _both_parts(material)
    over_time, time_gap = clock(
        "snapshots", lambda: cohorts.over_time(material.booster, both, inputs, top, SEED)
    )  # fmt: skip
    stable = clock("stability", lambda: _stability(material, both, inputs, ranked))
    hints = _hints(material)
    features = material.test[list(manifest.features)].to_numpy(dtype=np.float64)
    average = clock("hints", lambda: hints.on_average(features[draw(len(features), MOST_ROWS)]))
    shown, example_gap = clock("examples", lambda: examples(material, hints, average))
    gaps = [explained.gap, example_gap, time_gap, stable.gap if stable else 0.0]
    figures: dict[str, Any] = {
        "model": config.name, "dataset_hash": manifest.dataset_hash,
        "definition": label_words.label_definition(config.label, config.snapshots.at),
        "left_out": _left_out(manifest, material),
        "times": times(material), "snapshots": _snapshots(manifest), "rates": _rates(material),
        "evaluation": material.evaluation,
        "leakage": material.leakage or None, "ablation": material.ablation or None,
        "shap_mode": "tree_path_dependent", "rows_explained": len(sample), "rows_available": len(material.test),
        "worst_additivity_gap": max(gaps), "base_log_odds": explained.base,
        "importances": [asdict(item) for item in ranked], "groups": [asdict(item) for item in grouped],
        "interactions": _interaction_figures(pairs), "cohorts": [cohorts.as_figures(item) for item in slices],
        "importance_over_time": cohorts.as_figures(over_time), "stability": asdict(stable) if stable else None,
        "hints": {"label": LABEL, "patterns": list(config.actionable), "rows": min(len(features), MOST_ROWS),
                  "features": [asdict(item) for item in average]},
        "examples": shown, "reach": [asdict(item) for item in reach(material.probabilities, material.labels)],
    }  # fmt: skip
    figures["answers"] = [asdict(item) for item in answers(figures, config, words_for(config.label))]
    return figures, Drawn(explained, ranked, pairs, over_time, stable)


def draw(available: int, wanted: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Row numbers in order: all, or as many as wanted at random."""
    if available <= wanted:
        return np.arange(available)
    return np.sort(np.random.default_rng(SEED).choice(available, wanted, replace=False))


def _both_parts(material: Material) -> tuple[pd.DataFrame, Array]:
    train = material.dataset.inputs("train").to_numpy(dtype=np.float64)
    return pd.concat([material.train, material.test], ignore_index=True), np.concatenate([train, material.inputs])


def _stability(
    material: Material, both: pd.DataFrame, inputs: Array, ranked: tuple[Importance, ...]
) -> Stability | None:
    tuned = material.training or material.tuning
    if not tuned:
        return None
    learning = sampled_rows(learning_rows(material.dataset), material.train["customer_id"].to_numpy(), MOST_TRAIN_ROWS)
    sampled = len(learning.labels) < len(material.train)
    config = material.config
    looked_at = rows_to_look_at(both, inputs, SEED, rows_of_refits(material.booster, config.fit.seeds))
    own = [item.feature for item in ranked if item.mean_contribution > 0]
    return stability(
        material.booster, learning, looked_at, tuned["params"], tuned["rounds"], config.fit, config.tune.seed, sampled,
        own,
    )  # fmt: skip


def _hints(material: Material) -> Hints:
    manifest, config = material.dataset.manifest, material.config
    train = material.train[list(manifest.features)].to_numpy(dtype=np.float64)
    lower = words_for(config.label).welcome == 0
    return Hints(material.booster, manifest.inputs, train, config.actionable, material.words, lower)


def _interaction_figures(found: Interactions | None) -> dict[str, Any] | None:
    if found is None:
        return None
    pairs = [asdict(pair) for pair in found.pairs]
    return {"rows": found.rows, "alone": found.alone, "worst_gap": found.gap, "pairs": pairs}


def _snapshots(manifest: DatasetManifest) -> list[dict[str, Any]]:
    return [
        {"day": wording.day(item.as_of), "part": item.part, "customers": item.customers,
         "positives": item.positives, "rate": item.positives / max(item.customers, 1)}
        for item in manifest.snapshots
    ]  # fmt: skip


def _rates(material: Material) -> dict[str, float]:
    """Shares with label 1, and what the model says on average: whether the base rate has drifted."""
    newest = material.train[material.train["snapshot"] == material.train["snapshot"].max()]
    return {
        "train": float(material.train["label"].mean()), "newest_train": float(newest["label"].mean()),
        "test": float(material.labels.mean()), "predicted": float(material.probabilities.mean()),
    }  # fmt: skip


def _left_out(manifest: DatasetManifest, material: Material) -> str:
    """For openings the spans' days do not tell when the newest training row was looked at; the rows do."""
    days: dict[str, list[str]] = {"train": [], "test": []}
    for item in manifest.snapshots:
        days[item.part].append(wording.day(item.as_of))
    if material.config.snapshots.at == "opening":
        days = {"train": [f"{material.train['as_of'].max():%Y-%m-%d}"], "test": days["test"]}
    return label_words.left_out(material.config.label, days["train"], min(days["test"]))
