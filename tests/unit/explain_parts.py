"""What tests of the reviewer's page share: workspaces up to the evaluation, and how to read a page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipelines.artefacts import EVALUATION, Dataset, read_json, write_json
from pipelines.evaluate import evaluate
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig
from tests.reference import churn_artefacts

COUNT, VIEWS = "order_completed_count_lifetime", "page_viewed_count_30d"


def config_of(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate({**churn_artefacts.config().model_dump(mode="json"), **changes})


def evaluated(
    folder: Path, data: Dataset, config: ModelConfig | None = None, evaluation: dict[str, Any] | None = None
) -> tuple[Settings, Path]:
    """A workspace with everything up to the evaluation, to which figures are added."""
    settings = churn_artefacts.settings(folder)
    place = settings.workspace.artefacts("churn")
    churn_artefacts.save_all(place, data)
    evaluate(settings, config or churn_artefacts.config())
    if evaluation is not None:
        write_json(place / EVALUATION, {**read_json(place / EVALUATION), **evaluation})
    return settings, place


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))


def section(text: str, name: str) -> str:
    return plain(text.partition(f'<section id="{name}">')[2].partition("</section>")[0])
