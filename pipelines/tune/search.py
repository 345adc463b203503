"""The search: ask for parameters, judge them fold by fold, stop when trials or time are spent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from pipelines.artefacts import TUNING, load_dataset, write_json
from pipelines.boosting import Fold, fit_fold, learning_rows, make_folds, parameters
from pipelines.console import progress
from pipelines.settings import Settings
from pipelines.settings.models import ModelConfig, TuneConfig
from pipelines.tune.space import ALWAYS, DEFAULTS, SPACE, inside, space_hash
from pipelines.tune.study import finished, of_origin, open_study, queue_once, seconds_spent

JOURNAL = "tuning.journal"


@dataclass(frozen=True, slots=True)
class TuneSummary:
    """What was found. Losses are grouped out-of-fold log-loss in nats; `resumed` trials were there already."""

    model: str
    path: str
    params: dict[str, Any]
    rounds: int
    trials: int
    pruned: int
    resumed: int
    seconds: float
    default_loss: float | None
    best_loss: float
    stopped_by: str
    study: str

    def text(self) -> str:
        """The summary for a person."""
        resumed = f", {self.resumed} of them from an earlier run" if self.resumed else ""
        chosen = ", ".join(f"{name} {_short(value)}" for name, value in self.params.items())
        default = "not known" if self.default_loss is None else f"{self.default_loss:.4f}"
        return "\n".join(
            [
                f"Tuning of {self.model}: {self.trials} trials{resumed}, {self.pruned} pruned, "
                f"{self.seconds:.0f} s, stopped by {self.stopped_by}",
                f"  cross-validated log-loss {default} by default, {self.best_loss:.4f} tuned",
                f"  {chosen}; {self.rounds} rounds",
                f"  {self.path}",
            ]
        )


def tune(settings: Settings, config: ModelConfig, also_try: Sequence[Mapping[str, Any]] = ()) -> TuneSummary:
    """Search LightGBM parameters on the train part of the saved dataset, and save `tuning.json`.

    LightGBM's defaults are tried first, then `also_try` (such as the champion's parameters), then
    TPE. The study goes on where a killed run stopped, and is over once `tune.trials` trials or
    `tune.budget_seconds` seconds are spent over all runs; a study that is over is not repeated.

    Raises:
        FileNotFoundError: there is no dataset.
        UserError: another process is tuning this model.
    """
    folder = settings.workspace.artefacts(config.name)
    dataset = load_dataset(folder)
    name = study_name(dataset.manifest.dataset_hash, config.tune)
    with open_study(folder / JOURNAL, name, config.tune.seed) as study:
        resumed = len(finished(study.trials))
        queue_once(study, "default", DEFAULTS)
        for number, candidate in enumerate(also_try):
            queue_once(study, f"candidate {number}", inside(candidate))
        if not _spent(study, config.tune):
            _search(study, make_folds(learning_rows(dataset), config.tune.seed), config.tune)
        result = _result(study, config.tune)
    write_json(folder / TUNING, result)
    stopped_by = "trials" if result["trials"] >= config.tune.trials else "the time budget"
    figures = {
        key: result[key] for key in ("params", "rounds", "trials", "pruned", "seconds", "default_loss", "best_loss")
    }
    return TuneSummary(config.name, str(folder / TUNING), **figures, resumed=resumed, stopped_by=stopped_by, study=name)


def study_name(dataset_hash: str, config: TuneConfig) -> str:
    """Same data, space and way of judging, same study; more trials or time continue it."""
    return f"{dataset_hash}-{space_hash()}-{config.rounds}-{config.early_stopping_rounds}-{config.seed}"


def _search(study: optuna.Study, folds: Sequence[Fold], config: TuneConfig) -> None:
    told = _share_spent(study, config)
    with progress("Tuning (percent)", 100) as advance:
        advance(100 * told)
        while not _spent(study, config):
            deadline = time.monotonic() + config.budget_seconds - seconds_spent(study.trials)
            _run_trial(study, folds, config, deadline)
            share = _share_spent(study, config)
            advance(100 * (share - told))
            told = share


def _run_trial(study: optuna.Study, folds: Sequence[Fold], config: TuneConfig, deadline: float) -> None:
    trial = study.ask(SPACE)
    chosen = parameters({**ALWAYS, **trial.params}, config.seed, sum(len(fold.rows) for fold in folds))
    # The first trial has nothing to be compared with: it is the default, and always runs to its end.
    may_stop = any(other.state == TrialState.COMPLETE for other in study.get_trials(deepcopy=False))
    losses: dict[int, float] = {}
    rounds: dict[int, int] = {}
    for index in np.random.default_rng([config.seed, trial.number]).permutation(len(folds)):
        fold = folds[int(index)]
        booster = fit_fold(fold, chosen, config.rounds, config.early_stopping_rounds)
        losses[int(index)] = booster.best_score["valid_0"]["binary_logloss"]
        rounds[int(index)] = booster.best_iteration
        trial.report(losses[int(index)], step=fold.number)
        if len(losses) < len(folds) and may_stop and (trial.should_prune() or time.monotonic() > deadline):
            study.tell(trial, state=TrialState.PRUNED)
            return
    trial.set_user_attr("rounds", round(np.mean(list(rounds.values()))))
    weights = [len(folds[index].rows) for index in losses]
    study.tell(trial, float(np.average(list(losses.values()), weights=weights)))


def _share_spent(study: optuna.Study, config: TuneConfig) -> float:
    """Of whichever is nearer its end, trials or time; from 0 to 1."""
    trials = study.get_trials(deepcopy=False)
    return min(1.0, max(len(finished(trials)) / config.trials, seconds_spent(trials) / config.budget_seconds))


def _spent(study: optuna.Study, config: TuneConfig) -> bool:
    return _share_spent(study, config) >= 1.0 and any(t.state == TrialState.COMPLETE for t in study.trials)


def _result(study: optuna.Study, config: TuneConfig) -> dict[str, Any]:
    best, default = study.best_trial, of_origin(study, "default")
    counted = finished(study.trials)
    return {
        "params": {**ALWAYS, **best.params},
        "rounds": best.user_attrs["rounds"],
        "trials": len(counted),
        "pruned": sum(trial.state == TrialState.PRUNED for trial in counted),
        "seconds": round(seconds_spent(counted), 3),
        "default_loss": default.value if default else None,
        "best_loss": best.value,
        "study": study.study_name,
        "seed": config.seed,
        "history": [_row(trial) for trial in counted],
    }


def _row(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "origin": trial.user_attrs.get("origin", "sampler"),
        "loss": trial.value if trial.state == TrialState.COMPLETE else None,
        "folds": len(trial.intermediate_values),
        "rounds": trial.user_attrs.get("rounds"),
        "seconds": round(trial.duration.total_seconds(), 3) if trial.duration else None,
        **trial.params,
    }


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
