"""The studies of policy values at the size of seconds; at full size: python -m tests.studies.coverage, open_bandit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from pipelines.policy_value.intervals import standard_error
from tests.studies import coverage, open_bandit

REPETITIONS = 100
needs_open_bandit = pytest.mark.skipif(not open_bandit.FOLDER.exists(), reason="no data: open_bandit")


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Within what 100 repetitions of a coverage from 92 to 97 % give in 99.9 of 100 cases."""
    found = {item.estimator: item for item in coverage.figures(REPETITIONS)}
    low, high = binom.ppf(0.0005, REPETITIONS, 0.92), binom.ppf(0.9995, REPETITIONS, 0.97)
    for name in coverage.HELD_TO:
        assert low <= found[name].held <= high, name
        assert abs(found[name].bias) < 4 * found[name].root_mean_squared_error / np.sqrt(REPETITIONS)
    assert found["dm"].held < low, "DM leaves out the error of its model, and the study would see it"
    assert "| DR |" in coverage.table(list(found.values()))


def test_the_study_can_tell_customers_from_rows() -> None:
    """Errors over rows are smaller than those over customers, whose decisions have something in common."""
    world = coverage._world(np.random.default_rng(coverage.WORLDS[0]))
    ratios = []
    for repetition in range(20):
        logged, _, _ = coverage._log(world, 2_000, np.random.default_rng(repetition))
        rows = standard_error(logged.reward, np.arange(logged.rows))
        ratios.append(standard_error(logged.reward, logged.cluster) / rows)
    assert np.mean(ratios) > 1.1


def test_thompson_sampling_of_the_prior_is_a_policy_that_prefers_what_sold() -> None:
    chances = open_bandit.thompson(seed=1, draws=5_000)
    assert chances.shape == (open_bandit.POSITIONS, open_bandit.ITEMS)
    assert chances.sum(axis=1) == pytest.approx(np.ones(open_bandit.POSITIONS))
    rates = np.array(open_bandit.ALPHA) / (np.array(open_bandit.ALPHA) + np.array(open_bandit.BETA))
    assert np.corrcoef(chances[0], rates)[0, 1] > 0.5


@needs_open_bandit
def test_a_part_of_the_open_bandit_logs_gives_the_tables() -> None:
    found = open_bandit.figures(rows=1_500, resamples=50)
    assert [item.name.split(",")[0] for item in found] == ["random", "bts (prior)", "bts (shares)", "bts (daily)"]
    for judged in found:
        assert 0 < judged.truth < 0.02
        for item in judged.errors:
            assert item.error == pytest.approx(abs(item.value - judged.truth) / judged.truth)
            assert item.low <= item.value <= item.high
    assert "| DRos |" in open_bandit.table(found)
