"""Gamma-Gamma against integration by brute force and against simulated customers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma

from pipelines.gamma_gamma import (
    GammaGamma,
    expected_value,
    fit,
    frequency_value_correlation,
    log_likelihood,
    simulate_totals,
)

# Fader & Hardie 2013: CDNOW.
CDNOW = GammaGamma(6.25, 3.74, 15.44)
SHOP = GammaGamma(2.0, 3.5, 5000.0)


def _customers(model: GammaGamma, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Purchases, their mean value, and the true expected value of the next one."""
    generator = np.random.default_rng(seed)
    purchases = generator.integers(1, 12, count).astype(float)
    rates = generator.gamma(model.q, 1 / model.gamma, count)
    means = np.array(
        [generator.gamma(model.p, 1 / rate, int(n)).mean() for n, rate in zip(purchases, rates, strict=True)]
    )
    return purchases, means, model.p / rates


@pytest.mark.parametrize(("purchases", "mean"), [(1, 20.0), (1, 300.0), (3, 35.0), (10, 80.0)])
def test_likelihood_and_expectation_are_integrals_over_all_customers(purchases: int, mean: float) -> None:
    """A mean of n Gamma values is Gamma of n times the shape and rate; its rate is Gamma over customers."""

    def density(rate: float) -> float:
        of_mean = gamma(CDNOW.p * purchases, scale=1 / (rate * purchases)).pdf(mean)
        return float(of_mean * gamma(CDNOW.q, scale=1 / CDNOW.gamma).pdf(rate))

    whole = quad(density, 0, 5, points=[0.05, 0.2, 0.5], limit=200)[0]
    weighted = quad(lambda rate: CDNOW.p / rate * density(rate), 1e-9, 5, points=[0.05, 0.2, 0.5], limit=200)[0]
    history = np.array([float(purchases)]), np.array([mean])
    assert np.exp(log_likelihood(CDNOW, *history))[0] == pytest.approx(whole, rel=1e-6)
    assert expected_value(CDNOW, *history)[0] == pytest.approx(weighted / whole, rel=1e-5)


def test_fit_finds_the_parameters_customers_were_made_with() -> None:
    purchases, means, _ = _customers(SHOP, 8000, seed=1)
    found = fit(purchases, means)
    assert found.p == pytest.approx(SHOP.p, rel=0.08)
    assert found.q == pytest.approx(SHOP.q, rel=0.12)
    assert found.mean == pytest.approx(SHOP.mean, rel=0.05)


def test_the_unit_of_money_changes_gamma_alone() -> None:
    purchases, means, _ = _customers(SHOP, 1500, seed=2)
    pounds, pence = fit(purchases, means / 100), fit(purchases, means)
    assert (pence.p, pence.q, pence.gamma) == pytest.approx((pounds.p, pounds.q, pounds.gamma * 100), rel=1e-3)


def test_expectation_is_that_of_customers_with_such_a_history() -> None:
    purchases, means, truth = _customers(SHOP, 20_000, seed=3)
    predicted = expected_value(SHOP, purchases, means)
    for group in np.array_split(np.argsort(predicted), 8):
        assert abs(predicted[group].mean() - truth[group].mean()) < 4 * truth[group].std() / np.sqrt(len(group))


def test_simulated_totals_have_the_expected_mean_and_are_zero_for_no_purchase() -> None:
    history, draws = (np.array([1.0, 6.0, 0.0]), np.array([1500.0, 4000.0, np.nan])), 40_000
    later = np.tile(np.array([[0], [3], [2]]), (1, draws))
    totals = simulate_totals(SHOP, *history, later, seed=4)
    assert (totals[0] == 0).all()
    expected = later[:, 0] * expected_value(SHOP, *history)
    assert np.abs(totals.mean(axis=1) - expected)[1:] == pytest.approx(0, abs=5 * totals.std(axis=1).max() / draws**0.5)


def test_an_unknown_customer_is_worth_the_mean_of_all_and_a_known_one_lies_between() -> None:
    unknown = expected_value(SHOP, np.array([0.0, np.nan, 2.0]), np.array([np.nan, 10.0, 0.0]))
    assert unknown == pytest.approx(SHOP.mean)
    once, often = expected_value(SHOP, np.array([1.0, 50.0]), np.array([9000.0, 9000.0]))
    assert SHOP.mean < once < often < 9000.0


def test_correlation_of_frequency_and_value_is_seen_where_there_is_one() -> None:
    purchases, means, _ = _customers(SHOP, 4000, seed=5)
    assert frequency_value_correlation(purchases, means) == pytest.approx(0.0, abs=0.06)
    assert frequency_value_correlation(purchases, purchases * 10) == pytest.approx(1.0)
    assert frequency_value_correlation(purchases, np.full(4000, 7.0)) is None


def test_equal_values_are_expected_again() -> None:
    found = fit(np.full(200, 3.0), np.full(200, 700.0))
    assert expected_value(found, np.array([3.0]), np.array([700.0]))[0] == pytest.approx(700.0, rel=0.01)


def test_nothing_of_worth_is_an_error() -> None:
    with pytest.raises(ValueError, match="worth more than 0"):
        fit(np.array([1.0, 2.0, 0.0]), np.array([0.0, -5.0, np.nan]))
