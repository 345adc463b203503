"""Metrics against scikit-learn, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from pipelines.scoring.metrics import (
    auc,
    calibration_error,
    calibration_line,
    equal_mass_bins,
    log_losses,
    log_odds,
    noise_floor,
    on_line,
)

# Few different probabilities, so that ties are common.
ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9).map(lambda tenth: tenth / 10)), min_size=2, max_size=60)


@given(ROWS)
def test_auc_and_log_loss_are_those_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    labels, probabilities = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = reference.log_loss(labels, probabilities, labels=[0, 1])
    assert log_losses(labels, probabilities).mean() == pytest.approx(expected)
    if len(set(labels)) == 2:
        assert auc(labels, probabilities) == pytest.approx(reference.roc_auc_score(labels, probabilities))
    else:
        assert np.isnan(auc(labels, probabilities))


def test_sure_and_wrong_costs_much_but_not_everything() -> None:
    assert log_losses(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx([27.63, 27.63], abs=0.01)


@given(ROWS)
def test_bins_never_part_equal_probabilities(rows: list[tuple[int, float]]) -> None:
    probabilities = np.array([row[1] for row in rows])
    bins = equal_mass_bins(probabilities)
    assert set(bins.tolist()) == set(range(bins.max() + 1))
    assert all(len(set(bins[probabilities == value])) == 1 for value in probabilities)
    order = np.argsort(probabilities)
    assert (np.diff(bins[order]) >= 0).all()


def test_bins_hold_equal_mass_where_nothing_ties() -> None:
    assert np.bincount(equal_mass_bins(np.linspace(0, 1, 1000))).tolist() == [100] * 10


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8])
    labels = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    # Bin of 0.2: rate 0, off by 0.2; bin of 0.8: rate 0.75, off by 0.05.
    assert calibration_error(labels, probabilities) == pytest.approx((0.2 + 0.05) / 2)
    assert calibration_error(labels, np.full(8, 0.5)) == pytest.approx(0.5 - 3 / 8)


def test_noise_floor_is_the_error_of_exact_probabilities_and_falls_with_the_sample() -> None:
    generator = np.random.default_rng(1)
    small, large = generator.uniform(0.05, 0.95, 400), generator.uniform(0.05, 0.95, 40_000)
    errors = [calibration_error((generator.random(400) < small).astype(float), small) for _ in range(400)]
    assert noise_floor(small) == pytest.approx(np.mean(errors), rel=0.1)
    assert noise_floor(large, simulations=50) == pytest.approx(noise_floor(small) / 10, rel=0.2)


def test_calibration_line_is_an_unpenalised_logistic_regression() -> None:
    generator = np.random.default_rng(2)
    scores = generator.normal(0, 2, 3000)
    labels = (generator.random(3000) < 1 / (1 + np.exp(-(0.4 + 0.6 * scores)))).astype(float)
    fitted = LogisticRegression(C=1e9).fit(scores[:, None], labels)
    intercepts, slopes = calibration_line(labels, scores)
    assert intercepts[0] == pytest.approx(fitted.intercept_[0], abs=1e-3)
    assert slopes[0] == pytest.approx(fitted.coef_[0, 0], abs=1e-3)


def test_weights_of_the_calibration_line_are_repeated_rows() -> None:
    generator = np.random.default_rng(3)
    scores = generator.normal(0, 1, 200)
    labels = (generator.random(200) < 1 / (1 + np.exp(-scores))).astype(float)
    weights = generator.integers(0, 3, (4, 200))
    intercepts, slopes = calibration_line(labels, scores, weights.astype(float))
    for row in range(4):
        alone = calibration_line(np.repeat(labels, weights[row]), np.repeat(scores, weights[row]))
        assert (intercepts[row], slopes[row]) == pytest.approx((alone[0][0], alone[1][0]), abs=1e-6)


def test_calibration_line_is_undefined_for_a_constant_and_for_one_class() -> None:
    assert np.isnan(calibration_line(np.array([0.0, 1.0, 1.0]), np.zeros(3))[1]).all()
    assert np.isnan(calibration_line(np.ones(3), np.arange(3.0))[1]).all()


def test_platts_line_undoes_what_made_probabilities_wrong() -> None:
    generator = np.random.default_rng(4)
    exact = generator.uniform(0.05, 0.95, 20_000)
    labels = (generator.random(20_000) < exact).astype(float)
    wrong = on_line(exact, 0.7, 2.0)
    intercepts, slopes = calibration_line(labels, log_odds(wrong))
    assert np.abs(on_line(wrong, intercepts[0], slopes[0]) - exact).max() < 0.02
