"""Plots of contributions: over all rows, and against the value of one feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import shap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipelines.canvas import BLUE, RUST, SOFT, Image, broken, canvas, pixels
from pipelines.explain.contributions import Array, Explained, Importance
from pipelines.explain.wording import number


def beeswarm_image(explained: Explained, row: str, most: int = 15, seed: int = 0) -> Image:
    """Every explained row as one point a feature, for the features that matter most; `row` says what a row is."""
    shown = min(most, len(explained.names))
    with canvas(7.4, 0.32 * shown + 1.2) as figure:
        axes = figure.add_subplot()
        explanation = shap.Explanation(
            explained.contributions, np.full(len(explained.scores), explained.base), explained.values,
            feature_names=[broken(name, 44) for name in explained.names],
        )  # fmt: skip
        state = np.random.get_state()  # shap shuffles with the global generator
        np.random.seed(seed)
        try:
            shap.plots.beeswarm(
                explanation, max_display=shown, ax=axes, plot_size=None, show=False, s=9,
                group_remaining_features=False, color_bar_label="value of the feature",
            )  # fmt: skip
        finally:
            np.random.set_state(state)
        axes.set_xlabel("contribution to the log-odds", fontsize=9)
        axes.tick_params(labelsize=7)
        for other in figure.axes[1:]:  # the colour bar
            other.tick_params(labelsize=8)
            other.yaxis.label.set_fontsize(8)
        source = pixels(figure)
    order = np.argsort(-np.abs(explained.contributions).mean(axis=0), kind="stable")[:3]
    leading = ", ".join(explained.names[at] for at in order)
    rows = len(explained.scores)
    alt = f"Beeswarm of the contributions of {shown} features over {rows:,} rows; the widest are {leading}."
    caption = (
        f"Each point is one {row}. Right of the line the feature raised the probability, "
        " left of it lowered it; colour is the value of the feature, from low (blue) to high (red), "
        "grey where it is empty. Features stand in order of their mean absolute contribution."
    )
    return Image(source, alt, caption)


def dependence_image(explained: Explained, importance: Importance) -> Image:
    """Contribution against value of one feature; rows where it is empty stand in a strip on the left."""
    at = explained.names.index(importance.feature)
    values, parts = explained.values[:, at], explained.contributions[:, at]
    known = np.isfinite(values)
    with canvas(3.7, 2.7) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.plot(values[known], parts[known], "o", color=BLUE, markersize=2.6, alpha=0.35, markeredgewidth=0)
        if _long_tail(values[known]):
            axes.set_xscale("symlog", linthresh=max(1.0, float(np.quantile(values[known], 0.25))))
            axes.xaxis.set_major_formatter(FuncFormatter(_compact))
        if not known.all():
            _empty_strip(figure, axes, parts[~known])
        axes.set_xlabel(broken(importance.feature, 44), fontsize=7.5)
        axes.set_ylabel("contribution, log-odds", fontsize=8)
        axes.tick_params(labelsize=7.5)
        source = pixels(figure)
    said = _dependence_words(importance, parts, known)
    return Image(source, f"Scatter plot of {importance.feature} against its contribution. {said}", said)


def _long_tail(values: Array) -> bool:
    if len(values) == 0 or values.min() < 0:
        return False
    return bool(values.max() > 20 * max(float(np.median(values)), 1.0))


def _compact(value: float, _: int | None = None) -> str:
    """A tick such as 0, 100, 10k or 1M."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:g}"


def _empty_strip(figure: Figure, axes: Any, parts: Array) -> None:
    """Points of rows without a value, in a narrow area left of the axis, spread evenly across it."""
    strip = axes.inset_axes((-0.13, 0, 0.09, 1), sharey=axes)
    across = (np.arange(len(parts)) * 0.6180339887) % 1.0
    strip.plot(across, parts, "o", color=RUST, markersize=2.6, alpha=0.35, markeredgewidth=0)
    strip.axhline(0, color=SOFT, linewidth=0.8)
    strip.set(xlim=(-0.2, 1.2), xticks=[0.5], xticklabels=["empty"])
    strip.tick_params(labelsize=7.5)
    axes.tick_params(labelleft=False, left=False)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_label_coords(-0.32, 0.5)


def _dependence_words(importance: Importance, parts: Array, known: Any) -> str:
    words = [f"{importance.meaning[:1].upper()}{importance.meaning[1:]}."]
    direction = importance.direction
    if direction is None:
        words.append("Its value does not vary among these rows.")
    elif abs(direction) < 0.3:
        words.append(f"No one direction (rank correlation {number(direction, 2, True)}).")
    else:
        change = "raise" if direction > 0 else "lower"
        words.append(f"Higher values mostly {change} the probability (rank correlation {number(direction, 2, True)}).")
    if not known.all():
        mean = number(float(parts[~known].mean()), 2, True)
        words.append(
            f"Empty in {100 * importance.empty:.0f} % of rows, whose contribution is {mean} on average "
            "(strip on the left)."
        )
    return " ".join(words)
