"""The reviewer's report on actions: `report.html`, complete in itself, and `report.json` with its figures.

Every figure of the test is that of `evaluation.json`; the report adds curves, reasons and segments.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feature_repo.configuration import Problem
from pipelines.artefacts import (
    EVALUATION,
    PREDICTIONS,
    REPORT,
    REPORT_FIGURES,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
    write_json,
)
from pipelines.canvas import Image
from pipelines.console import UserError, progress
from pipelines.next_best_action import report_sections as sections
from pipelines.next_best_action.report_curves import qini_curve
from pipelines.next_best_action.report_page import render
from pipelines.next_best_action.report_plots import beeswarm_image, both_image
from pipelines.next_best_action.report_reasons import ActionReasons, Example, examples_of, explain_action
from pipelines.next_best_action.report_segments import Segment, segments_of
from pipelines.next_best_action.storage import load_effects, model_hash
from pipelines.policy_value.logged import Array
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig
from pipelines.uplift.metrics import OneAction
from pipelines.uplift.rows import FittedEffects

_ROWS, _SEED, _LEADING = 1000, 20260301, 2


@dataclass(frozen=True, slots=True)
class ActionReport:
    """Where the report is, the verdict, and the inputs that move the effect of each action most."""

    model: str
    report: str
    figures: str
    verdict: str
    randomised: bool
    strongest: dict[str, tuple[str, ...]]

    def text(self) -> str:
        """The summary for a person."""
        drawn = "actions were drawn at random" if self.randomised else "ASSOCIATIONAL: nobody drew the actions"
        moved = [
            f"  strongest for {name}: {', '.join(inputs[:5]) or 'none, one effect for all'}"
            for name, inputs in self.strongest.items()
        ]
        return "\n".join([f"Report of {self.model} ({drawn})", f"  {self.verdict}", *moved, f"  {self.report}"])


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the report adds to the evaluation, by action."""

    reasons: Mapping[str, ActionReasons]
    examples: tuple[Example, ...]
    segments: tuple[Segment, ...]
    curves: Mapping[str, Mapping[str, list[tuple[float, float]]]]
    images: Mapping[str, tuple[Image, ...]]
    rows: int


def report(settings: Settings, config: ActionModelConfig, meanings: Mapping[str, str] | None = None) -> ActionReport:
    """Write both files from the saved dataset, model, evaluation and predictions; `meanings` are words for features.

    Raises:
        FileNotFoundError: a step before has not run.
        UserError: the artefacts do not belong together.
        AdditivityError: contributions do not add up to an effect.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, fitted = load_dataset_of(folder, config), load_effects(folder)
    evaluation, training = read_json(folder / EVALUATION), read_json(folder / TRAINING)
    predictions = pd.read_parquet(folder / PREDICTIONS)
    if evaluation["model_hash"] != model_hash(folder) or evaluation["dataset_hash"] != dataset.manifest.dataset_hash:
        problem = Problem(EVALUATION, "an evaluation of this model on this dataset", "of another", "evaluate again")
        raise UserError("The artefacts do not belong together; there is no report.", [problem])
    words = {**(meanings or {}), **fitted.model.inputs.words()}
    with progress(f"Report of {config.name}"):
        explained = _explain(fitted, _test_columns(dataset, evaluation, predictions), predictions, words, evaluation)
        made = sections.all_sections(config, dataset, evaluation, training, explained)
        page = render(config.name, config.description, sections.banner(evaluation), made)
    partial = folder / (REPORT + ".partial")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, folder / REPORT)
    write_json(folder / REPORT_FIGURES, _figures(evaluation, training, explained))
    strongest = {
        name: tuple(item.feature for item in found.inputs if item.effect > 0)[:10]
        for name, found in explained.reasons.items()
    }
    return ActionReport(
        config.name, str(folder / REPORT), str(folder / REPORT_FIGURES), evaluation["verdict"],
        evaluation["randomised"], strongest,
    )  # fmt: skip


def _test_columns(dataset: Dataset, evaluation: Mapping[str, Any], predictions: pd.DataFrame) -> Array:
    """The model's columns of the rows of `predictions`. Raises UserError where they are other rows."""
    rows = dataset.part("test")
    rows = rows[rows["action"].isin([evaluation["control"], *evaluation["actions"]])]
    if rows["customer_id"].tolist() != predictions["customer_id"].tolist():
        problem = Problem(PREDICTIONS, "the test rows of the dataset", "others", "evaluate again")
        raise UserError("The artefacts do not belong together; there is no report.", [problem])
    inputs = dataset.manifest.inputs
    return inputs.matrix(rows[list(inputs.features)].to_numpy(dtype=np.float64))


