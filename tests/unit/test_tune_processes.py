"""Tuning in several processes: the same scores, one budget, nothing left over, and what a kill does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from pipelines.artefacts import TUNING, read_json
from pipelines.boosting import fit_fold, learning_rows, make_folds, parameters
from pipelines.console import UserError
from pipelines.settings import CHECKOUT, Settings
from pipelines.settings.models import ModelConfig
from pipelines.tune import tune
from pipelines.tune.folds import load_folds, save_folds
from pipelines.tune.search import JOURNAL
from pipelines.tune.space import DEFAULTS
from pipelines.tune.study import FINISHED
from pipelines.tune.workers import FOLDS
from tests.unit.model_parts import make_dataset, make_settings, saved_dataset, small_config
from tests.unit.test_tune import trials_of

TUNER = """
import sys
from pathlib import Path
from tests.unit.model_parts import make_settings, small_config
from pipelines.tune import tune
project = make_settings(Path(sys.argv[1]))
tune(project, small_config(project, trials=10, rounds=60, processes=int(sys.argv[2])))
"""


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def folder_of(project: Settings) -> Path:
    return project.workspace.artefacts("churn")


def config_of(project: Settings, processes: int = 2) -> ModelConfig:
    """What `TUNER` tunes."""
    return small_config(project, trials=10, rounds=60, processes=processes)


def test_folds_read_from_files_give_the_same_scores_to_the_last_bit(tmp_path: Path) -> None:
    rows = learning_rows(make_dataset(customers=800))
    save_folds(tmp_path, rows, 7)
    here, read = make_folds(rows, 7), load_folds(tmp_path, 7)
    assert [(fold.number, fold.size) for fold in here] == [(fold.number, fold.size) for fold in read]
    for params in (DEFAULTS, {**DEFAULTS, "extra_trees": True, "bagging_fraction": 0.7, "bagging_freq": 1}):
        chosen = parameters(params, 7, len(rows.labels))
        for one, other in zip(here, read, strict=True):
            ours, theirs = fit_fold(one, chosen, 40, 5), fit_fold(other, chosen, 40, 5)
            assert ours.best_score == theirs.best_score
            assert ours.best_iteration == theirs.best_iteration


def test_two_processes_judge_as_one_does_and_leave_nothing_behind(project: Settings) -> None:
    config = config_of(project)
    saved_dataset(project, config)
    summary = tune(project, config)
    trials = trials_of(folder_of(project) / JOURNAL)
    assert summary.processes == 2
    assert "2 processes" in summary.text()
    assert len([trial for trial in trials if trial.state in FINISHED]) == summary.trials == 10
    assert trials_of(folder_of(project) / JOURNAL, at_random=True), "as many as fit into the same time"
    assert summary.random_loss is not None
    assert sorted(path.name for path in folder_of(project).iterdir()) == sorted(
        ["dataset.json", "dataset.parquet", "tuning.json", "tuning.journal", "tuning.lock"]
    )
    again = tune(project, config)
    assert (again.trials, again.resumed, again.params) == (10, 10, summary.params)
    folds = make_folds(learning_rows(make_dataset()), config.tune.seed)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial in complete:
        chosen = parameters({"bagging_freq": 1, **trial.params}, config.tune.seed, 900)
        for fold in folds:
            loss = fit_fold(fold, chosen, 60, 5).best_score["valid_0"]["binary_logloss"]
            assert loss == trial.user_attrs["fold_losses"][str(fold.number)]


def test_trials_run_side_by_side_and_prune_each_other(project: Settings) -> None:
    config = small_config(project, trials=24, rounds=80, processes=2)
    saved_dataset(project, config, customers=1500)
    tune(project, config)
    trials = trials_of(folder_of(project) / JOURNAL)
    assert any(overlap(one, other) for one in trials for other in trials if one.number < other.number)
    assert any(trial.state == TrialState.PRUNED for trial in trials)


def overlap(one: FrozenTrial, other: FrozenTrial) -> bool:
    (begin, end), (other_begin, other_end) = span(one), span(other)
    return begin < other_end and other_begin < end


def span(trial: FrozenTrial) -> tuple[datetime, datetime]:
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    return trial.datetime_start, trial.datetime_complete


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False], ids=["the whole group", "the parent alone"])
def test_a_killed_tuning_in_processes_goes_on_where_it_was(project: Settings, whole_group: bool) -> None:
    """SIGKILL in the middle of trials: the workers die too, nothing is lost, nothing is judged twice."""
    config = config_of(project)
    saved_dataset(project, config, customers=1500)
    journal = folder_of(project) / JOURNAL
    with tuner(project) as process:
        wait_until_running(journal, after=2)
        workers = children_of(process.pid)
        assert len(workers) == 2
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(alive(worker) for worker in workers), "the workers die with their parent")
    assert (folder_of(project) / FOLDS).exists()

    before = trials_of(journal)
    done = [trial for trial in before if trial.state in FINISHED]
    interrupted = [trial for trial in before if trial.state == TrialState.RUNNING]
    assert 2 <= len(done) < 10
    assert interrupted
    summary = tune(project, config)
    assert not (folder_of(project) / FOLDS).exists()
    after = trials_of(journal)
    assert (summary.trials, summary.resumed) == (10, len(done))
    kept = {trial.number: (trial.params, trial.value) for trial in after}
    assert all(kept[trial.number] == (trial.params, trial.value) for trial in done)
    assert not [trial for trial in after if trial.state == TrialState.RUNNING]
    judged = [trial for trial in after if trial.state in FINISHED]
    counted = Counter(tuple(sorted(trial.params.items())) for trial in judged)
    assert max(counted.values()) == 1, "no parameters were judged twice"
    for trial in interrupted:
        assert any(trial.params.items() <= other.params.items() for other in judged), "and were tried again"


@pytest.mark.slow
def test_the_search_at_random_goes_on_after_a_kill_too(project: Settings) -> None:
    config = config_of(project)
    saved_dataset(project, config, customers=1500)
    journal = folder_of(project) / JOURNAL
    with tuner(project) as process:
        wait_until_running(journal, after=2, at_random=True)
        os.kill(process.pid, signal.SIGKILL)
    done = [trial for trial in trials_of(journal, at_random=True) if trial.state in FINISHED]
    summary = tune(project, config)
    assert (summary.trials, summary.resumed) == (10, 10)
    after = trials_of(journal, at_random=True)
    assert [(t.number, t.value) for t in done] == [
        (t.number, t.value) for t in after if t.number in {d.number for d in done}
    ]
    assert read_json(folder_of(project) / TUNING)["random"]["trials"] == summary.random_trials >= len(done)


@pytest.mark.slow
def test_ctrl_c_ends_all_at_once_and_the_study_can_go_on(project: Settings) -> None:
    config = config_of(project)
    saved_dataset(project, config, customers=1500)
    with tuner(project) as process:
        wait_until_running(folder_of(project) / JOURNAL, after=2)
        workers = children_of(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=20)
        assert not any(alive(worker) for worker in workers)
    assert not (folder_of(project) / FOLDS).exists()
    assert tune(project, config).trials == 10


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_search_with_words(project: Settings) -> None:
    config = config_of(project)
    saved_dataset(project, config, customers=1500)
    with tuner(project, errors=True) as process:
        wait_until_running(folder_of(project) / JOURNAL, after=1)
        one, other = children_of(process.pid)
        os.kill(one, signal.SIGKILL)
        assert b"UserError: A tuning process was ended by SIGKILL" in process.communicate(timeout=30)[1]
        assert not alive(other)
    assert not (folder_of(project) / FOLDS).exists()


def test_a_worker_that_fails_tells_its_error(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(project)
    saved_dataset(project, config)

    def cut_short(folder: Path, *rest: object) -> None:
        save_folds(folder, *rest)  # type: ignore[arg-type]
        (folder / "0.fit.bin").write_bytes(b"nothing that LightGBM reads")

    monkeypatch.setattr("pipelines.tune.workers.save_folds", cut_short)
    with pytest.raises(RuntimeError, match=r"(?s)a tuning process failed:.*LightGBMError"):
        tune(project, config)
    monkeypatch.undo()
    assert tune(project, config).trials == 10


def test_another_tuning_is_refused_while_workers_of_the_first_live(project: Settings) -> None:
    config = config_of(project)
    saved_dataset(project, config, customers=1500)
    with tuner(project) as process:
        wait_until_running(folder_of(project) / JOURNAL, after=1)
        with pytest.raises(UserError, match="Another tuning"):
            tune(project, config)
        process.kill()


@contextmanager
def tuner(project: Settings, errors: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A process that tunes, leader of a group of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", TUNER, str(project.workspace.checkout), "2"],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE if errors else subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def children_of(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_running(journal: Path, after: int, at_random: bool = False) -> None:
    """Until `after` trials are finished and one more is being judged."""

    def is_going() -> bool:
        try:
            states = Counter(trial.state for trial in trials_of(journal, at_random))
        except (ValueError, OSError, KeyError):
            return False
        return sum(states[state] for state in FINISHED) >= after and states[TrialState.RUNNING] > 0

    wait_until(is_going, "tuning gets going")


def wait_until(happened: object, what: str) -> None:
    assert callable(happened)
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within a minute: {what}")
