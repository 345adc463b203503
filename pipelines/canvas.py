"""What all plots share: the style, and a picture that stands in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

INK, SOFT, PALE, BLUE, RUST = "#1c2733", "#8a97a6", "#cfdce7", "#1f5f8b", "#b4532a"
# Colours of lines beside each other, that differ in lightness too, for print without colour.
LINES = (BLUE, RUST, "#6b8f3c", "#7a5aa0", "#c79a2b", "#4b5866", "#2aa198")
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
def canvas(width: float, height: float) -> Iterator[Figure]:
    """A figure of inches in the report's style; it needs no screen and no global state of pyplot."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height))


def broken(name: str, width: int = 34) -> str:
    """A long feature name in lines of about `width` characters, broken after underscores."""
    lines = [""]
    for part in name.replace("_", "_ ").split():
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def vector(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def pixels(figure: Figure) -> str:
    """For thousands of points, where a vector image would be large."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=170, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
