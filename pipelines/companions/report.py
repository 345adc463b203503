"""The report of a companion: `report.html` for people, complete in itself, and `report.json` with its figures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from feature_repo.configuration import Problem
from pipelines.artefacts import (
    EVALUATION,
    REPORT,
    REPORT_FIGURES,
    TRAINING,
    Dataset,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.companions import plots
from pipelines.companions.contributions import SCALES, Mover, movers
from pipelines.companions.results import CompanionEvaluation, evaluation_from_json, gain_table, model_table
from pipelines.companions.storage import load_model, model_hash
from pipelines.console import UserError, progress
from pipelines.settings import Settings
from pipelines.settings.models import CompanionConfig

TEMPLATE = "report.html.jinja"
_LIMITS = (
    "A prediction says what to expect if things go on as they did; it does not say what an action would change.",
    "The log is all that is known: a first purchase in it is taken for the first ever, and what was bought elsewhere "
    "is not seen.",
    "Seasons longer than the history cannot be learned, and shift totals of all customers alike.",
)
_LIMITS_OF = {
    "value": (
        "The interval keeps its level over all customers, not for each kind of customer apart.",
        "Amounts of the largest customers come from few rows; trees do not go beyond what they have seen.",
    ),
    "next_event": (
        "What comes after the horizon is not told apart: the curve ends there.",
        "Within a week the order is taken to be equally likely on each day.",
    ),
}


@dataclass(frozen=True, slots=True)
class CompanionReport:
    """Where the report is, and the strongest inputs of each booster."""

    model: str
    report: str
    figures: str
    strongest: dict[str, tuple[str, ...]]

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"  strongest of {name}: {', '.join(features[:5])}" for name, features in self.strongest.items()]
        return "\n".join([f"Report of {self.model}", *lines, f"  {self.report}"])


def report(settings: Settings, config: CompanionConfig, meanings: Mapping[str, str] | None = None) -> CompanionReport:
    """Write both files from the saved dataset, model and evaluation; `meanings` are words for a feature's name.

    Raises:
        FileNotFoundError: a step before has not run.
        UserError: the evaluation is of another model.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, model = load_dataset(folder), load_model(folder)
    evaluation, training = evaluation_from_json(read_json(folder / EVALUATION)), read_json(folder / TRAINING)
    if evaluation.model_hash != model_hash(folder):
        problem = Problem(EVALUATION, "an evaluation of this model", "of another", "evaluate again")
        raise UserError("The artefacts do not belong together; there is no report.", [problem])
    with progress(f"Report of {config.name}"):
        found = movers(model, dataset, meanings or {})
        page = render(_content(config, dataset, evaluation, training, found))
    partial = folder / (REPORT + ".partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, folder / REPORT)
    strongest = {name: [asdict(item) for item in items] for name, items in found.items()}
    write_json(folder / REPORT_FIGURES, {"evaluation": asdict(evaluation), "training": training, "features": strongest})
    names = {name: tuple(item.feature for item in items) for name, items in found.items()}
    return CompanionReport(config.name, str(folder / REPORT), str(folder / REPORT_FIGURES), names)


def render(content: Mapping[str, Any]) -> str:
    """The page. Every text is escaped; a value that the template names and `content` lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(TEMPLATE).render(content)


def _content(
    config: CompanionConfig,
    dataset: Dataset,
    evaluation: CompanionEvaluation,
    training: Mapping[str, Any],
    found: Mapping[str, tuple[Mover, ...]],
) -> dict[str, Any]:
    made = dataset.manifest
    return {
        "title": config.name,
        "description": config.description,
        "evaluation": evaluation,
        "tables": [
            (f"95 % intervals over {evaluation.resamples:,} resamples of customers.", model_table(evaluation)),
            ("What LightGBM gains on each other model, resample by resample.", gain_table(evaluation)),
        ],
        "pictures": _pictures(evaluation),
        "movers": [{"name": name, "scale": SCALES[name], "items": items} for name, items in found.items()],
        "limits": (*_LIMITS, *_LIMITS_OF[config.label.kind]),
        "snapshots": [
            {"day": _day(item.as_of), "part": item.part, "customers": f"{item.customers:,}"} for item in made.snapshots
        ],
        "made": [
            ("Owner", config.owner),
            ("Population", f"{', '.join(config.label.qualifying_events)} within {config.label.activity_window}"),
            ("Horizon", f"{config.label.horizon}, after a gap of {config.label.gap}"),
            ("Data", f"{_day(made.data_start)} to {_day(made.data_end)}"),
            ("Features", f"{len(made.features)} of service {made.feature_service}, spec {made.spec_hash}"),
            ("Dataset", f"{made.dataset_hash}, lake version {made.lake_version}"),
            ("Search", _search(training)),
            ("Trees", ", ".join(f"{name} {count}" for name, count in training["rounds"].items())),
            *_of_training(training),
            *_of_simple_models(evaluation.more),
        ],
    }  # fmt: skip


def _pictures(evaluation: CompanionEvaluation) -> list[tuple[str, str]]:
    titles, more = {model.name: model.title for model in evaluation.models}, evaluation.more
    if "deciles" in more:
        words = "Tenths of the test rows by prediction, with 95 % of sampling error; on the line, totals agree."
        return [(plots.deciles_picture(more["deciles"], titles), words)]
    return [
        (
            plots.calibration_picture(more["calibration"], titles),
            "Chance of an order by a deadline against how often it came; the band is where exact chances would lie.",
        ),
        (
            plots.integral_picture(more["integral"], titles, evaluation.test_rows),
            "Where outcomes fell in their predicted distributions. Level is right; a hump is too wide, a slope biased.",
        ),
    ]


def _of_training(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "form" not in training:
        scale = training["calibration"]
        return [
            ("Calibration", f"slope {scale['slope']:.3f}, intercept {scale['intercept']:+.3f} of the hazard's log-odds")
        ]
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in training["form_losses"].items())
    offset = training["offset"]
    return [
        ("Form of the mean", f"{training['form']}; cross-validated deviance with default parameters: {losses}"),
        (
            "Interval",
            f"moved by {offset['offset']:+.3f} on the asinh scale, on {offset['customers']} held-out customers",
        ),
    ]


def _of_simple_models(more: Mapping[str, Any]) -> list[tuple[str, str]]:
    told = [("BG/NBD", ", ".join(f"{name} {value:.4g}" for name, value in more["bg_nbd"].items()))]
    if "gamma_gamma" in more:
        told.append(("Gamma-Gamma", ", ".join(f"{name} {value:.4g}" for name, value in more["gamma_gamma"].items())))
    return told


def _search(training: Mapping[str, Any]) -> str:
    found = training["search"]
    return (
        f"{found['trials']} sets of parameters in {found['seconds']:.0f} s; cross-validated loss "
        f"{found['default_loss']:.4f} by default, {found['best_loss']:.4f} found"
    )


def _day(instant: int) -> str:
    return datetime.fromtimestamp(instant / 1_000_000, tz=UTC).date().isoformat()
