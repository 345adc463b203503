"""The page of the report on actions: sections of sentences, tables, pictures and examples, as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.canvas import Image

TEMPLATE = "report.html.jinja"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text; the row whose first cell is `own` is told apart."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    own: str | None = None


@dataclass(frozen=True, slots=True)
class ShownExample:
    """One row with the sentences that explain it."""

    title: str
    text: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page, in the order of its fields."""

    title: str
    verdict: Sequence[str] = ()
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    images: Sequence[Image] = ()
    examples: Sequence[ShownExample] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Banner:
    """What has to be known before anything else; `alarm` where it forbids to act on the rest."""

    word: str
    text: str
    alarm: bool


def render(title: str, description: str, banner: Banner, sections: Sequence[Section]) -> str:
    """The page. Every text is escaped; a value that the template names and nobody gives is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    content = {"title": title, "description": description, "banner": banner, "sections": sections}
    return environment.get_template(TEMPLATE).render(content)
