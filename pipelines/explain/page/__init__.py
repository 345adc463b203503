"""The report as one HTML page, everything it shows inside it, and the model card beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from feature_repo.reasons import format_value
from pipelines.explain.when import span_words
from pipelines.explain.wording import number, true_minus

PAGE, CARD = "report.html.jinja", "model_card.md.jinja"


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page or the card. A value the template names and `content` lacks is an error; in a page all is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(("html.jinja",)),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(
        number=number,
        percent=percent,
        points=points,
        count=count,
        value=shown_value,
        interval=interval,
        heading=heading,
        spanned=span_words,
    )
    environment.filters.update(breakable=breakable, true_minus=true_minus)
    return environment.get_template(template).render(content)


def breakable(name: str) -> Markup:
    """A long feature name that may be broken after its underscores."""
    return Markup(str(escape(name)).replace("_", "_<wbr>"))  # noqa: S704 - escaped before


def heading(text: str) -> str:
    """The text with a capital first letter, and what is always written in capitals."""
    text = text.replace("bg nbd", "BG/NBD").replace("rfm", "RFM")
    return text[:1].upper() + text[1:]


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{number(100 * value, digits)} %"


def points(value: float) -> str:
    """A change in probability as signed percentage points."""
    return f"{number(100 * value, 1, True)} points"


def count(value: int) -> str:
    """A number of things, with commas."""
    return f"{value:,}"


def shown_value(value: float | None) -> str:
    """A feature's value; None is empty."""
    return format_value(float("nan") if value is None else value)


def interval(item: Mapping[str, Any] | None, digits: int = 3, signed: bool = False) -> str:
    """`0.532 [0.520, 0.545]`, or a dash where there is none."""
    if item is None or item["estimate"] is None:
        return "–"
    estimate, low, high = (number(item[key], digits, signed) for key in ("estimate", "low", "high"))
    return f"{estimate} [{low}, {high}]"
