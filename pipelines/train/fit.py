"""The calibrated boosters of a model: with the tuned parameters, and to compare with LightGBM's own and random ones."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import lightgbm as lgb

from pipelines.artefacts import (
    DEFAULT_MODEL,
    MODEL,
    RANDOM_MODEL,
    TRAINING,
    TUNING,
    load_dataset_of,
    read_json,
    write_json,
)
from pipelines.boosting import drawn, learning_customers, learning_rows, make_folds
from pipelines.console import progress
from pipelines.fitting import FitSummary, fit_calibrated
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """The fitted models, and where they are; `random` has the parameters of random search, where there was one."""

    model: str
    path: str
    tuned: FitSummary
    default: FitSummary
    random: FitSummary | None

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"Training of {self.model} (out-of-fold figures on the train part)"]
        for name, fit in (("tuned", self.tuned), ("default", self.default), ("random", self.random)):
            if fit is None:
                continue
            figures, scale = fit.out_of_fold, fit.calibration
            lines.append(
                f"  {name:<8} {fit.rounds:>4} rounds{_seeds(fit)}  log-loss {figures.calibrated_log_loss:.4f}  "
                f"AUC {figures.auc:.4f}  calibrated with slope {scale.slope:.3f}, intercept {scale.intercept:+.3f}"
            )
            if scale.note:
                lines.append(f"  Note: {name} model: calibration on {scale.note}")
        return "\n".join([*lines, f"  {self.path}"])


def train(settings: Settings, config: ModelConfig) -> TrainSummary:
    """Fit and calibrate all models on the train part of the saved dataset.

    All are fitted with the seeds and directions of `fit`, so that their differences are of the parameters alone.
    Writes `model.txt` (tuned), `default_model.txt`, `random_model.txt` where there was a random search
    (fitted as the tuned one is), and `training.json`. All text models are calibrated already:
    `Booster.predict` gives probabilities to be used as they are.

    Raises:
        FileNotFoundError: there is no dataset, or no tuning.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, tuning = load_dataset_of(folder, config), read_json(folder / TUNING)
    rows = learning_rows(dataset)
    folds = make_folds(rows, config.tune.seed, drawn(learning_customers(dataset), config.tune.most_rows))
    random, random_booster = None, None
    with progress("Training", 3 if "random" in tuning else 2) as advance:
        tuned, tuned_booster = fit_calibrated(rows, folds, tuning["params"], config.tune, config.fit)
        advance(1)
        default, default_booster = fit_calibrated(rows, folds, {}, config.tune, config.fit)
        advance(1)
        if "random" in tuning:
            random, random_booster = fit_calibrated(rows, folds, tuning["random"]["params"], config.tune, config.fit)
            advance(1)
    _save(tuned_booster, folder / MODEL)
    _save(default_booster, folder / DEFAULT_MODEL)
    # One of an earlier search is not of this dataset.
    (folder / RANDOM_MODEL).unlink(missing_ok=True)
    if random_booster is not None:
        _save(random_booster, folder / RANDOM_MODEL)
    shared = {
        "model": config.name,
        "dataset_hash": dataset.manifest.dataset_hash,
    }
    beside = {"random": asdict(random)} if random is not None else {}
    write_json(folder / TRAINING, {**shared, **asdict(tuned), "default": asdict(default), **beside})
    return TrainSummary(config.name, str(folder / MODEL), tuned, default, random)


def _seeds(fit: FitSummary) -> str:
    return f" × {len(fit.seeds)} seeds" if len(fit.seeds) > 1 else ""


def _save(booster: lgb.Booster, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    booster.save_model(partial)
    os.replace(partial, path)
