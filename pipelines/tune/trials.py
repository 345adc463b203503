"""Trials of one study, as each process runs them: ask, judge fold by fold, tell, until trials or time are spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from pipelines.boosting import BinnedFold, fit_fold
from pipelines.settings.models import TuneConfig
from pipelines.tune.space import ALWAYS, SPACE
from pipelines.tune.study import finished, join_study, seconds_spent

DEFAULT = "default"
_NO_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """A study is over after `trials` finished trials or `seconds` of wall-clock, over all its runs."""

    trials: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Bench:
    """What a process judges with: its folds, LightGBM's fixed settings, and the number by which its draws differ.

    `asking` is held while a trial is asked for: of all processes one at a time. `tell` is called after each trial.
    """

    folds: Sequence[BinnedFold]
    settings: dict[str, Any]
    number: int
    asking: Callable[[], AbstractContextManager[None]]
    tell: Callable[[], None]


def random_name(name: str) -> str:
    """The study that is searched at random beside the study `name`."""
    return f"{name}-random"


def limits_of_random(tuned: optuna.Study) -> Limits:
    """As long as the tuning took, however it was stopped, and with as many trials as fit into that time."""
    return Limits(_NO_LIMIT, seconds_spent(tuned.get_trials(deepcopy=False)))


def search_all(storage: JournalStorage, name: str, config: TuneConfig, bench: Bench) -> None:
    """TPE until its limits, then random search in the same wall-clock, beside other processes that do the same."""
    tuned = join_study(storage, name, [config.seed, bench.number], at_random=False)
    _search(tuned, bench, config, Limits(config.trials, config.budget_seconds))
    if config.random_search:
        _wait_for_others(tuned)
        beside = join_study(storage, random_name(name), [config.seed, bench.number, 1], at_random=True)
        _search(beside, bench, config, limits_of_random(tuned))


def is_over(study: optuna.Study, limits: Limits) -> bool:
    return share_spent(study, limits) >= 1.0 and has_complete(study.get_trials(deepcopy=False))


def share_spent(study: optuna.Study, limits: Limits) -> float:
    """Of whichever is nearer its end, trials or time; from 0 to 1. Running trials count as the time they took."""
    trials = study.get_trials(deepcopy=False)
    seconds = seconds_spent(trials, datetime.now())
    return min(1.0, max(len(finished(trials)) / limits.trials, seconds / limits.seconds if limits.seconds else 1.0))


def has_complete(trials: Sequence[FrozenTrial]) -> bool:
    return any(trial.state == TrialState.COMPLETE for trial in trials)


def _search(study: optuna.Study, bench: Bench, config: TuneConfig, limits: Limits) -> None:
    while (trial := _ask(study, bench, limits)) is not None:
        _judge(study, trial, bench, config, limits)
        bench.tell()


def _ask(study: optuna.Study, bench: Bench, limits: Limits) -> optuna.Trial | None:
    with bench.asking():
        trials = study.get_trials(deepcopy=False)
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        spent = share_spent(study, limits) >= 1.0 or len(finished(trials)) + running >= limits.trials
        # At least one trial must be complete: whoever runs will be, with nothing to compare it with.
        if spent and (running or has_complete(trials)):
            return None
        return study.ask(SPACE)


def _judge(study: optuna.Study, trial: optuna.Trial, bench: Bench, config: TuneConfig, limits: Limits) -> None:
    chosen = {**bench.settings, **ALWAYS, **trial.params}
    losses: dict[int, float] = {}
    rounds: list[int] = []

    def keep_to_time(_: object) -> None:
        if time.monotonic() > deadline:
            raise _TimeIsUp

    for index in np.random.default_rng([config.seed, trial.number]).permutation(len(bench.folds)):
        fold = bench.folds[int(index)]
        deadline = time.monotonic() + _seconds_left(study, trial, limits)
        try:
            booster = fit_fold(fold, chosen, config.rounds, config.early_stopping_rounds, keep_to_time)
        except _TimeIsUp:
            study.tell(trial, state=TrialState.PRUNED)
            return
        losses[fold.number] = float(booster.best_score["valid_0"]["binary_logloss"])
        rounds.append(booster.best_iteration)
        trial.report(losses[fold.number], step=fold.number)
        if len(losses) < len(bench.folds) and not _must_end(study, trial) and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return
    trial.set_user_attr("rounds", round(np.mean(rounds)))
    trial.set_user_attr("fold_losses", {str(number): losses[number] for number in sorted(losses)})
    sizes = {fold.number: fold.size for fold in bench.folds}
    weights = [sizes[number] for number in losses]
    study.tell(trial, float(np.average(list(losses.values()), weights=weights)))


class _TimeIsUp(Exception):
    """The wall-clock of the study is spent in the middle of a fold."""


def _must_end(study: optuna.Study, trial: optuna.Trial) -> bool:
    """The default is what all else is compared with: it is always judged on all folds, as is who comes first."""
    return trial.user_attrs.get("origin") == DEFAULT or not has_complete(study.get_trials(deepcopy=False))


def _seconds_left(study: optuna.Study, trial: optuna.Trial, limits: Limits) -> float:
    if _must_end(study, trial):
        return float("inf")
    return limits.seconds - seconds_spent(study.get_trials(deepcopy=False), datetime.now())


def _wait_for_others(study: optuna.Study) -> None:
    """Until no other process judges a trial of `study`; the parent ends us if one of them dies."""
    while any(trial.state == TrialState.RUNNING for trial in study.get_trials(deepcopy=False)):
        time.sleep(0.05)
