"""BG/NBD against the paper's published values, integration by brute force, and simulated customers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from pipelines.bg_nbd import (
    BgNbd,
    alive_probability,
    beta_nodes,
    expected_purchases,
    fit,
    log_likelihood,
    no_purchase_probability,
    seen_log_probability,
    simulate_purchases,
)
from tests.reference.repeat_buyers import likelihood, simulate

# Fader, Hardie & Lee 2005: CDNOW, in weeks; four digits, as the rounding of r shows in what is expected.
CDNOW = BgNbd(0.2426, 4.4136, 0.7929, 2.4259)
SHOP = BgNbd(0.8, 40.0, 0.9, 2.5)


def _one(*values: float) -> tuple[np.ndarray, ...]:
    return tuple(np.array([value]) for value in values)


def _expected_purchases(model: BgNbd, x: float, t_x: float, age: float, weeks: float) -> float:
    """Sum of the chances of a purchase in each of many short spans: (gap, gap + tiny]."""
    tiny, steps = 1e-6, 800
    gaps = (np.arange(steps) + 0.5) * weeks / steps
    rates = [(1 - no_purchase_probability(model, *_one(x, t_x, age), tiny, gap)[0]) / tiny for gap in gaps]
    return float(np.mean(rates) * weeks)


def test_expected_purchases_of_the_papers_spreadsheet() -> None:
    assert _expected_purchases(CDNOW, 2, 30.43, 38.86, 39) == pytest.approx(1.226, abs=5e-4)


@pytest.mark.parametrize(("weeks", "expected"), [(1.0, 0.0532), (3.0, 0.1506), (32.0, 1.0437), (78.0, 1.8576)])
def test_expected_purchases_of_a_new_customer_in_the_papers_spreadsheet(weeks: float, expected: float) -> None:
    assert _expected_purchases(CDNOW, 0, 0, 0, weeks) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("x", "t_x", "age"), [(0, 0.0, 30.0), (1, 5.0, 30.0), (3, 20.0, 25.0), (3, 25.0, 25.0)])
def test_likelihood_is_the_integral_over_all_customers(x: int, t_x: float, age: float) -> None:
    model = BgNbd(1.5, 10.0, 1.5, 3.0)
    found = np.exp(log_likelihood(model, *_one(x, t_x, age)))[0]
    assert found == pytest.approx(likelihood(model, x, t_x, age), rel=1e-3)


def test_nobody_leaves_before_a_repeat_purchase_and_silence_makes_leaving_likelier() -> None:
    assert alive_probability(SHOP, *_one(0, 0, 1e6))[0] == 1.0
    silent = alive_probability(SHOP, np.full(5, 4.0), np.full(5, 100.0), np.array([100.0, 120.0, 200.0, 800.0, 1e6]))
    assert (np.diff(silent) < 0).all()
    assert silent[-1] < 1e-3
    # Just bought (age = t_x): only the coin after that purchase stands between this customer and the next.
    assert silent[0] == pytest.approx(1 / (1 + 0.9 / (2.5 + 4 - 1)))


def test_no_purchase_is_certain_for_no_time_and_never_likelier_over_a_longer_horizon() -> None:
    history = np.array([0.0, 2.0, 9.0]), np.array([0.0, 50.0, 300.0]), np.array([80.0, 80.0, 310.0])
    assert no_purchase_probability(SHOP, *history, 0.0) == pytest.approx(1.0)
    chances = np.array([no_purchase_probability(SHOP, *history, days) for days in (1, 10, 60, 1000)])
    assert (np.diff(chances, axis=0) < 0).all()
    assert (chances >= 0).all()


def test_a_vanishing_gap_is_no_gap() -> None:
    history = np.array([0.0, 3.0]), np.array([0.0, 60.0]), np.array([70.0, 90.0])
    without = no_purchase_probability(SHOP, *history, 60.0)
    assert no_purchase_probability(SHOP, *history, 60.0, 1e-9) == pytest.approx(without)


@pytest.mark.parametrize("gap", [0.0, 25.0])
def test_no_purchase_probability_is_the_rate_among_simulated_customers(gap: float) -> None:
    buyers = simulate(SHOP, np.random.default_rng(1).uniform(30, 400, 20_000), 90.0, seed=2)
    predicted = no_purchase_probability(SHOP, buyers.x, buyers.t_x, buyers.age, 60.0, gap)
    happened = ~buyers.bought(gap, 60.0)
    for group in np.array_split(np.argsort(predicted), 8):
        noise = np.sqrt((predicted[group] * (1 - predicted[group])).sum()) / len(group)
        assert abs(predicted[group].mean() - happened[group].mean()) < 4 * noise


def test_fit_finds_the_parameters_customers_were_made_with() -> None:
    buyers = simulate(SHOP, np.random.default_rng(3).uniform(100, 500, 8000), 0.0, seed=4)
    found = fit(buyers.x, buyers.t_x, buyers.age)
    assert found.r == pytest.approx(SHOP.r, rel=0.12)
    assert found.alpha == pytest.approx(SHOP.alpha, rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(SHOP.a / (SHOP.a + SHOP.b), abs=0.03)


def test_fit_to_active_customers_alone_finds_them_too_once_it_is_told() -> None:
    buyers = simulate(SHOP, np.random.default_rng(5).uniform(30, 500, 12_000), 60.0, seed=6)
    seen = buyers.age - buyers.t_x < 90
    history = buyers.x[seen], buyers.t_x[seen], buyers.age[seen]
    told, untold = fit(*history, active=90.0), fit(*history)
    assert told.r / told.alpha == pytest.approx(SHOP.r / SHOP.alpha, rel=0.12)
    assert told.a / (told.a + told.b) == pytest.approx(SHOP.a / (SHOP.a + SHOP.b), abs=0.05)
    happened = float((~buyers.bought(0.0, 60.0))[seen].mean())
    assert no_purchase_probability(told, *history, 60.0).mean() == pytest.approx(happened, abs=0.02)
    assert no_purchase_probability(untold, *history, 60.0).mean() < happened - 0.1


def test_chance_of_being_seen_is_its_rate_among_simulated_customers() -> None:
    buyers = simulate(SHOP, np.full(20_000, 300.0), 0.0, seed=7)
    expected = float((buyers.age - np.where(buyers.x > 0, buyers.t_x, -np.inf) < 90).mean())
    assert np.exp(seen_log_probability(SHOP, np.array([300.0]), 90.0))[0] == pytest.approx(expected, abs=0.012)
    assert seen_log_probability(SHOP, np.array([89.0]), 90.0)[0] == 0.0


def test_scale_of_time_changes_alpha_alone() -> None:
    buyers = simulate(SHOP, np.random.default_rng(8).uniform(100, 500, 1500), 0.0, seed=9)
    days, weeks = fit(buyers.x, buyers.t_x, buyers.age), fit(buyers.x, buyers.t_x / 7, buyers.age / 7)
    assert (weeks.r, weeks.alpha * 7, weeks.a, weeks.b) == pytest.approx((days.r, days.alpha, days.a, days.b), rel=1e-3)


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.8), (0.5, 0.5), (1.0, 1.0), (3.0, 2000.0), (800.0, 1000.0)])
def test_nodes_give_the_moments_of_a_beta_distribution(a: float, b: float) -> None:
    nodes, weights = beta_nodes(a, b)
    assert ((nodes > 0) & (nodes < 1)).all()
    for power in range(4):
        assert (nodes**power) @ weights == pytest.approx(beta(a, b).moment(power) if power else 1.0, rel=1e-9)


def test_no_customers_is_an_error() -> None:
    with pytest.raises(ValueError, match="customers"):
        fit(np.array([]), np.array([]), np.array([]))


def test_expected_purchases_of_the_papers_spreadsheet_by_its_closed_form() -> None:
    assert expected_purchases(CDNOW, *_one(2, 30.43, 38.86), 39)[0] == pytest.approx(1.226, abs=5e-4)
    new = [expected_purchases(CDNOW, *_one(0, 0, 0), weeks)[0] for weeks in (1.0, 3.0, 32.0, 78.0)]
    assert new == pytest.approx([0.0532, 0.1506, 1.0437, 1.8576], abs=1e-3)


@pytest.mark.parametrize("a", [0.3, 0.9999999, 1.0, 2.5, 400.0])
@pytest.mark.parametrize("gap", [0.0, 15.0])
def test_expected_purchases_are_the_sum_over_short_spans(a: float, gap: float) -> None:
    """Also where the closed form is 0/0 (a = 1) and for many repeats, where its function overflows."""
    model, days, steps = BgNbd(0.8, 40.0, a, 2.5), 60.0, 2000
    for x, t_x, age in ((0.0, 0.0, 20.0), (3.0, 50.0, 60.0), (800.0, 700.0, 710.0)):
        gaps = gap + (np.arange(steps) + 0.5) * days / steps
        rates = [1 - no_purchase_probability(model, *_one(x, t_x, age), 1e-5, float(wait))[0] for wait in gaps]
        found = expected_purchases(model, *_one(x, t_x, age), days, gap)[0]
        assert found == pytest.approx(float(np.mean(rates)) / 1e-5 * days, rel=2e-3)


@pytest.mark.parametrize("gap", [0.0, 25.0])
def test_expected_purchases_are_the_mean_of_simulated_customers(gap: float) -> None:
    buyers = simulate(SHOP, np.random.default_rng(21).uniform(30, 400, 20_000), 90.0, seed=22)
    predicted = expected_purchases(SHOP, buyers.x, buyers.t_x, buyers.age, 60.0, gap)
    happened = np.array([float(((times > gap) & (times <= gap + 60.0)).sum()) for times in buyers.later])
    for group in np.array_split(np.argsort(predicted), 8):
        noise = happened[group].std() / np.sqrt(len(group))
        assert abs(predicted[group].mean() - happened[group].mean()) < 4 * noise


@pytest.mark.parametrize("gap", [0.0, 25.0])
def test_simulated_purchases_have_the_mean_and_the_zeros_of_the_formulas(gap: float) -> None:
    history = np.array([0.0, 2.0, 9.0, 30.0]), np.array([0.0, 50.0, 300.0, 89.0]), np.array([80.0, 80.0, 310.0, 90.0])
    draws = 20_000
    counts = simulate_purchases(SHOP, *history, 60.0, gap, draws, seed=5)
    assert counts.shape == (4, draws)
    expected, nothing = (
        formula(SHOP, *history, 60.0, gap) for formula in (expected_purchases, no_purchase_probability)
    )
    assert np.abs(counts.mean(axis=1) - expected) == pytest.approx(0.0, abs=4 * counts.std(axis=1).max() / draws**0.5)
    assert (counts == 0).mean(axis=1) == pytest.approx(nothing, abs=4 * 0.5 / draws**0.5)
    assert (simulate_purchases(SHOP, *history, 60.0, gap, draws, seed=5) == counts).all()