def _explain(
    fitted: FittedEffects, columns: Array, predictions: pd.DataFrame, words: Mapping[str, str],
    evaluation: Mapping[str, Any],
) -> Explanation:  # fmt: skip
    names, unit = fitted.model.inputs.names, evaluation["reward"]
    drawn = np.sort(np.random.default_rng(_SEED).permutation(len(columns))[:_ROWS])
    sample = np.ascontiguousarray(columns[drawn])
    cluster = pd.factorize(predictions["customer_id"])[0].astype(np.int64)
    reasons, images = {}, {}
    examples: list[Example] = []
    segments: list[Segment] = []
    for action in fitted.model.actions:
        found = explain_action(fitted, action, sample, words)
        reasons[action] = found
        effects, observed = (_numbers(predictions, f"{part}_{action}") for part in ("effect", "observed"))
        varies = bool(found.effect.sizes.any())
        leading = [item.feature for item in found.inputs[:_LEADING] if varies]
        known = np.isfinite(observed)
        of_rows = (effects[known], observed[known], cluster[known], columns[known])
        segments += segments_of(action, *of_rows, names, leading)
        if varies:
            images[action] = (beeswarm_image(found, sample, names, unit), both_image(found, unit))
            examples += examples_of(found, sample, names, words, unit)
    curves = {action: _curves(predictions, action, evaluation["control"], cluster) for action in fitted.model.actions}
    return Explanation(reasons, tuple(examples), tuple(segments), curves, images, len(sample))


def _curves(
    predictions: pd.DataFrame, action: str, control: str, cluster: NDArray[np.int64]
) -> dict[str, list[tuple[float, float]]]:
    """Qini curves of the effect, of the response, and of a random order, of the rows of the action and the control.

    Rows that could not get the action are none of them.
    """
    could = predictions[f"observed_{action}"].notna().to_numpy()
    own = predictions["action"].isin([action, control]).to_numpy() & could
    part = predictions[own]
    treated = (part["action"] == action).to_numpy()
    if treated.all() or not treated.any():
        return {}
    rows = OneAction(
        _numbers(part, "reward"), treated, _numbers(part, "propensity"), _numbers(part, f"observed_{action}"),
        cluster[own],
    )  # fmt: skip
    scores = {
        "effect": _numbers(part, f"effect_{action}"), "propensity": _numbers(part, f"expected_{action}"),
        "random": np.zeros(len(part)),
    }  # fmt: skip
    return {name: qini_curve(rows, values) for name, values in scores.items()}


def _numbers(frame: pd.DataFrame, column: str) -> Array:
    return frame[column].to_numpy(dtype=np.float64)


def _figures(evaluation: Mapping[str, Any], training: Mapping[str, Any], explained: Explanation) -> dict[str, Any]:
    """All that the page shows, for a program."""
    return {
        "evaluation": evaluation,
        "training": training,
        "explained_rows": explained.rows,
        "features": {name: [asdict(item) for item in found.inputs] for name, found in explained.reasons.items()},
        "examples": [asdict(example) for example in explained.examples],
        "effect_segments": [asdict(segment) for segment in explained.segments],
        "qini_curves": explained.curves,
    }
