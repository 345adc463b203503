"""Plots of how good a model is: rows and rates by snapshot, calibration, profit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

from pipelines.canvas import BLUE, LINES, PALE, RUST, SOFT, Image, canvas, vector
from pipelines.explain.wording import number


def snapshots_image(snapshots: Sequence[dict[str, Any]], when: Mapping[str, Any]) -> Image:
    """Rows and rate of positives of each snapshot; `when` says what rows and snapshots are called."""
    days = [datetime.fromisoformat(item["day"]) for item in snapshots]
    rates = [100 * item["rate"] for item in snapshots]
    steps = [(later - earlier).days or 1 for earlier, later in itertools.pairwise(days)]
    width = 0.55 * min(steps, default=9)
    with canvas(7.4, 2.7) as figure:
        counts, rate = figure.subplots(1, 2)
        for part, colour in (("train", BLUE), ("test", RUST)):
            at = [i for i, item in enumerate(snapshots) if item["part"] == part]
            places = [days[i] for i in at]
            counts.bar(places, [snapshots[i]["customers"] for i in at], width=width, color=colour, label=part)
            rate.plot(places, [rates[i] for i in at], "o", color=colour, label=part)
        rate.plot(days, rates, color=SOFT, linewidth=0.9, zorder=0)
        counts.set_ylabel(when["counted"])
        rate.set_ylabel("positives, %")
        rate.set_ylim(0, min(105, 1.25 * max(rates) + 1))
        for axes in (counts, rate):
            locator = AutoDateLocator(maxticks=5)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        rate.legend(frameon=False, loc="lower right")
        figure.tight_layout(w_pad=3)
        source = vector(figure)
    sizes = [item["customers"] for item in snapshots]
    alt = (
        f"Two charts over {len(snapshots)} {when['snapshots']}: {when['counted']}, from {min(sizes):,} to "
        f"{max(sizes):,}, and the rate of positives, from {min(rates):.0f} % to {max(rates):.0f} %."
    )
    caption = (
        f"The {when['counted']} with a label (left) and the share of them with label 1 (right) {when['within']} "
        f"{len(snapshots)} {when['snapshots']}. A rate that drifts is a reason to calibrate again. The newest are "
        "the test."
    )
    return Image(source, alt, caption)


def calibration_image(curve: Sequence[dict[str, Any]], error: float, floor: float) -> Image:
    """Observed against predicted rate by bin, with the band that exact probabilities would fall into."""
    predicted = [item["mean_probability"] for item in curve]
    observed = [item["positive_rate"] for item in curve]
    inside = sum(item["low"] <= item["positive_rate"] <= item["high"] for item in curve)
    with canvas(4.6, 4.0) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), label="exact")
        spread = np.array([[p - item["low"], item["high"] - p] for p, item in zip(predicted, curve, strict=True)]).T
        axes.errorbar(predicted, predicted, yerr=np.maximum(spread, 0), fmt="none", ecolor=PALE, elinewidth=7,
                      label="noise: 95 % of exact probabilities")  # fmt: skip
        line: dict[str, Any] = {"color": BLUE, "markersize": 4.5, "linewidth": 1.2, "clip_on": False}
        axes.plot(predicted, observed, "o-", label="this model", **line)
        top = min(1.0, 1.1 * max(*predicted, *observed, 0.05))
        low = max(0.0, min(*predicted, *observed) - 0.05)
        axes.set(xlim=(low, top), ylim=(low, top), xlabel="mean predicted probability", ylabel="share with label 1")
        axes.legend(frameon=False, loc="lower right")
        source = vector(figure)
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


def profit_image(profit: Mapping[str, Any], names: Mapping[str, str], own: str) -> Image:
    """Profit of acting on the likeliest share of rows, by share, of every model."""
    shares = [100 * item["share"] for item in profit["curve"]]
    models = list(profit["curve"][0]["profit"])
    best = next(item for item in profit["models"] if item["name"] == own)
    with canvas(7.0, 3.3) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=SOFT, linewidth=0.8)
        for name, colour in zip([own, *(name for name in models if name != own)], itertools.cycle(LINES), strict=False):
            width = 2.0 if name == own else 1.1
            values = [item["profit"].get(name) for item in profit["curve"]]
            axes.plot(shares, values, color=colour, linewidth=width, label=names.get(name, name),
                      zorder=3 if name == own else 2)  # fmt: skip
        if best.get("share") is not None:
            axes.axvline(100 * best["share"], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set(xlabel="acted on, % of rows, likeliest first", ylabel="profit a row")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        source = vector(figure)
    ends = [profit["curve"][at]["profit"].get(own) for at in (0, -1)]
    alt = (
        f"Profit curves of {len(models)} models over the share acted on; that of {names.get(own, own)} goes from "
        f"{number(ends[0], 2)} to {number(ends[1], 2)} a row."
    )
    caption = (
        "What a row brings on average if one acts on the share of rows with the highest probabilities, by the costs "
        "below. A curve that stays above another is worth more at every share."
    )
    if best.get("share") is not None:
        caption += f" The dashed line is the share that {names.get(own, own)}'s threshold acts on."
    return Image(source, alt, caption)


def per_snapshot_image(per_snapshot: Sequence[Mapping[str, Any]], names: Mapping[str, str], own: str) -> Image:
    """Log-loss of every model at each test snapshot."""
    days: Any = [datetime.fromisoformat(item["day"]) for item in per_snapshot]
    scores: Any = [{model["name"]: model["log_loss"] for model in item["models"]} for item in per_snapshot]
    models = [own, *(name for name in scores[0] if name != own)]
    with canvas(7.0, 3.0) as figure:
        axes = figure.add_subplot()
        for name, colour in zip(models, itertools.cycle(LINES), strict=False):
            axes.plot(days, [item.get(name) for item in scores], "o-", color=colour, markersize=4,
                      linewidth=2.0 if name == own else 1.1, label=names.get(name, name))  # fmt: skip
        axes.set_ylabel("log-loss, nats")
        locator = AutoDateLocator(maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        source = vector(figure)
    losses = [item[own] for item in scores]
    said = f"from {number(min(losses))} to {number(max(losses))}"
    return Image(
        source, f"Log-loss of {len(models)} models at {len(days)} test snapshots; the tuned model's goes {said}.",
        f"Log-loss of every model at each test snapshot (lower is better); the tuned model's goes {said}. Lines that "
        "rise together show harder customers; one that rises alone shows a model that ages.",
    )  # fmt: skip
