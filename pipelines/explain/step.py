"""Write the report of a model: `report.html` for people, `report.json` for its figures, `model_card.md`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from pipelines.artefacts import MODEL_CARD, REPORT, REPORT_FIGURES, write_json
from pipelines.console import progress
from pipelines.explain.content import page_content
from pipelines.explain.figures import SECTIONS, Clock, compute
from pipelines.explain.material import load_material
from pipelines.explain.page import CARD, PAGE, render
from pipelines.explain.wording import number
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig

ROWS = 2000


@dataclass(frozen=True, slots=True)
class ExplainSummary:
    """Where the report is, and what it rests on. `gap` is the worst miss of additivity in log-odds.

    `stability` are mean Jaccard values of the strongest features over seeds, folds and time; empty where not made.
    `section_seconds` says what took how long.
    """

    model: str
    report: str
    figures: str
    card: str
    rows: int
    features: int
    top_features: tuple[str, ...]
    gap: float
    seconds: float
    stability: dict[str, float | None] = field(default_factory=dict)
    section_seconds: dict[str, float] = field(default_factory=dict)

    def text(self) -> str:
        """The summary for a person."""
        agreement = ", ".join(f"{number(value, 2)} over {name}" for name, value in self.stability.items())
        return "\n".join(
            [
                f"Report of {self.model}: {self.rows:,} rows × {self.features} features in {self.seconds:.1f} s",
                f"  strongest: {', '.join(self.top_features[:5])}",
                f"  the strongest features agree (Jaccard): {agreement or 'not looked at, as there is no tuning'}",
                f"  {self.report}",
                f"  {self.card}",
            ]
        )


def explain(
    settings: Settings, model_config: ModelConfig, meanings: Mapping[str, str] | None = None, rows: int = ROWS
) -> ExplainSummary:
    """Explain the trained model on its test part.

    Args:
        settings: whose workspace holds the artefacts.
        model_config: which model, and what its label is.
        meanings: words for a feature's name.
        rows: how many test rows, drawn at random with a fixed seed, stand behind the global figures.

    Raises:
        UserError: the dataset, the model or the evaluation is missing, or they do not belong together.
        AdditivityError: contributions do not sum to the score; nothing is written then.
    """
    began = time.monotonic()
    folder = settings.workspace.artefacts(model_config.name)
    material = load_material(folder, settings.workspace.name, model_config, dict(meanings or {}))
    with progress("explain (sections)", total=SECTIONS + 1) as advance:
        clock = Clock(advance)
        figures, drawn = compute(material, rows, clock)
        content = clock("page", lambda: page_content(material, figures, drawn, *_made_by()))
        page, card = render(PAGE, content), render(CARD, content)
    write_json(folder / REPORT_FIGURES, figures)
    _write_text(folder / MODEL_CARD, card)
    _write_text(folder / REPORT, page)
    stable = drawn.stability
    return ExplainSummary(
        model_config.name, str(folder / REPORT), str(folder / REPORT_FIGURES), str(folder / MODEL_CARD),
        figures["rows_explained"], len(drawn.ranked), tuple(item.feature for item in drawn.ranked[:10]),
        figures["worst_additivity_gap"], round(time.monotonic() - began, 2),
        {"seeds": stable.seeds, "folds": stable.folds, "snapshots": stable.time} if stable else {}, clock.seconds,
    )  # fmt: skip


def _made_by() -> tuple[date, str | None]:
    """Today in UTC, and the commit of the code."""
    from pipelines.tracking import git_commit  # loads MLflow

    return datetime.now(UTC).date(), git_commit()


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
