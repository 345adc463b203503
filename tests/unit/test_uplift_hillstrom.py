"""The study of a real e-mail trial at the size of seconds, so that it runs when it is asked for."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.policy_value.logged import Gain
from pipelines.uplift.base import part
from tests.studies import hillstrom, hillstrom_tables
from tests.studies.hillstrom import ACTIONS, FILE, Effort, Figures

pytestmark = pytest.mark.skipif(not FILE.exists(), reason="no data: hillstrom.csv.gz")
SMALL = Effort(resamples=60, seeds=(11, 23), trials=3, most_rounds=20, threads=1)


@cache
def found() -> Figures:
    rows = hillstrom.read_trial()
    return hillstrom.figures(part(rows, np.arange(len(rows.reward)) < 4000), SMALL)


def test_the_trial_is_read_whole() -> None:
    rows = hillstrom.read_trial()
    assert (len(rows.reward), rows.columns.shape[1]) == (32_107, len(hillstrom.NAMES))
    assert np.bincount(rows.action).tolist() == [10_623, 10_863, 10_621]
    assert np.isfinite(rows.columns).all()
    # One place and one channel a customer.
    assert (rows.columns[:, 6:9].sum(axis=1) == 1).all()
    assert (rows.columns[:, 9:].sum(axis=1) == 1).all()


def test_the_other_e_mail_is_never_counted_as_control() -> None:
    rows = hillstrom.read_trial()
    two = hillstrom.womens_only(rows)
    assert (len(two.reward), two.actions) == (10_623 + 10_863, ACTIONS[:1])
    for arm in (0, 1):
        assert two.reward[two.action == arm].mean() == rows.reward[rows.action == arm].mean()
    assert (two.propensity == 0.5).all()


def test_known_means_come_back() -> None:
    for mean, by in found().arms.values():
        assert set(by) == {"ips", "snips", "dr"}
        assert all(one.low < mean < one.high for one in by.values())
        assert by["snips"].value == pytest.approx(mean)


def test_rankings_are_compared_with_chance() -> None:
    figures = found()
    settings = {setting for setting, _, _ in figures.rankings}
    assert settings == {*hillstrom.SETTINGS, hillstrom.TUNED}
    for setting in settings:
        random = figures.rankings[setting, "random", "qini"]
        assert (random.estimate, random.low, random.high) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
        for learner in hillstrom.LEARNERS:
            one = figures.rankings[setting, learner, "uplift"]
            assert one.low is not None
            assert one.high is not None
            assert -1.0 < one.low < one.high < 1.0
    assert figures.test_rows == pytest.approx(0.3 * figures.two_arm_rows, abs=3)
    assert figures.chosen.keys() == set(hillstrom.LEARNERS)


def test_what_is_recommended_is_what_is_shown() -> None:
    figures = found()
    assert figures.best_arm in {"nobody", "women's to all", "men's to all"}
    learned = {name for name in figures.gains if ", " in name}
    assert len(learned) == len(hillstrom.SETTINGS) * (len(hillstrom.LEARNERS) + 1)
    none = replace(figures, gains={name: Gain("dr", 0.01, -0.001, 0.02) for name in figures.gains})
    assert none.recommendation == figures.best_arm
    assert f"**Recommendation: {figures.best_arm}**" in hillstrom_tables.report(none)
    shown = replace(figures, gains={**none.gains, "t, cautious": Gain("dr", 0.01, 0.001, 0.02)})
    assert shown.recommendation == "t, cautious"
    assert "**Recommendation: t, cautious**" in hillstrom_tables.report(shown)


def test_policies_choose_one_arm_each() -> None:
    for name, shares in found().shares.items():
        assert sum(shares) == pytest.approx(1.0), name
    assert found().shares["propensity, cautious"][0] == 0.0, "propensity never says to leave somebody alone"
    assert hillstrom.choose(np.array([[0.0, 0.0, -1.0], [0.0, 0.1, 0.2]])).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_report_is_tables_of_all() -> None:
    told = hillstrom_tables.report(found())
    for words in ("IPS", "SNIPS", "Setting: tuned", "Qini", "propensity only", "| men's to all |", "0.0041 / 0.0828"):
        assert words in told
    assert "nan" not in told
