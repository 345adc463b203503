"""Survival curves and their scores against slow sums, and hazards against a distribution that is known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from pipelines.bg_nbd import no_purchase_probability
from pipelines.boosting import LearningRows
from pipelines.companions.survival import (
    Survival,
    crps,
    daily_grid,
    kaplan_meier,
    log_likelihoods,
    probability_integral,
    times_of,
)
from pipelines.companions.time_model import PERIOD, fit_time, period_edges, person_periods
from tests.reference import companion_artefacts
from tests.reference.companion_artefacts import BUYING, HORIZON


def _exponential(rates: np.ndarray, grid: np.ndarray) -> Survival:
    return Survival(grid, np.exp(-rates[:, None] * grid))


def _drawn(rates: np.ndarray, seed: int, horizon: float = 60.0) -> np.ndarray:
    times = np.random.default_rng(seed).exponential(1 / rates)
    return np.where(times < horizon, times, np.nan)


def test_a_curve_is_exact_between_its_points_where_the_hazard_is_constant() -> None:
    curves = _exponential(np.array([0.01, 0.05]), np.array([0.0, 7.0, 21.0, 60.0]))
    assert curves.at(30.0) == pytest.approx([math.exp(-0.3), math.exp(-1.5)])
    assert curves.at(np.array([0.0, 60.0])) == pytest.approx([1.0, math.exp(-3.0)])
    assert curves.median()[1] == pytest.approx(math.log(2) / 0.05)
    assert np.isnan(curves.median()[0])


def test_crps_is_the_integral_of_squared_errors() -> None:
    rates, times = np.array([0.02, 0.02, 0.1]), np.array([13.0, np.nan, 2.0])
    found = crps(_exponential(rates, np.linspace(0, 60, 6001)), times)
    fine = (np.arange(600_000) + 0.5) / 10_000
    for rate, time, score in zip(rates, times, found, strict=True):
        came = fine >= (time if np.isfinite(time) else math.inf)
        assert score == pytest.approx(float(((1 - np.exp(-rate * fine) - came) ** 2).mean() * 60), rel=1e-3)


def test_the_true_distribution_scores_best() -> None:
    rates = np.random.default_rng(1).gamma(2.0, 0.02, 4000)
    times, grid, edges = _drawn(rates, 2), daily_grid(60.0), period_edges(60.0)
    scores = {factor: crps(_exponential(rates * factor, grid), times).mean() for factor in (0.5, 1.0, 2.0)}
    chances = {
        factor: log_likelihoods(_exponential(rates * factor, grid), times, edges).mean() for factor in (0.5, 1.0, 2.0)
    }
    assert scores[1.0] == min(scores.values())
    assert chances[1.0] == max(chances.values())


def test_log_likelihood_is_that_of_the_period() -> None:
    edges = np.array([0.0, 7.0, 14.0, 20.0])
    curves = _exponential(np.full(4, 0.1), daily_grid(20.0))
    found = log_likelihoods(curves, np.array([0.0, 7.0, 19.9, np.nan]), edges)
    left = np.exp(-0.1 * edges)
    assert np.exp(found) == pytest.approx([1 - left[1], left[1] - left[2], left[2] - left[3], left[3]])


def test_the_probability_integral_of_right_curves_is_uniform_and_that_of_wrong_ones_is_not() -> None:
    rates = np.random.default_rng(3).gamma(2.0, 0.02, 20_000)
    times, grid = _drawn(rates, 4), daily_grid(60.0)
    right = np.sort(probability_integral(_exponential(rates, grid), times, 5))
    wrong = np.sort(probability_integral(_exponential(rates * 2, grid), times, 5))
    uniform = (np.arange(20_000) + 0.5) / 20_000
    assert np.abs(right - uniform).max() < 1.63 / math.sqrt(20_000)  # Kolmogorov-Smirnov at 1 %
    assert np.abs(wrong - uniform).max() > 0.05


def test_kaplan_meier_is_the_share_without_an_event_until_then() -> None:
    times = np.array([3.0, 3.0, 10.0, np.nan, np.nan])
    assert kaplan_meier(times, np.array([0.0, 2.9, 3.0, 10.0, 60.0])) == pytest.approx([1.0, 1.0, 0.6, 0.4, 0.4])


def test_labels_are_microseconds_and_none_is_minus_one() -> None:
    assert times_of(np.array([0, 86_400_000_000, -1])) == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)


def test_person_periods_are_those_of_a_walk_through_the_weeks() -> None:
    generator = np.random.default_rng(6)
    times = np.where(generator.random(200) < 0.3, np.nan, generator.uniform(0, 60, 200))
    times[:3] = 0.0, 7.0, 59.999
    edges = period_edges(60.0)
    assert edges.tolist() == [0, 7, 14, 21, 28, 35, 42, 49, 56, 60]
    rows = LearningRows(
        generator.normal(size=(200, 2)), ("a", "b"), times, np.arange(200) % 3, np.zeros(200, dtype="datetime64[us]")
    )
    expected = []
    for row, time in enumerate(times):
        for start, end in pairwise(edges):
            came = start <= time < end
            expected.append([*rows.values[row], start, came, row % 3])
            if came:
                break
    found = person_periods(rows, times, edges)
    assert found.names == ("a", "b", PERIOD)
    assert np.column_stack([found.values, found.labels, found.folds]).tolist() == expected


def test_short_horizons_have_eight_periods() -> None:
    assert period_edges(4.0).tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]


def test_hazards_find_the_distribution_customers_were_made_with() -> None:
    """Histories of BG/NBD buyers: LightGBM's curves lie near those of the true parameters, and come true."""
    config = companion_artefacts.config("next_order")
    data = companion_artefacts.dataset("next_order", customers=6000)
    model, told = fit_time(data, config)
    test = data.part("test")
    recency, age, count = (test[name].to_numpy() for name in companion_artefacts.FEATURES[:3])
    x = count - 1
    t_x = np.where(x > 0, age - recency, 0.0)
    curves = model.predict(test)
    for day in (7.0, 30.0, HORIZON):
        truth = no_purchase_probability(BUYING, x, t_x, age, day)
        assert np.abs(curves.at(day) - truth).mean() < 0.07
        came = (times_of(test["label"].to_numpy()) < day).mean()
        assert 1 - curves.at(day).mean() == pytest.approx(came, abs=0.04)
    assert (np.diff(curves.values, axis=1) <= 0).all()
    assert told["person_periods"] > len(data.part("train"))
