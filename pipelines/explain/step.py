"""Write the report of a model: `report.html` for people, `report.json` for its figures."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.reasons import reason_codes, sigmoid
from pipelines import label_words
from pipelines.artefacts import (
    EVALUATION,
    MODEL,
    REPORT,
    REPORT_FIGURES,
    TUNING,
    Dataset,
    DatasetManifest,
    file_hash,
    load_dataset,
    read_json,
    write_json,
)
from pipelines.console import UserError, progress
from pipelines.explain import wording
from pipelines.explain.content import page_content
from pipelines.explain.contributions import example_rows, explain_rows, importances, reach
from pipelines.explain.page import render
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig

ROWS = 2000
SEED = 20050501
_REASONS = 6


@dataclass(frozen=True, slots=True)
class ExplainSummary:
    """Where the report is, and what it rests on. `gap` is the worst miss of additivity in log-odds."""

    model: str
    report: str
    figures: str
    rows: int
    features: int
    top_features: tuple[str, ...]
    gap: float
    seconds: float

    def text(self) -> str:
        """The summary for a person."""
        return "\n".join(
            [
                f"Report of {self.model}: {self.rows:,} rows × {self.features} features in {self.seconds:.1f} s",
                f"  strongest: {', '.join(self.top_features[:5])}",
                f"  {self.report}",
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
    dataset, booster, evaluation = _load(folder)
    words = dict(meanings or {})
    test = dataset.part("test")
    inputs = dataset.inputs("test").to_numpy(dtype=np.float64)
    probabilities = np.asarray(booster.predict(inputs), dtype=np.float64)
    labels = test["label"].to_numpy(dtype=np.float64)
    sample = _sample(len(test), rows)
    with progress("explain rows", total=len(sample)) as advance:
        explained = explain_rows(booster, inputs[sample], advance)
    ranked = importances(explained, words)
    examples, example_gap = _examples(booster, test, inputs, example_rows(probabilities, labels), words)
    gap = max(explained.gap, example_gap)
    figures = {
        "model": model_config.name, "dataset_hash": dataset.manifest.dataset_hash,
        "definition": label_words.label_definition(model_config.label, model_config.snapshots.at),
        "left_out": _left_out(dataset.manifest, model_config),
        "snapshots": _snapshots(dataset.manifest), "evaluation": evaluation, "shap_mode": "tree_path_dependent",
        "rows_explained": len(sample), "rows_available": len(test), "worst_additivity_gap": gap,
        "base_log_odds": explained.base, "importances": [asdict(item) for item in ranked],
        "examples": examples, "reach": [asdict(item) for item in reach(probabilities, labels)],
    }  # fmt: skip
    tuning = read_json(folder / TUNING) if (folder / TUNING).exists() else {}
    workspace = settings.workspace.name
    page = render(page_content(workspace, model_config, dataset.manifest, figures, explained, ranked, tuning))
    write_json(folder / REPORT_FIGURES, figures)
    _write_text(folder / REPORT, page)
    return ExplainSummary(
        model_config.name, str(folder / REPORT), str(folder / REPORT_FIGURES), len(sample), len(explained.names),
        tuple(item.feature for item in ranked[:10]), gap, round(time.monotonic() - began, 2),
    )  # fmt: skip


def _load(folder: Path) -> tuple[Dataset, lightgbm.Booster, dict[str, Any]]:
    needed = {"dataset.json": "make the dataset", MODEL: "train the model", EVALUATION: "evaluate the model"}
    missing = [
        Problem(name, "a file made by an earlier step", "nothing there", f"{hint} first")
        for name, hint in needed.items() if not (folder / name).exists()
    ]  # fmt: skip
    if missing:
        raise UserError("There is nothing to explain yet.", missing)
    dataset, evaluation = load_dataset(folder), read_json(folder / EVALUATION)
    manifest = dataset.manifest
    booster = lightgbm.Booster(model_file=folder / MODEL)
    problems = []
    if booster.feature_name() != list(manifest.inputs.names):
        problems.append(Problem(MODEL, "the inputs of the dataset, in order", "others", "train the model again"))
    if (evaluation["dataset_hash"], evaluation["model_hash"]) != (manifest.dataset_hash, file_hash(folder / MODEL)):
        problems.append(
            Problem(EVALUATION, "an evaluation of this model on this dataset", "another", "evaluate the model again")
        )
    if problems:
        raise UserError("The artefacts do not belong together.", problems)
    return dataset, booster, evaluation


def _sample(available: int, wanted: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    if available <= wanted:
        return np.arange(available)
    return np.sort(np.random.default_rng(SEED).choice(available, wanted, replace=False))


def _snapshots(manifest: DatasetManifest) -> list[dict[str, Any]]:
    return [
        {"day": wording.day(item.as_of), "part": item.part, "customers": item.customers,
         "positives": item.positives, "rate": item.positives / max(item.customers, 1)}
        for item in manifest.snapshots
    ]  # fmt: skip


def _left_out(manifest: DatasetManifest, config: ModelConfig) -> str:
    days: dict[str, list[str]] = {"train": [], "test": []}
    for item in manifest.snapshots:
        days[item.part].append(wording.day(item.as_of))
    return label_words.left_out(config.label, days["train"], min(days["test"]))


def _examples(
    booster: lightgbm.Booster, test: pd.DataFrame, inputs: np.ndarray[Any, Any],
    chosen: Mapping[int, list[str]], words: Mapping[str, str],
) -> tuple[list[dict[str, Any]], float]:  # fmt: skip
    """The chosen rows with their reasons, and the worst miss of additivity among them."""
    explained = explain_rows(booster, inputs[list(chosen)])
    examples = []
    for at, (row, roles) in enumerate(chosen.items()):
        contributions = np.append(explained.contributions[at], explained.base)
        reasons = reason_codes(contributions, inputs[row], explained.names, _REASONS, words)
        shown = sum(reason.contribution for reason in reasons)
        examples.append({
            "customer_id": str(test["customer_id"].iloc[row]), "as_of": f"{test['as_of'].iloc[row]:%Y-%m-%d}",
            "label": int(test["label"].iloc[row]), "roles": roles,
            "probability": float(sigmoid(explained.scores[at])), "log_odds": float(explained.scores[at]),
            "base": explained.base, "others": float(explained.contributions[at].sum()) - shown,
            "other_features": len(explained.names) - len(reasons), "reasons": [asdict(reason) for reason in reasons],
        })  # fmt: skip
    return examples, explained.gap


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
