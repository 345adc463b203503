"""Fit and evaluate a model of what actions change: from the files of its folder to the files of its folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.artefacts import (
    EVALUATION,
    PREDICTIONS,
    TRAINING,
    Dataset,
    load_dataset_of,
    read_json,
    refuse_foreign_training,
    write_json,
)
from pipelines.boosting import drawn
from pipelines.console import UserError, progress
from pipelines.next_best_action.candidates import CONSTANT, as_json, effect_policy
from pipelines.next_best_action.champion import QUESTION, load_version, policy_of
from pipelines.next_best_action.evaluation import (
    Predicted,
    arm_figures,
    budget_figures,
    compared,
    policies_of,
    predictions,
    ranking_figures,
    segment_figures,
    support_figures,
)
from pipelines.next_best_action.learning import (
    Choice,
    choose,
    expected_by,
    fit_chosen,
    searches_as_json,
    threads_for,
)
from pipelines.next_best_action.propensity import estimated
from pipelines.next_best_action.results import ActionEvaluation
from pipelines.next_best_action.storage import load_effects, model_hash, save_effects
from pipelines.next_best_action.trial import Trial, Trials, trials_of
from pipelines.next_best_action.verdict import sentences
from pipelines.next_best_action.worth import Prices
from pipelines.policy_value.diagnostics import ASSOCIATIONAL
from pipelines.present_champion import present_champion
from pipelines.settings import Settings
from pipelines.settings.models import ActionModelConfig
from pipelines.slicing import slice_rows
from pipelines.uplift.learners import fit_effects
from pipelines.uplift.rows import FittedEffects

# Minor units of a major unit of money where no catalogue names a currency.
_MINOR = 100


@dataclass(frozen=True, slots=True)
class EffectFit:
    """What was fitted; `training` is the content of `training.json`."""

    model: str
    path: str
    rows: int
    training: dict[str, Any]

    def text(self) -> str:
        """The summary for a person."""
        lines = [f"Fit of {self.model} on {self.rows:,} decisions, {len(self.training['actions'])} actions"]
        for name, found in self.training["searches"].items():
            lines.append(
                f"  {name:<3} {found['trials']} sets of parameters in {found['seconds']:.0f} s: DR loss "
                f"{found['default_loss']:.5g} by default, {found['best_loss']:.5g} found, "
                f"{found['constant_loss']:.5g} of one effect for all"
            )
        for row in sorted(self.training["policies"], key=lambda row: -row["value"]):
            value = f"{row['value']:,.3f} [{row['low']:,.3f}, {row['high']:,.3f}]"
            lines.append(f"  {row['title']:<28} {value:>32} a decision, cross-fitted")
        lines += [f"  {self.training['recommendation']}", *(f"  Note: {note}" for note in self.training["notes"])]
        return "\n".join([*lines, f"  {self.path}"])


def fit(settings: Settings, config: ActionModelConfig) -> EffectFit:
    """Choose a learner on the train part of the saved dataset and fit it; writes its files and `training.json`.

    Raises:
        FileNotFoundError: there is no dataset.
        UserError: there is not enough to learn from.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset = load_dataset_of(folder, config)
    trials = _trials(settings, config, dataset)
    sample = _sampled(trials.train, dataset, config)
    choice = choose(sample, config)
    with progress(f"Fitting {config.name}"):
        fitted = fit_chosen(trials.train, choice, config)
    save_effects(folder, fitted)
    training = _training(folder, config, dataset, trials, choice)
    write_json(folder / TRAINING, training)
    return EffectFit(config.name, str(folder / "effects.json"), training["rows"], training)


