from __future__ import annotations

import fcntl
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from scipy.stats import ttest_rel

from pipelines.artefacts import TUNING, read_json
from pipelines.boosting import learning_rows, make_folds, parameters
from pipelines.console import UserError
from pipelines.settings import Settings
from pipelines.tune import tune
from pipelines.tune.result import JudgedRows, paired
from pipelines.tune.search import JOURNAL
from pipelines.tune.space import ALWAYS, DEFAULTS, SPACE, inside
from pipelines.tune.study import open_journal, resume_study, seconds_spent, storage_of
from pipelines.tune.trials import Bench, search_all
from tests.unit.model_parts import make_dataset, make_settings, saved_dataset, small_config


@pytest.fixture
def project(tmp_path: Path) -> Settings:
    return make_settings(tmp_path)


def trials_of(journal: Path, at_random: bool = False) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    (name,) = [name for name in optuna.get_all_study_names(storage) if name.endswith("-random") == at_random]
    return optuna.load_study(study_name=name, storage=storage).trials


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


def test_the_time_budget_ends_a_fold_in_its_middle(project: Settings) -> None:
    """A trial of minutes on each fold, but for the default, which always runs to its end."""
    slow = {"rounds": 100_000, "early_stopping_rounds": 100_000}
    config = small_config(project, trials=5, budget_seconds=2.0, random_search=False, **slow)
    saved_dataset(project, config)
    journal = project.workspace.artefacts("churn") / JOURNAL
    quick = small_config(project, trials=1, random_search=False)
    tune(project, quick)
    (default,) = trials_of(journal)
    with open_journal(journal):
        study = resume_study(storage_of(journal), "slow")
        bench = Bench(
            make_folds(learning_rows(make_dataset()), 7), parameters({}, 7, 900), 0, nullcontext, lambda: None
        )
        study.add_trial(default)
        search_all(storage_of(journal), "slow", config.tune, bench)
        seconds = seconds_spent(study.trials)
        assert 2.0 <= seconds < 4.0
        assert study.trials[-1].state == TrialState.PRUNED
        assert not study.trials[-1].intermediate_values


def test_random_search_stands_beside_it_in_the_same_wall_clock(project: Settings) -> None:
    config = small_config(project, trials=6)
    saved_dataset(project, config)
    summary = tune(project, config)
    written = read_json(project.workspace.artefacts("churn") / TUNING)
    beside = written["random"]
    assert set(beside) == {"params", "rounds", "trials", "pruned", "seconds", "best_loss", "history"}
    assert beside["best_loss"] == summary.random_loss
    assert beside["trials"] >= 1, "as many as fit into that time"
    last = max((row for row in beside["history"]), key=lambda row: row["trial"])
    assert beside["seconds"] <= written["seconds"] + last["seconds"], "stopped within the trial that spent it"
    assert beside["history"][0]["origin"] == "default"
    assert beside["history"][0]["loss"] == written["default_loss"]
    drawn_at_random = trials_of(project.workspace.artefacts("churn") / JOURNAL, at_random=True)
    assert len({str(trial.params) for trial in drawn_at_random}) == len(drawn_at_random)
    against = written["differences"]["random"]
    assert len(against["folds"]) == 5
    assert against["mean"] == pytest.approx(written["best_loss"] - beside["best_loss"], abs=1e-3)
    assert "random search of the same time" in summary.text()
    alone = tune(project, small_config(project, trials=6, random_search=False))
    assert alone.random_loss is None
    assert "random" not in read_json(project.workspace.artefacts("churn") / TUNING)


def test_differences_over_folds_have_the_interval_of_a_paired_t_test() -> None:
    ours, theirs = np.array([0.50, 0.47, 0.52, 0.49, 0.51]), np.array([0.51, 0.49, 0.52, 0.50, 0.53])
    found, oracle = paired(list(ours - theirs)), ttest_rel(ours, theirs)
    assert (found.low, found.high) == pytest.approx(tuple(oracle.confidence_interval(0.95)))
    assert found.mean == pytest.approx((ours - theirs).mean())


def test_more_rows_than_wanted_are_cut_to_whole_customers(project: Settings) -> None:
    config = small_config(project, most_rows=1000)
    dataset = saved_dataset(project, config, customers=600)
    summary = tune(project, config)
    assert summary.judged == JudgedRows(rows=999, customers=333, of_rows=1800)
    assert "999 of 1,800 rows: all those of 333 customers" in summary.text()
    written = read_json(project.workspace.artefacts("churn") / TUNING)
    assert written["judged"] == {"rows": 999, "customers": 333, "of_rows": 1800}
    everything = small_config(project, most_rows=1800)
    assert tune(project, everything).study != summary.study
    assert dataset.manifest.dataset_hash in summary.study


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30), st.sampled_from(TrialState))), st.integers(0, 100))
def test_wall_clock_counts_what_ran_side_by_side_once(spans: list[tuple[int, int, TrialState]], now: int) -> None:
    """Against a count of all seconds in which a trial ran."""
    midnight = datetime(2011, 3, 1)
    trials, ran = [], set()
    for start, length, state in spans:
        end = now if state == TrialState.RUNNING else start + length
        if state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING):
            ran |= set(range(start, end))
        trials.append(
            trial_of(state, midnight + timedelta(seconds=start), midnight + timedelta(seconds=start + length))
        )
    assert seconds_spent(trials, midnight + timedelta(seconds=now)) == len(ran)


def trial_of(state: TrialState, start: datetime, end: datetime) -> optuna.trial.FrozenTrial:
    trial = optuna.trial.create_trial(state=state, value=0.5 if state == TrialState.COMPLETE else None)
    trial.datetime_start = None if state == TrialState.WAITING else start
    trial.datetime_complete = end if state.is_finished() else None
    return trial


def test_parameters_that_always_kill_are_given_up(project: Settings, tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    for _ in range(5):
        with open_journal(journal):
            study = resume_study(storage_of(journal), "study")
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
