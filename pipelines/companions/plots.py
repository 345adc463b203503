"""Pictures of an evaluation, as PNG inside a `data:` address. Matplotlib without a screen."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK, _BLUE, _RUST, _SOFT = "#1c2733", "#1f5f8b", "#b4532a", "#9aa7b5"
_COLOURS = {"lightgbm": _BLUE, "bg_nbd": _RUST, "bg_nbd_gamma_gamma_scaled": _RUST}


def deciles_picture(curves: Mapping[str, Sequence[Mapping[str, float]]], titles: Mapping[str, str]) -> str:
    """Mean predicted against mean actual value of tenths of the test rows, money in whole units, both logarithmic."""
    figure, axes = _new(1)
    ends = [point[key] / 100 for points in curves.values() for point in points for key in ("predicted", "actual")]
    low, high = max(min(ends), max(ends) / 1e4, 1e-2), max(*ends, 1.0)
    axes[0].plot([low, high], [low, high], color=_SOFT, linewidth=1)
    for name, points in curves.items():
        axes[0].errorbar(
            [point["predicted"] / 100 for point in points], [max(point["actual"] / 100, low) for point in points],
            yerr=[point["error"] / 100 for point in points], fmt="o", markersize=4, color=_COLOURS[name],
            linewidth=1, label=titles[name],
        )  # fmt: skip
    axes[0].set(xscale="log", yscale="log", xlabel="mean predicted value", ylabel="mean actual value")
    axes[0].set_ylim(low / 2, high * 2)
    axes[0].legend(frameon=False, fontsize=8)
    return _image(figure)


def calibration_picture(calibrations: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str]) -> str:
    """Chances of an event by each deadline against how often it came, tenths of the test rows."""
    figure, axes = _new(len(calibrations["lightgbm"]))
    for at, (place, own) in enumerate(zip(axes, calibrations["lightgbm"], strict=True)):
        place.plot([0, 1], [0, 1], color=_SOFT, linewidth=1)
        tenths = own["tenths"]
        place.fill_between(
            [t["predicted"] for t in tenths], [t["low"] for t in tenths], [t["high"] for t in tenths],
            color=_BLUE, alpha=0.15, linewidth=0,
        )  # fmt: skip
        for name in ("bg_nbd", "lightgbm"):
            points = calibrations[name][at]["tenths"]
            place.plot(
                [t["predicted"] for t in points], [t["happened"] for t in points], "o-", markersize=3, linewidth=1,
                color=_COLOURS[name], label=titles[name],
            )  # fmt: skip
        place.set(title=f"by {own['days']:g} days", xlabel="predicted", xlim=(0, 1), ylim=(0, 1))
    axes[0].set_ylabel("came")
    axes[0].legend(frameon=False, fontsize=8)
    return _image(figure)


def integral_picture(histograms: Mapping[str, Sequence[float]], titles: Mapping[str, str], rows: int) -> str:
    """Shares of test rows in tenths of the probability integral: level where distributions are right."""
    figure, axes = _new(1)
    noise = 1.96 * (0.09 / rows) ** 0.5
    axes[0].axhspan(0.1 - noise, 0.1 + noise, color=_SOFT, alpha=0.25, linewidth=0)
    for name in ("bg_nbd", "lightgbm"):
        axes[0].step(
            [at / 10 for at in range(11)], [histograms[name][0], *histograms[name]], where="pre",
            color=_COLOURS[name], label=titles[name],
        )  # fmt: skip
    axes[0].set(xlabel="probability integral", ylabel="share of rows", ylim=(0, None), xlim=(0, 1))
    axes[0].legend(frameon=False, fontsize=8)
    return _image(figure)


def _new(count: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(max(4.6, 2.5 * count), 3.4 if count == 1 else 2.8), layout="constrained")
    axes = [figure.add_subplot(1, count, at + 1) for at in range(count)]
    for place in axes:
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8, colors=_INK)
    return figure, axes


def _image(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=144, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
