"""An Optuna study in a journal file that survives kill -9 at any instant.

What a kill can leave behind, and what `open_study` does about it: a last line cut short (dropped),
Optuna's lock file (removed), trials marked as running (failed, and their parameters queued again).
"""

from __future__ import annotations

import fcntl
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipelines.console import UserError

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
ATTEMPTS = 3


@contextmanager
def open_study(journal: Path, name: str, seed: int) -> Iterator[optuna.Study]:
    """The study `name` in `journal`, new or resumed; nobody else can open the journal meanwhile.

    The sampler's seed moves with the number of trials there are, so a resumed study does not draw
    again what it has drawn.

    Raises:
        UserError: another process is tuning here.
    """
    journal.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(journal.with_suffix(".lock")):
        _drop_unfinished_line(journal)
        Path(f"{journal}.lock").unlink(missing_ok=True)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Five folds cannot reach p < 0.1 before the fourth; three that are all worse give 0.125.
            pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.2)
        study = optuna.create_study(study_name=name, storage=storage, pruner=pruner, load_if_exists=True)
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
        _requeue_running(study)
        yield study


def queue_once(study: optuna.Study, origin: str, candidate: Mapping[str, Any]) -> None:
    """Have `candidate` tried next, unless a candidate of that origin was queued before."""
    if all(trial.user_attrs.get("origin") != origin for trial in study.trials):
        study.enqueue_trial(dict(candidate), user_attrs={"origin": origin})


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials that count: complete or pruned."""
    return [trial for trial in trials if trial.state in FINISHED]


def seconds_spent(trials: Sequence[FrozenTrial]) -> float:
    """Wall-clock of the finished trials, over all runs of the study."""
    return sum(trial.duration.total_seconds() for trial in finished(trials) if trial.duration is not None)


def of_origin(study: optuna.Study, origin: str) -> FrozenTrial | None:
    """The complete trial of a queued candidate, or None."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((trial for trial in complete if trial.user_attrs.get("origin") == origin), None)


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
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock the kernel gives back when this process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("Another tuning of this model is running. Wait for it, or stop it.") from None
        yield
