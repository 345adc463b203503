"""Fit and evaluate a companion: from the files of its folder to the files of its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from feature_repo.configuration import Problem
from feature_repo.windows import DAY
from pipelines.artefacts import (
    EVALUATION,
    MODEL,
    PREDICTIONS,
    SIMPLE_MODELS,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
    refuse_foreign_training,
    write_json,
)
from pipelines.boosting import drawn
from pipelines.companions.predict import load_version
from pipelines.companions.results import CompanionEvaluation
from pipelines.companions.storage import load_model, model_hash, save_model
from pipelines.companions.time_evaluation import evaluate_time
from pipelines.companions.time_model import TimeModel, fit_time, period_edges
from pipelines.companions.value_evaluation import evaluate_value
from pipelines.companions.value_model import fit_value
from pipelines.console import UserError, progress
from pipelines.present_champion import present_champion
from pipelines.settings import Settings
from pipelines.settings.labels import microseconds
from pipelines.settings.models import CompanionConfig

# Fewer test customers say nothing, whatever is asked of the model.
_FEWEST_ROWS = 20
_PARAMETERS = ("bg_nbd", "gamma_gamma", "scale", "frequency_value_correlation")


@dataclass(frozen=True, slots=True)
class CompanionFit:
    """What was fitted; `training` is the content of `training.json`."""

    model: str
    path: str
    rows: int
    training: dict[str, Any]

    def text(self) -> str:
        """The summary for a person."""
        searched, rounds = self.training["search"], self.training["rounds"]
        chosen = ", ".join(f"{name} {value:.3g}" for name, value in self.training["params"].items())
        lines = [
            f"Fit of {self.model} on {self.rows:,} rows",
            f"  {searched['trials']} sets of parameters in {searched['seconds']:.0f} s: cross-validated loss "
            f"{searched['default_loss']:.4f} by default, {searched['best_loss']:.4f} found",
            f"  {chosen or 'the defaults'}; trees: {', '.join(f'{name} {count}' for name, count in rounds.items())}",
        ]
        if "form_losses" in self.training:
            losses = ", ".join(f"{name} {loss:.4f}" for name, loss in self.training["form_losses"].items())
            offset = self.training["offset"]
            lines += [
                f"  form {self.training['form']} ({losses})",
                f"  interval moved by {offset['offset']:+.3f} (asinh scale), {offset['customers']} customers held out",
            ]
        return "\n".join([*lines, f"  {self.path}"])


def fit(settings: Settings, config: CompanionConfig) -> CompanionFit:
    """Fit the companion to the train part of the saved dataset; writes its boosters and `training.json`.

    Raises:
        FileNotFoundError: there is no dataset.
        UserError: there is not enough to learn from.
    """
    folder = settings.workspace.artefacts(config.name)
    whole = load_dataset_of(folder, config)
    _checked(whole, config, "train")
    dataset = _drawn(whole, config)
    model: Any
    with progress(f"Fitting {config.name}"):
        model, told = fit_value(dataset, config) if config.label.kind == "value" else fit_time(dataset, config)
    save_model(folder, model)
    training = {
        "model": config.name, "kind": config.label.kind, "dataset_hash": dataset.manifest.dataset_hash,
        "model_hash": model_hash(folder), "rows": len(dataset.part("train")),
        "seeds": {"lightgbm": config.tune.seed}, **told,
    }  # fmt: skip
    write_json(folder / TRAINING, training)
    return CompanionFit(config.name, str(folder / MODEL), training["rows"], training)


def evaluate(settings: Settings, config: CompanionConfig) -> CompanionEvaluation:
    """Compare with the simple models and the present champion, out of time.

    Writes `evaluation.json`, `predictions.parquet`, and `simple_models.json` with the parameters of those.

    Raises:
        FileNotFoundError: there is no dataset, or no fitted model.
        UserError: the model is of another dataset, or the test part is too small.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, training, model = load_dataset_of(folder, config), read_json(folder / TRAINING), load_model(folder)
    refuse_foreign_training(training, dataset)
    _checked(dataset, config, "test")
    champion = present_champion(settings, config, dataset, load_version)
    with progress(f"Comparing {config.name} with simple models"):
        hashed = model_hash(folder)
        if isinstance(model, TimeModel):
            evaluation, predictions = evaluate_time(dataset, config, model, hashed, champion)
        else:
            evaluation, predictions = evaluate_value(dataset, config, model, hashed, champion)
    predictions.to_parquet(folder / PREDICTIONS, index=False)
    write_json(folder / SIMPLE_MODELS, {name: evaluation.more[name] for name in _PARAMETERS if name in evaluation.more})
    write_json(folder / EVALUATION, asdict(evaluation))
    return evaluation


def _drawn(dataset: Dataset, config: CompanionConfig) -> Dataset:
    """The dataset with at most `tune.most_rows` rows to learn from, of whole customers; a period counts as a row."""
    most = config.tune.most_rows
    if config.label.kind == "next_event":
        most //= len(period_edges(microseconds(config.label.horizon) / DAY)) - 1
    train = dataset.part("train")
    train = train.iloc[drawn(train["customer_id"].to_numpy(), most)]
    return replace(dataset, rows=pd.concat([train, dataset.part("test")], ignore_index=True))


def _checked(dataset: Dataset, config: CompanionConfig, name: str) -> pd.DataFrame:
    rows = dataset.part(name)
    missing = [feature for feature in config.other_features if feature not in rows]
    problems = [
        Problem("bg_nbd, monetary", "columns of the dataset", repr(feature), "make the dataset again")
        for feature in missing
    ]
    if len(rows) < _FEWEST_ROWS:
        hint = "ingest a longer history or more customers, or shorten label.horizon"
        problems.append(Problem(f"rows of {name}", f"at least {_FEWEST_ROWS}", f"{len(rows)}", hint))
    elif rows["label"].nunique() < 2:
        got = f"{len(rows):,} rows, all of them {rows['label'].iloc[0]}"
        problems.append(Problem(f"labels of {name}", "values that differ", got, "change label.horizon or the events"))
    if problems:
        raise UserError(f"{config.name} cannot be learned from this dataset.", problems)
    return rows
