from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from pipelines.artefacts import TUNING, read_json
from pipelines.console import UserError
from pipelines.settings import CHECKOUT, Settings
from pipelines.tune import tune
from pipelines.tune.search import JOURNAL
from pipelines.tune.space import ALWAYS, DEFAULTS, SPACE, inside
from pipelines.tune.study import open_study
from tests.unit.model_parts import make_settings, saved_dataset, small_config


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def trials_of(journal: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    (summary,) = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=summary.study_name, storage=storage).trials


def test_the_defaults_come_first_and_are_never_beaten_by_the_result(project: Settings) -> None:
    config = small_config(project)
    saved_dataset(project, config)
    summary = tune(project, config, also_try=[{"num_leaves": 7, "learning_rate": 0.05, "unknown": 1}])
    written = read_json(project.workspace.artefacts("churn") / TUNING)
    trials = trials_of(project.workspace.artefacts("churn") / JOURNAL)
    assert trials[0].params == DEFAULTS
    assert (trials[1].params["num_leaves"], trials[1].params["learning_rate"]) == (7, 0.05)
    assert summary.trials == 4
    assert summary.stopped_by == "trials"
    assert summary.resumed == 0
    assert summary.default_loss is not None
    assert summary.best_loss <= summary.default_loss
    assert set(written["params"]) == set(SPACE) | set(ALWAYS)
    for key in ("rounds", "trials", "pruned", "seconds", "default_loss", "best_loss", "study"):
        assert written[key] == pytest.approx(getattr(summary, key)) if key != "study" else written[key] == summary.study
    assert "0." in summary.text()
    assert "default" in summary.text()


def test_a_study_that_is_over_is_not_repeated_and_more_trials_continue_it(project: Settings) -> None:
    config = small_config(project, trials=2)
    saved_dataset(project, config)
    first = tune(project, config)
    again = tune(project, config)
    assert (again.trials, again.resumed, again.params) == (2, 2, first.params)
    longer = tune(project, small_config(project, trials=5))
    assert (longer.trials, longer.resumed) == (5, 2)
    assert longer.best_loss <= first.best_loss
    other_data = saved_dataset(project, config, seed=1)
    fresh = tune(project, config)
    assert fresh.resumed == 0
    assert other_data.manifest.dataset_hash in fresh.study


def test_the_time_budget_counts_over_all_runs(project: Settings) -> None:
    config = small_config(project, trials=1000, budget_seconds=0.5)
    saved_dataset(project, config)
    first = tune(project, config)
    assert first.stopped_by == "the time budget"
    assert 1 <= first.trials < 1000
    assert tune(project, config).trials == first.trials


TUNER = """
import sys, threading
from pathlib import Path
from tests.unit.model_parts import make_settings, small_config
from pipelines.tune import tune
project = make_settings(Path(sys.argv[1]))
tune(project, small_config(project, trials=8, rounds=60))
"""


def test_a_killed_tuning_goes_on_where_it_was(project: Settings) -> None:
    """SIGKILL in the middle of a trial, a line cut short and a lock left over: nothing lost, nothing twice."""
    config = small_config(project, trials=8, rounds=60)
    saved_dataset(project, config, customers=1000)
    journal = project.workspace.artefacts("churn") / JOURNAL
    process = subprocess.Popen(
        [sys.executable, "-c", TUNER, str(project.workspace.checkout)], cwd=CHECKOUT, stderr=subprocess.DEVNULL
    )
    _wait_until_running(journal, after=2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    before = trials_of(journal)
    done = [trial for trial in before if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    interrupted = [trial for trial in before if trial.state == TrialState.RUNNING]
    assert 2 <= len(done) < 8
    assert interrupted
    with journal.open("ab") as file:
        file.write(b'{"op_code":5,"study_id"')
    lock = Path(f"{journal}.lock")
    if not lock.is_symlink():  # the kill may have left one itself
        lock.symlink_to(journal)

    began = time.monotonic()
    summary = tune(project, config)
    assert time.monotonic() - began < 25, "the lock that was left over is not waited for"
    after = trials_of(journal)
    assert summary.trials == 8
    assert summary.resumed == len(done)
    assert after[: len(before)][0].params == DEFAULTS
    for old, new in zip(done, after, strict=False):
        assert (old.number, old.params, old.value) == (new.number, new.params, new.value)
    finished = [trial for trial in after if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert not [trial for trial in after if trial.state == TrialState.RUNNING]
    counted = Counter(tuple(sorted(trial.params.items())) for trial in finished)
    assert max(counted.values()) == 1, "no parameters were judged twice"
    for trial in interrupted:
        retried = [other for other in finished if trial.params.items() <= other.params.items()]
        assert retried, "the interrupted parameters were tried again"


def _wait_until_running(journal: Path, after: int) -> None:
    """Until `after` trials are finished and one more is being judged."""
    for _ in range(1200):
        time.sleep(0.05)
        try:
            states = Counter(trial.state for trial in trials_of(journal))
        except (ValueError, OSError, KeyError):
            continue
        if states[TrialState.COMPLETE] + states[TrialState.PRUNED] >= after and states[TrialState.RUNNING]:
            return
    raise AssertionError("tuning did not get going")


def test_parameters_that_always_kill_are_given_up(project: Settings, tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    for _ in range(5):
        with open_study(journal, "study", seed=1) as study:
            study.enqueue_trial(DEFAULTS, skip_if_exists=True)
            if any(trial.state == TrialState.WAITING for trial in study.trials):
                study.ask(SPACE)  # and the process dies here
    attempts = [trial.user_attrs.get("attempt", 1) for trial in trials_of(journal)]
    assert attempts == [1, 2, 3]


def test_two_tunings_at_once_are_refused(project: Settings) -> None:
    config = small_config(project)
    saved_dataset(project, config)
    lock = (project.workspace.artefacts("churn") / JOURNAL).with_suffix(".lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="Another tuning"):
            tune(project, config)


def test_candidates_are_cut_to_the_space() -> None:
    assert inside({"num_leaves": 500, "learning_rate": 0.01, "extra_trees": True, "max_bin": 63}) == {
        "learning_rate": 0.01,
        "extra_trees": True,
    }
