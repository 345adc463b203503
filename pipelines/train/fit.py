"""The calibrated boosters of a model: with the tuned parameters, and with LightGBM's own to compare with."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import lightgbm as lgb

from pipelines.artefacts import DEFAULT_MODEL, MODEL, TRAINING, TUNING, load_dataset, read_json, write_json
from pipelines.boosting import learning_rows, make_folds
from pipelines.console import progress
from pipelines.fitting import FitSummary, fit_calibrated
from pipelines.settings import Settings
from pipelines.settings.models import FitConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class TrainSummary:
    """The two fitted models, and where they are."""

    model: str
    path: str
    tuned: FitSummary
    default: FitSummary

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"Training of {self.model} (out-of-fold figures on the train part)"]
        for name, fit in (("tuned", self.tuned), ("default", self.default)):
            figures, scale = fit.out_of_fold, fit.calibration
            lines.append(
                f"  {name:<8} {fit.rounds:>4} rounds{_seeds(fit)}  log-loss {figures.calibrated_log_loss:.4f}  "
                f"AUC {figures.auc:.4f}  calibrated with slope {scale.slope:.3f}, intercept {scale.intercept:+.3f}"
            )
            if scale.note:
                lines.append(f"  Note: {name} model: calibration on {scale.note}")
        return "\n".join([*lines, f"  {self.path}"])


def train(settings: Settings, config: ModelConfig) -> TrainSummary:
    """Fit and calibrate both models on the train part of the saved dataset.

    Writes `model.txt` (tuned), `default_model.txt` and `training.json`. Both text models are
    calibrated already: `Booster.predict` gives probabilities to be used as they are.

    Raises:
        FileNotFoundError: there is no dataset, or no tuning.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, tuning = load_dataset(folder), read_json(folder / TUNING)
    rows = learning_rows(dataset)
    folds = make_folds(rows, config.tune.seed)
    with progress("Training", 2) as advance:
        tuned, tuned_booster = fit_calibrated(rows, folds, tuning["params"], config.tune, config.fit)
        advance(1)
        default, default_booster = fit_calibrated(rows, folds, {}, config.tune, FitConfig())
        advance(1)
    _save(tuned_booster, folder / MODEL)
    _save(default_booster, folder / DEFAULT_MODEL)
    shared = {
        "model": config.name,
        "dataset_hash": dataset.manifest.dataset_hash,
    }
    write_json(folder / TRAINING, {**shared, **asdict(tuned), "default": asdict(default)})
    return TrainSummary(config.name, str(folder / MODEL), tuned, default)


def _seeds(fit: FitSummary) -> str:
    return f" × {len(fit.seeds)} seeds" if len(fit.seeds) > 1 else ""


def _save(booster: lgb.Booster, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    booster.save_model(partial)
    os.replace(partial, path)
