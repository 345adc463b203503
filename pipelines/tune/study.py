"""Optuna studies in a journal file that survives kill -9 at any instant, also of several processes at once.

What a kill can leave behind, and what is done about it at the next start: a last line cut short (dropped),
Optuna's lock file (removed), trials marked as running (failed, and their parameters queued again).
"""

from __future__ import annotations

import fcntl
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipelines.console import UserError

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ATTEMPTS = 3
# The processes of a tuning that was killed need an instant to die.
_LOCK_PATIENCE_SECONDS = 1.0


@contextmanager
def open_journal(journal: Path) -> Iterator[int]:
    """Have `journal` to ourselves, mended from what a kill left in it; yields the descriptor of the lock.

    Processes that inherit the descriptor hold the lock too, until the last of them is gone.

    Raises:
        UserError: another process is tuning here.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(journal.with_suffix(".lock")) as lock:
        _drop_unfinished_line(journal)
        Path(f"{journal}.lock").unlink(missing_ok=True)
        yield lock


def storage_of(journal: Path) -> JournalStorage:
    """What several processes may read and write at once."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(journal)))


def resume_study(storage: JournalStorage, name: str) -> optuna.Study:
    """The study `name`, new or as it was left, with what was interrupted queued again. Nobody else may run it."""
    study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    _requeue_running(study)
    return study


def join_study(storage: JournalStorage, name: str, seed: Sequence[int], at_random: bool) -> optuna.Study:
    """The study `name` with a sampler and a pruner.

    Its draws follow from `seed` and the number of trials there are, so a resumed study does not draw again what
    it has drawn. TPE keeps away from what other processes try at the moment.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Five folds cannot reach p < 0.1 before the fourth; three that are all worse give 0.125.
        pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.2)
    study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    start = int(np.random.SeedSequence([*seed, len(study.trials)]).generate_state(1)[0])
    study.sampler = (
        optuna.samplers.RandomSampler(seed=start)
        if at_random
        else optuna.samplers.TPESampler(seed=start, constant_liar=True)
    )
    return study


def queue_once(study: optuna.Study, origin: str, candidate: Mapping[str, Any]) -> None:
    """Have `candidate` tried next, unless a candidate of that origin was queued before."""
    if all(trial.user_attrs.get("origin") != origin for trial in study.trials):
        study.enqueue_trial(dict(candidate), user_attrs={"origin": origin})


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count: complete or pruned."""
    return [trial for trial in trials if trial.state in FINISHED]


def seconds_spent(trials: Sequence[FrozenTrial], now: datetime | None = None) -> float:
    """Wall-clock in which trials ran, over all runs of the study: what ran side by side counts once.

    Finished trials count, and until `now`, where given (local time, as Optuna writes it), those that run.
    """
    total, until = 0.0, datetime.min
    for start, end in sorted(_spans(trials, now)):
        begin = max(start, until)
        if end > begin:
            total += (end - begin).total_seconds()
            until = end
    return total


def of_origin(study: optuna.Study, origin: str) -> FrozenTrial | None:
    """The complete trial of a queued candidate, or None."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((trial for trial in complete if trial.user_attrs.get("origin") == origin), None)


def _spans(trials: Sequence[FrozenTrial], now: datetime | None) -> Iterator[tuple[datetime, datetime]]:
    for trial in trials:
        end = now if trial.state == TrialState.RUNNING else trial.datetime_complete
        if trial.state in (*FINISHED, TrialState.RUNNING) and trial.datetime_start is not None and end is not None:
            yield trial.datetime_start, end


def _requeue_running(study: optuna.Study) -> None:
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        attempt = trial.user_attrs.get("attempt", 1)
        parameters = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        # Parameters that kill the process every time must not stop the study for good.
        if parameters and attempt < ATTEMPTS:
            study.enqueue_trial(parameters, user_attrs={**trial.user_attrs, "attempt": attempt + 1})


def _drop_unfinished_line(journal: Path) -> None:
    if not journal.exists():
        return
    content = journal.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with journal.open("rb+") as file:
            file.truncate(len(whole))


@contextmanager
def _only_one(path: Path) -> Iterator[int]:
    """Hold a lock the kernel gives back when this process and its children end, however they end."""
    patience = time.monotonic() + _LOCK_PATIENCE_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > patience:
                    raise UserError("Another tuning of this model is running. Wait for it, or stop it.") from None
                time.sleep(0.05)
        yield file.fileno()
