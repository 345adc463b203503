"""Pictures of the report on actions. What they show stands in the report's figures too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import shap
from numpy.typing import NDArray

from pipelines.canvas import BLUE, LINES, PALE, RUST, SOFT, Image, broken, canvas, pixels, vector
from pipelines.next_best_action.report_reasons import ActionReasons

Array = NDArray[np.float64]
# (x, value, low, high) of one line, x ascending.
Band = Sequence[tuple[float, float, float, float]]


def values_image(rows: Sequence[tuple[str, float, float, float]], chosen: str, unit: str) -> Image:
    """Values of policies with their intervals, the best on top; `chosen` is told apart."""
    ordered = sorted(rows, key=lambda row: row[1])
    with canvas(7.0, 0.34 * len(ordered) + 0.9) as figure:
        axes = figure.add_subplot()
        for at, (name, value, low, high) in enumerate(ordered):
            colour = RUST if name == chosen else BLUE
            axes.plot([low, high], [at, at], color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="butt")
            axes.plot([value], [at], "o", color=colour, markersize=5)
        axes.set_yticks(range(len(ordered)), [row[0] for row in ordered], fontsize=8)
        axes.set_xlabel(f"value of a decision, {unit}")
        axes.grid(axis="x", color=PALE, linewidth=0.6)
        source = vector(figure)
    best = ordered[-1]
    alt = f"Values of {len(ordered)} policies with 95 % intervals; the highest is {best[0]} with {best[1]:.4g}."
    return Image(source, alt, f"Value of each policy with its 95 % interval; {chosen} is in the other colour.")


def curves_image(lines: Mapping[str, Band], across: str, upwards: str, title: str) -> Image:
    """Lines with bands of 95 %, in the order given."""
    with canvas(6.6, 3.5) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        for (name, band), colour in zip(lines.items(), _colours(len(lines)), strict=True):
            x, value, low, high = np.array(band, dtype=np.float64).reshape(-1, 4).T
            axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(x, value, color=colour, linewidth=1.6, label=name)
        axes.set(xlabel=across, ylabel=upwards)
        axes.legend(frameon=False, fontsize=8)
        source = vector(figure)
    ends = "; ".join(f"{name} ends at {band[-1][1]:.4g}" for name, band in lines.items() if band)
    return Image(source, f"{title}: {ends}.", f"{title}. Bands are 95 % intervals.")


def plain_curves_image(lines: Mapping[str, Sequence[tuple[float, float]]], across: str, upwards: str,
                       title: str) -> Image:  # fmt: skip
    """Lines without bands."""
    with canvas(6.6, 3.3) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        for (name, points), colour in zip(lines.items(), _colours(len(lines)), strict=True):
            x, value = np.array(points, dtype=np.float64).reshape(-1, 2).T
            axes.plot(x, value, color=colour, linewidth=1.6, label=name)
        axes.set(xlabel=across, ylabel=upwards)
        axes.legend(frameon=False, fontsize=8)
        source = vector(figure)
    return Image(source, f"{title}, {len(lines)} lines.", title + ".")


def beeswarm_image(reasons: ActionReasons, columns: Array, names: tuple[str, ...], unit: str, most: int = 12,
                   seed: int = 0) -> Image:  # fmt: skip
    """Every explained row as one point an input, for the inputs that move the effect most."""
    shown = min(most, len(names))
    with canvas(7.2, 0.32 * shown + 1.2) as figure:
        axes = figure.add_subplot()
        effect = reasons.effect
        explanation = shap.Explanation(
            effect.contributions, np.full(len(effect.scores), effect.base), columns,
            feature_names=[broken(name, 44) for name in names],
        )  # fmt: skip
        state = np.random.get_state()  # shap shuffles with the global generator
        np.random.seed(seed)
        try:
            shap.plots.beeswarm(
                explanation, max_display=shown, ax=axes, plot_size=None, show=False, s=9,
                group_remaining_features=False, color_bar_label="value of the input",
            )  # fmt: skip
        finally:
            np.random.set_state(state)
        axes.set_xlabel(f"contribution to the effect, {unit}", fontsize=9)
        axes.tick_params(labelsize=7)
        for other in figure.axes[1:]:
            other.tick_params(labelsize=8)
            other.yaxis.label.set_fontsize(8)
        source = pixels(figure)
    leading = ", ".join(item.feature for item in reasons.inputs[:3])
    alt = f"Beeswarm of contributions to the effect of {reasons.action}; the widest are {leading}."
    caption = (
        f"Each point is one customer at one decision: right of the line the input raised the expected effect of "
        f"{reasons.action}, left of it lowered it. Colour is the input's value, from low (blue) to high (red)."
    )
    return Image(source, alt, caption)


def both_image(reasons: ActionReasons, unit: str, most: int = 12) -> Image:
    """Mean absolute contributions of the leading inputs to the effect, and to the response, on scales of their own."""
    items = reasons.inputs[:most][::-1]
    with canvas(7.2, 0.3 * len(items) + 1.0) as figure:
        left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08})
        places = range(len(items))
        left.barh(places, [item.effect for item in items], color=RUST, height=0.62)
        right.barh(places, [item.response for item in items], color=BLUE, height=0.62)
        left.set_yticks(places, [broken(item.feature, 40) for item in items], fontsize=7)
        left.set_title("who is changed (effect)", fontsize=9, loc="left")
        right.set_title("who buys (response)", fontsize=9, loc="left")
        for axes in (left, right):
            axes.set_xlabel(f"mean |contribution|, {unit}", fontsize=8)
            axes.tick_params(axis="x", labelsize=7)
        source = vector(figure)
    alt = f"Bars of the inputs that move the effect of {reasons.action}, and of the same inputs for the response."
    return Image(source, alt, "The inputs that move the effect most, and what the same inputs do to the response.")


def _colours(count: int) -> list[str]:
    return [LINES[at % len(LINES)] for at in range(count)]
