"""The paired bootstrap: its weights, its metrics on a resample, and how often its intervals hold the truth."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from pipelines.scoring.bootstrap import (
    METRICS,
    customer_counts,
    customer_weights,
    resample,
    resample_sums,
    resamples_for,
)
from pipelines.scoring.metrics import calibration_line, log_odds


def _sample(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probabilities = np.round(generator.beta(1, 2, rows), 2).clip(0.01, 0.99)
    return (generator.random(rows) < probabilities).astype(float), probabilities


def test_rows_of_a_customer_stay_together_and_as_many_customers_are_drawn_as_there_are() -> None:
    customers = np.array([0, 0, 1, 2, 2, 2])
    weights = np.concatenate(list(customer_weights(customers, 50, seed=1)))
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_few_customers_with_many_rows_are_weighed_in_slices_of_the_same_draws() -> None:
    """100,000 rows of 20 customers: 40 resamples at once would be 32 MB, and 1,000 of them 800 MB."""
    customers = np.arange(100_000) % 20
    draws = np.concatenate(list(customer_counts(20, 45, seed=4)))
    seen = 0
    for weights in customer_weights(customers, 45, seed=4):
        assert weights.size <= 2_000_000
        np.testing.assert_array_equal(weights, draws[seen : seen + len(weights)][:, customers])
        seen += len(weights)
    assert seen == 45


def test_memory_of_a_resample_does_not_grow_with_the_rows_of_a_customer() -> None:
    labels, probabilities = _sample(50_000, 5)
    tracemalloc.start()
    resample(labels, {"model": probabilities}, np.arange(50_000) % 50, resamples=200)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000_000


def test_a_draw_is_the_metric_of_the_rows_drawn() -> None:
    labels, probabilities = _sample(300, 5)
    customers = np.arange(300) // 2
    drawn = resample(labels, {"model": probabilities}, customers, resamples=8, seed=2)["model"]
    for number, weights in enumerate(np.concatenate(list(customer_weights(customers, 8, seed=2)))):
        rows = np.repeat(np.arange(300), weights.astype(int))
        y, p = labels[rows], probabilities[rows]
        expected = {"log_loss": log_loss(y, p), "auc": roc_auc_score(y, p), "brier": brier_score_loss(y, p)}
        for metric, value in expected.items():
            assert drawn.draws[METRICS.index(metric), number] == pytest.approx(value, abs=1e-9), metric


@pytest.mark.parametrize(("rows", "share"), [(300, 0.15), (3000, 0.05)])
def test_one_step_of_the_calibration_line_gives_the_interval_of_the_whole_fit(rows: int, share: float) -> None:
    """It is off by a small share of the interval's width, and by less in larger samples."""
    labels, probabilities = _sample(rows, 5)
    customers = np.arange(rows) // 2
    drawn = resample(labels, {"model": probabilities}, customers, resamples=200, seed=2)["model"]
    weights = np.concatenate(list(customer_weights(customers, 200, seed=2)))
    exact = np.stack(calibration_line(labels, log_odds(probabilities), weights))
    for metric, values in zip(("calibration_intercept", "calibration_slope"), exact, strict=True):
        interval = drawn.interval(metric)
        off = np.quantile(values, [0.025, 0.975]) - [interval.low, interval.high]
        assert np.abs(off).max() < share * (interval.high - interval.low), metric


def test_sums_are_drawn_as_the_metrics_are() -> None:
    labels, probabilities = _sample(300, 5)
    customers = np.arange(300) // 2
    sums = resample_sums(np.stack([(probabilities - labels) ** 2, np.ones(300)], axis=1), customers, 50, seed=3)
    brier = resample(labels, {"model": probabilities}, customers, 50, seed=3)["model"].interval("brier")
    assert sums.ratio(0, 1).low == pytest.approx(brier.low)
    assert sums.ratio(0, 1).estimate == pytest.approx(brier.estimate)


def test_a_large_test_has_fewer_resamples() -> None:
    assert [resamples_for(rows) for rows in (1, 100_000, 200_000, 10**9)] == [1000, 1000, 500, 200]


def test_same_seed_same_interval_and_a_model_does_not_differ_from_itself() -> None:
    labels, probabilities = _sample(200, 6)
    models = {"a": probabilities, "b": probabilities.copy()}
    first, second = (resample(labels, models, np.arange(200), 100, seed=9) for _ in range(2))
    assert first["a"].interval("auc") == second["a"].interval("auc")
    difference = first["a"].difference(first["b"], "log_loss")
    assert (difference.estimate, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_undefined_metrics_have_no_interval() -> None:
    labels, _ = _sample(100, 7)
    slope = resample(labels, {"base": np.full(100, 0.3)}, np.arange(100), 20)["base"].interval("calibration_slope")
    assert (slope.estimate, slope.low, slope.high) == (None, None, None)


def test_paired_differences_are_narrower_than_the_metrics_themselves() -> None:
    labels, probabilities = _sample(1000, 8)
    models = {"a": probabilities, "b": np.clip(probabilities + 0.01, 0.01, 0.99)}
    drawn = resample(labels, models, np.arange(1000), 300)
    alone, paired = drawn["a"].interval("log_loss"), drawn["a"].difference(drawn["b"], "log_loss")
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


@pytest.mark.parametrize("rows_a_customer", [1, 4])
def test_intervals_hold_the_truth_about_as_often_as_they_say(rows_a_customer: int) -> None:
    """All rows of a customer are copies of one; an interval that resampled rows would be half as wide at 4."""
    held = 0
    repeats, customers = 150, 120
    truth = _expected_brier()
    for seed in range(repeats):
        labels, probabilities = _sample(customers, 1000 + seed)
        rows = np.repeat(np.arange(customers), rows_a_customer)
        drawn = resample(labels[rows], {"m": probabilities[rows]}, rows, 200, seed=seed)["m"].interval("brier")
        held += drawn.low <= truth <= drawn.high
    assert 0.89 <= held / repeats <= 0.99


def _expected_brier() -> float:
    """Mean of p (1 - p), what exact probabilities cost."""
    _, probabilities = _sample(400_000, 99)
    return float(np.mean(probabilities * (1 - probabilities)))
