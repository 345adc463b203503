"""The report's figures: images that stand in the page itself, each with a text for readers who cannot see it."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import matplotlib
import numpy as np
import shap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from pipelines.explain.contributions import Array, Explained, Importance
from pipelines.explain.wording import number

INK, SOFT, BLUE, RUST = "#1c2733", "#8a97a6", "#1f5f8b", "#b4532a"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": SOFT,
    "axes.spines.top": False, "axes.spines.right": False, "xtick.color": INK, "ytick.color": INK, "axes.linewidth": 0.8,
    "svg.hashsalt": "customer-twin", "svg.fonttype": "path", "figure.facecolor": "white",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Image:
    """A picture as a `data:` address, what it shows in words (`alt`), and how to read it (`caption`)."""

    source: str
    alt: str
    caption: str


@contextmanager
def _canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of inches in the report's style; it needs no screen and no global state of pyplot."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height))


def _vector(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def _pixels(figure: Figure) -> str:
    """For thousands of points, where a vector image would be large."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=170, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def snapshots_image(snapshots: Sequence[dict[str, Any]]) -> Image:
    """Customers and rate of positives at each as-of instant."""
    days = [datetime.fromisoformat(item["day"]) for item in snapshots]
    rates = [100 * item["rate"] for item in snapshots]
    steps = [(later - earlier).days or 1 for earlier, later in itertools.pairwise(days)]
    width = 0.55 * min(steps, default=9)
    with _canvas(7.4, 2.7) as figure:
        counts, rate = figure.subplots(1, 2)
        for part, colour in (("train", BLUE), ("test", RUST)):
            at = [i for i, item in enumerate(snapshots) if item["part"] == part]
            when = [days[i] for i in at]
            counts.bar(when, [snapshots[i]["customers"] for i in at], width=width, color=colour, label=part)
            rate.plot(when, [rates[i] for i in at], "o", color=colour, label=part)
        rate.plot(days, rates, color=SOFT, linewidth=0.9, zorder=0)
        counts.set_ylabel("customers")
        rate.set_ylabel("positives, %")
        rate.set_ylim(0, min(105, 1.25 * max(rates) + 1))
        for axes in (counts, rate):
            locator = AutoDateLocator(maxticks=5)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        rate.legend(frameon=False, loc="lower right")
        figure.tight_layout(w_pad=3)
        source = _vector(figure)
    sizes = [item["customers"] for item in snapshots]
    alt = (
        f"Two charts over {len(snapshots)} as-of days: customers a day, from {min(sizes):,} to {max(sizes):,}, "
        f"and the rate of positives, from {min(rates):.0f} % to {max(rates):.0f} %."
    )
    caption = (
        "Customers who could be labelled (left) and the share of them with label 1 (right) at each as-of day. "
        "A rate that drifts is a reason to calibrate again. The newest day or days are the test."
    )
    return Image(source, alt, caption)


def calibration_image(curve: Sequence[dict[str, Any]], error: float, floor: float) -> Image:
    """Observed against predicted rate by bin, with the band that exact probabilities would fall into."""
    predicted = [item["mean_probability"] for item in curve]
    observed = [item["positive_rate"] for item in curve]
    inside = sum(item["low"] <= item["positive_rate"] <= item["high"] for item in curve)
    with _canvas(4.6, 4.0) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="exact")
        spread = np.array([[p - item["low"], item["high"] - p] for p, item in zip(predicted, curve, strict=True)]).T
        axes.errorbar(predicted, predicted, yerr=np.maximum(spread, 0), fmt="none", ecolor="#cfdce7", elinewidth=7,
                      label="noise: 95 % of exact probabilities")  # fmt: skip
        line: dict[str, Any] = {"color": BLUE, "markersize": 4.5, "linewidth": 1.2, "clip_on": False}
        axes.plot(predicted, observed, "o-", label="this model", **line)
        top = min(1.0, 1.1 * max(*predicted, *observed, 0.05))
        low = max(0.0, min(*predicted, *observed) - 0.05)
        axes.set(xlim=(low, top), ylim=(low, top), xlabel="mean predicted probability", ylabel="share with label 1")
        axes.legend(frameon=False, loc="lower right")
        source = _vector(figure)
    alt = (
        f"Calibration curve in {len(curve)} bins from a predicted {predicted[0]:.2f} (observed {observed[0]:.2f}) "
        f"to {predicted[-1]:.2f} (observed {observed[-1]:.2f})."
    )
    rows = np.array([item["rows"] for item in curve])
    said, came = (100 * float(np.average(side, weights=rows)) for side in (predicted, observed))
    caption = (
        f"On average the model said {said:.1f} %, and {came:.1f} % had label 1. "
        f"Each point holds about a {_one_in(len(curve))} of the test rows. Bars show where the points of exactly right "
        f"probabilities would fall 95 times in 100; {inside} of {len(curve)} points lie within. Mean distance from the "
        f"dashed line (ECE) is {error:.3f}; exact probabilities would show {floor:.3f} by chance alone."
    )
    return Image(source, alt, caption)


def _one_in(count: int) -> str:
    return {10: "tenth", 5: "fifth", 4: "quarter", 3: "third", 2: "half"}.get(count, f"1/{count} part")


def beeswarm_image(explained: Explained, most: int = 15, seed: int = 0) -> Image:
    """Every explained row as one point a feature, for the features that matter most."""
    shown = min(most, len(explained.names))
    with _canvas(7.4, 0.32 * shown + 1.2) as figure:
        axes = figure.add_subplot()
        explanation = shap.Explanation(
            explained.contributions, np.full(len(explained.scores), explained.base), explained.values,
            feature_names=list(explained.names),
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
        axes.tick_params(labelsize=8)
        for other in figure.axes[1:]:  # the colour bar
            other.tick_params(labelsize=8)
            other.yaxis.label.set_fontsize(8)
        source = _pixels(figure)
    order = np.argsort(-np.abs(explained.contributions).mean(axis=0), kind="stable")[:3]
    leading = ", ".join(explained.names[at] for at in order)
    rows = len(explained.scores)
    alt = f"Beeswarm of the contributions of {shown} features over {rows:,} rows; the widest are {leading}."
    caption = (
        "Each point is one customer at one as-of day. Right of the line the feature raised that customer's "
        "probability, left of it lowered it; colour is the value of the feature, from low (blue) to high (red), "
        "grey where it is empty. Features stand in order of their mean absolute contribution."
    )
    return Image(source, alt, caption)


def dependence_image(explained: Explained, importance: Importance) -> Image:
    """Contribution against value of one feature; rows where it is empty stand in a strip on the left."""
    at = explained.names.index(importance.feature)
    values, parts = explained.values[:, at], explained.contributions[:, at]
    known = np.isfinite(values)
    with _canvas(3.7, 2.7) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        axes.plot(values[known], parts[known], "o", color=BLUE, markersize=2.6, alpha=0.35, markeredgewidth=0)
        if _long_tail(values[known]):
            axes.set_xscale("symlog", linthresh=max(1.0, float(np.quantile(values[known], 0.25))))
            axes.xaxis.set_major_formatter(FuncFormatter(_compact))
        if not known.all():
            _empty_strip(figure, axes, parts[~known])
        axes.set_xlabel(importance.feature, fontsize=7.5)
        axes.set_ylabel("contribution, log-odds", fontsize=8)
        axes.tick_params(labelsize=7.5)
        source = _pixels(figure)
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