def evaluate(settings: Settings, config: ActionModelConfig) -> ActionEvaluation:
    """Compare policies out of time, with all learners and the present champion; writes `evaluation.json` and
    `predictions.parquet`.

    Raises:
        FileNotFoundError: there is no dataset, or no fitted model.
        UserError: the model is of another dataset, or the test part is too small.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset, training, fitted = load_dataset_of(folder, config), read_json(folder / TRAINING), load_effects(folder)
    refuse_foreign_training(training, dataset)
    trials = _trials(settings, config, dataset)
    rows = _rows_of(dataset.part("test"), trials.test)
    if not len(rows):
        raise UserError(f"There is no decision to test {config.name} on: its actions are others than those trained on.")
    with progress(f"Comparing policies of {config.name}"):
        evaluation, table = _evaluated(settings, config, dataset, training, trials, rows, fitted, model_hash(folder))
    table.to_parquet(folder / PREDICTIONS, index=False)
    write_json(folder / EVALUATION, asdict(evaluation))
    return evaluation


def prices_of(settings: Settings, config: ActionModelConfig) -> Prices:
    """What rewards are worth and actions cost: the catalogue says it of the rewards of its own model.

    A reward that is money is in minor units, so `worth` is of a major unit then.
    """
    catalogue = settings.checked_catalogue()
    if catalogue is not None and catalogue.model != config.name:
        catalogue = None
    minor = _MINOR if catalogue is None else 10 ** settings.tracking_plan.currencies[catalogue.currency]
    unit = minor if config.label.reward.of == "value" else 1
    return Prices(catalogue, minor, config.worth / unit)


def reward_words(config: ActionModelConfig) -> str:
    """The reward in a few words."""
    reward, events = config.label.reward, " or ".join(config.label.reward.events)
    words = {"any": f"{events} at least once", "count": f"number of {events}", "value": f"value of {events}"}
    return f"{words[reward.of]} within {config.label.horizon}"


def _trials(settings: Settings, config: ActionModelConfig, dataset: Dataset) -> Trials:
    label = config.label
    trials = trials_of(dataset, label.control, label.randomised, prices_of(settings, config))
    if label.randomised:
        return trials
    train, test, notes = estimated(trials.train, trials.test, config.tune.seed)
    return Trials(train, test, (ASSOCIATIONAL, *notes, *trials.notes))


def _sampled(train: Trial, dataset: Dataset, config: ActionModelConfig) -> Trial:
    """At most `tune.most_rows` of the rows, of whole customers, to choose by."""
    rows = _rows_of(dataset.part("train"), train)
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[drawn(rows["customer_id"].to_numpy(), config.tune.most_rows)] = True
    return train.where(chosen)


def _rows_of(rows: pd.DataFrame, trial: Trial) -> pd.DataFrame:
    """Those of the dataset's rows that the trial has, in its order."""
    return rows[rows["action"].isin(trial.arms)].reset_index(drop=True)


def _training(
    folder: Path, config: ActionModelConfig, dataset: Dataset, trials: Trials, choice: Choice
) -> dict[str, Any]:  # fmt: skip
    return {
        "model": config.name, "kind": "effects", "dataset_hash": dataset.manifest.dataset_hash,
        "model_hash": model_hash(folder), "rows": len(trials.train.rows.reward), "learner": choice.learner,
        "best_learner": choice.best, "reference": choice.reference, "recommendation": choice.recommendation,
        "control": config.label.control, "actions": list(trials.train.rows.actions),
        "randomised": config.label.randomised, "params": choice.params, "rounds": choice.rounds,
        "seeds": {"lightgbm": config.tune.seed}, "searches": searches_as_json(choice.searches),
        "policies": [as_json(row) for row in choice.policies], "gains": [as_json(gain) for gain in choice.gains],
        "notes": list(trials.notes),
    }  # fmt: skip


def _evaluated(
    settings: Settings, config: ActionModelConfig, dataset: Dataset, training: dict[str, Any], trials: Trials,
    rows: pd.DataFrame, fitted: FittedEffects, hashed: str,
) -> tuple[ActionEvaluation, pd.DataFrame]:  # fmt: skip
    test, seed = trials.test, config.tune.seed
    present = present_champion(
        settings, config, dataset, lambda found: policy_of(load_version(found), rows, test), QUESTION
    )
    predicted = Predicted(
        fitted.effect(test.rows.columns), fitted.response(test.rows.columns), expected_by(trials.train, test, seed),
        present.held,
    )  # fmt: skip
    chosen = effect_policy(test, predicted.effects)
    policies = policies_of(test, predicted, chosen, _others(trials, training, seed))
    made, gains, reference = compared(test, policies, predicted.expected)
    support = support_figures(test, chosen)
    slices = [slice_rows(cut, rows, dataset.part("train")) for cut in config.slices]
    currency = prices_of(settings, config).currency
    told = sentences(
        fitted.model.learner, made, gains, reference, currency or "money", config.label.randomised,
        [str(warning) for warning in support["warnings"]],
    )  # fmt: skip
    evaluation = ActionEvaluation(
        config.name, fitted.model.learner, test.rows.control, test.rows.actions, reward_words(config), currency,
        config.label.randomised, "dr", training["rows"], len(rows), int(rows["customer_id"].nunique()),
        arm_figures(test), made, gains, reference, ranking_figures(test, predicted, seed), support,
        segment_figures(test, chosen, predicted.expected, slices), budget_figures(test, predicted),
        (*trials.notes, *present.notes, *present.sentences), training["recommendation"], told, " ".join(told),
        dataset.manifest.dataset_hash, hashed, present.version,
    )  # fmt: skip
    return evaluation, predictions(rows, test, predicted, chosen)


def _others(trials: Trials, training: dict[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Effects on the test rows by the learners that were not chosen, each as it was tuned."""
    train, columns = trials.train.rows, trials.test.rows.columns
    asked = {CONSTANT: ({}, 1)} | {
        name: (found["params"], found["rounds"]) for name, found in training["searches"].items()
    }
    asked.pop(training["learner"], None)
    threads = threads_for(trials.train)
    return {
        name: fit_effects(name, train, params, rounds, seed, threads).effect(columns)
        for name, (params, rounds) in asked.items()
    }
