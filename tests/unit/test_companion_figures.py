"""Bootstrap figures against the same figures on rows that are really repeated, and calibration against noise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipelines.companions.calibration import calibration_of
from pipelines.companions.mean_value import deviances
from pipelines.companions.resampling import (
    mean_of,
    median_of,
    rank_correlation,
    ratio_of,
    resample,
    root_mean_of,
    share_at_top,
)


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, outcomes with ties, and a whole-numbered weight of each of 60 rows."""
    generator = np.random.default_rng(1)
    predictions = generator.gamma(1.0, 100.0, 60)
    outcomes = np.round(predictions * generator.gamma(1.0, 1.0, 60))
    return predictions, np.where(generator.random(60) < 0.3, 0.0, outcomes), generator.integers(0, 4, 60).astype(float)


def test_a_weight_is_a_row_repeated(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    predictions, outcomes, weights = rows
    again = np.repeat(np.arange(60), weights.astype(int))
    p, y = predictions[again], outcomes[again]
    top = np.argsort(-p, kind="stable")[: len(p) // 10]
    only = outcomes > 0
    slow = {
        mean_of(outcomes): y.mean(),
        root_mean_of(outcomes**2): np.sqrt((y**2).mean()),
        ratio_of(predictions, outcomes): p.sum() / y.sum(),
        median_of(outcomes, only): np.sort(y[y > 0])[(y > 0).sum() // 2],
        share_at_top(predictions, outcomes, len(top) / len(p)): y[top].sum() / y.sum(),
    }
    for figure, expected in slow.items():
        assert figure(weights[None, :])[0] == pytest.approx(expected)


def test_rank_correlation_of_the_sample_is_spearmans(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    predictions, outcomes, _ = rows
    whole = np.ones((1, 60))
    assert rank_correlation(predictions, outcomes)(whole)[0] == pytest.approx(
        spearmanr(predictions, outcomes).statistic
    )
    assert np.isnan(rank_correlation(np.ones(60), outcomes)(whole)[0])


def test_rows_that_tie_share_the_top() -> None:
    outcomes = np.array([100.0] + [0.0] * 19)
    assert share_at_top(np.ones(20), outcomes)(np.ones((1, 20)))[0] == pytest.approx(0.1)
    assert share_at_top(-np.arange(20.0), outcomes)(np.ones((1, 20)))[0] == pytest.approx(1.0)


def test_a_model_and_its_copy_do_not_differ_and_intervals_cover_the_truth() -> None:
    covered = []
    for seed in range(60):
        losses = np.random.default_rng(seed).exponential(2.0, 150)
        found = resample({name: {"loss": mean_of(losses)} for name in ("one", "two")}, np.arange(150), 300)
        difference = found["one"]["loss"].minus(found["two"]["loss"]).interval()
        assert (difference.low, difference.high) == (0.0, 0.0)
        interval = found["one"]["loss"].interval()
        covered.append(interval.low <= 2.0 <= interval.high)
    assert np.mean(covered) > 0.85


def test_customers_are_drawn_with_all_their_rows() -> None:
    """Ten rows of one customer are one observation: the interval is as wide as without the repeats."""
    losses = np.random.default_rng(2).exponential(2.0, 100)
    alone = resample({"m": {"loss": mean_of(losses)}}, np.arange(100), 400)["m"]["loss"].interval()
    customers = np.repeat(np.arange(100), 10)
    tenfold = resample({"m": {"loss": mean_of(losses[customers])}}, customers, 400)["m"]["loss"].interval()
    assert (tenfold.low, tenfold.high) == pytest.approx((alone.low, alone.high))


def test_the_deviance_is_least_at_the_mean_and_nought_where_exact() -> None:
    outcomes = np.where(np.random.default_rng(3).random(5000) < 0.5, 0.0, np.random.default_rng(4).gamma(2, 50, 5000))
    mean = outcomes.mean()
    losses = {
        factor: deviances(outcomes, np.full(5000, mean * factor), mean).mean() for factor in (0.8, 0.95, 1, 1.05, 1.2)
    }
    assert min(losses, key=lambda factor: losses[factor]) == 1
    assert deviances(np.array([30.0]), np.array([30.0]), 10.0)[0] == 0.0


def test_right_chances_have_the_error_of_noise_and_wrong_ones_more() -> None:
    generator = np.random.default_rng(5)
    chances = generator.beta(2, 3, 4000)
    came = (generator.random(4000) < chances).astype(float)
    right, wrong = calibration_of(30.0, chances, came), calibration_of(30.0, chances**2, came)
    assert right.error < 1.6 * right.noise_floor
    assert wrong.error > 4 * wrong.noise_floor
    assert sum(tenth.rows for tenth in right.tenths) == 4000
    assert len(calibration_of(30.0, np.full(50, 0.3), came[:50]).tenths) == 1
