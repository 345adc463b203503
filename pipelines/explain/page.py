"""The report as one HTML page: everything it shows stands inside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.explain.wording import number

TEMPLATE = "report.html.jinja"


def render(content: Mapping[str, Any]) -> str:
    """The page. Every text is escaped; a value the template names and `content` lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.globals.update(number=number, percent=percent, points=points)
    return environment.get_template(TEMPLATE).render(content)


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{number(100 * value, digits)} %"


def points(value: float) -> str:
    """A change in probability as signed percentage points."""
    return f"{number(100 * value, 1, True)} points"
