"""Plots of reasons compared: pairs of features, times, and models fitted again."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from pipelines.canvas import LINES, SOFT, Image, broken, canvas, pixels, vector
from pipelines.explain.cohorts import Cohorts, furthest
from pipelines.explain.interactions import Interactions
from pipelines.explain.stability import Stability
from pipelines.explain.wording import number

_FROM_BLUE = LinearSegmentedColormap.from_list("blue to rust", ["#1f5f8b", "#b9c6d2", "#b4532a"])
_PALER = LinearSegmentedColormap.from_list("pale to blue", ["#f4f6f9", "#9dbcd3", "#1f5f8b"])
_LINES_SHOWN = 6


def interaction_image(found: Interactions, names: tuple[str, ...]) -> Image:
    """What the strongest pair does together, against the value of its first feature, coloured by the second."""
    pair = found.pairs[0]
    first, second = (found.values[:, names.index(name)] for name in (pair.first, pair.second))
    order = np.argsort(np.argsort(np.nan_to_num(second, nan=-np.inf), kind="stable"), kind="stable")
    known, filled = np.isfinite(first), np.isfinite(second)
    with canvas(6.4, 3.2) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.scatter(first[known & ~filled], found.strongest[known & ~filled], s=14, color=SOFT, linewidths=0)
        drawn = axes.scatter(first[known & filled], found.strongest[known & filled], s=16, c=order[known & filled],
                             cmap=_FROM_BLUE, linewidths=0)  # fmt: skip
        if len(first[known]) and first[known].min() >= 0 and first[known].max() > 20 * max(np.median(first[known]), 1):
            axes.set_xscale("symlog", linthresh=max(1.0, float(np.quantile(first[known], 0.25))))
        bar = figure.colorbar(drawn, ax=axes, ticks=[])
        bar.set_label(f"{broken(pair.second, 32)}\n(low to high)", fontsize=7.5)
        bar.outline.set_visible(False)
        axes.set_xlabel(broken(pair.first, 60), fontsize=8)
        axes.set_ylabel("effect of both together, log-odds", fontsize=8)
        axes.tick_params(labelsize=8)
        source = pixels(figure)
    # Rows where the first feature is empty have no place across.
    effects = found.strongest[known] if known.any() else np.zeros(1)
    low, high = float(effects.min()), float(effects.max())
    said = f"from {number(low, 2, True)} to {number(high, 2, True)} log-odds"
    return Image(
        source, f"Scatter plot of {pair.first} against its interaction with {pair.second}, {said}.",
        f"The strongest pair. Each of {int(known.sum())} points is a row: across, the value of {pair.first}; up, "
        f"what it and {pair.second} do together beyond what each does alone, {said}. Colour is the rank of "
        f"{pair.second}, blue low, red high, grey where it is empty. Points on the line would show no interaction.",
    )  # fmt: skip


def over_time_image(cohorts: Cohorts, test_days: set[str]) -> Image:
    """Mean absolute contribution of the strongest features at each snapshot."""
    days: Any = [datetime.fromisoformat(band.band) for band in cohorts.bands]
    with canvas(7.0, 3.0) as figure:
        axes = figure.add_subplot()
        shown = cohorts.features[:_LINES_SHOWN]
        for at, (name, colour) in enumerate(zip(shown, itertools.cycle(LINES), strict=False)):
            axes.plot(days, [band.sizes[at] for band in cohorts.bands], "o-", color=colour, markersize=3.5,
                      linewidth=1.4, label=broken(name, 46))  # fmt: skip
        first_test = [day for day, band in zip(days, cohorts.bands, strict=True) if band.band in test_days][:1]
        for day in first_test:
            axes.axvline(day, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("mean absolute\ncontribution, log-odds")
        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)
        source = vector(figure)
    return Image(
        source, f"Lines of the importance of {len(shown)} features at {len(days)} snapshots. {furthest(cohorts)}",
        f"How much the strongest features move predictions at each snapshot; from the dashed line on it is the test. "
        f"{furthest(cohorts)} {cohorts.note}",
    )  # fmt: skip


def stability_image(stable: Stability) -> Image:
    """Agreement of each refit's strongest features with the model's own, by snapshot."""
    matrix = np.array([item.agreement for item in stable.refits])
    numbers = len(stable.snapshots) <= 14
    with canvas(6.4, 0.22 * len(matrix) + 0.9) as figure:
        axes = figure.add_subplot()
        axes.imshow(matrix, cmap=_PALER, vmin=0, vmax=1, aspect="auto")
        for row, column in np.ndindex(*matrix.shape) if numbers else ():
            value = matrix[row, column]
            axes.text(column, row, f"{value:.2f}".removeprefix("0"), ha="center", va="center", fontsize=7.5,
                      color="white" if value > 0.75 else "#1c2733")  # fmt: skip
        step = max(1, len(stable.snapshots) // 14)
        places = range(0, len(stable.snapshots), step)
        axes.set_xticks(
            list(places), [stable.snapshots[at][2:] for at in places], rotation=40, ha="right", fontsize=7.5
        )
        axes.set_yticks(range(len(matrix)), [item.name for item in stable.refits], fontsize=7.5)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        source = vector(figure)
    low, high, mean = float(matrix.min()), float(matrix.max()), float(matrix.mean())
    return Image(
        source,
        f"Matrix of {matrix.shape[0]} refits by {matrix.shape[1]} snapshots: Jaccard from {low:.2f} to {high:.2f}.",
        f"Each cell compares the top {stable.top} features of a refit at one snapshot with the model's own on the "
        f"newest: the share of features in either that is in both (Jaccard; 1: the same, dark). The mean is "
        f"{mean:.2f}, the lowest {low:.2f}. Pale rows show reasons that hang on the fit; pale columns, on the time.",
    )  # fmt: skip
