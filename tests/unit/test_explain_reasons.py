"""Reason codes: order, signs, words, and the sum they must keep to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.reasons import AdditivityError, check_additive, format_value, reason_codes, sigmoid

PARTS = st.lists(st.floats(-5, 5), min_size=1, max_size=12)


def test_strongest_first_with_sign_value_and_words() -> None:
    contributions = np.array([0.5, -1.2, 0.0, 0.1, -2.0])
    values, meanings = [3.0, np.nan, 7.0, 1.5], {"b": "days since b"}
    first, second, third = reason_codes(contributions, values, ["a", "b", "c", "d"], meanings=meanings)
    assert (first.feature, first.value, first.contribution) == ("b", None, -1.2)
    assert first.sentence == "days since b is empty: lowers the probability by 12.9 percentage points (-1.20 log-odds)"
    assert (second.feature, second.value) == ("a", 3.0)
    assert second.sentence.startswith("a is 3: raises the probability by 2.6 percentage points")
    assert third.feature == "d"  # c contributes nothing and is no reason


@given(PARTS, st.floats(-3, 3))
def test_change_is_what_the_probability_would_lose_without_the_contribution(parts: list[float], base: float) -> None:
    contributions = np.array([*parts, base])
    names = [f"f{i}" for i in range(len(parts))]
    reasons = reason_codes(contributions, np.zeros(len(parts)), names, top=len(parts))
    total = contributions.sum()
    sizes = [abs(reason.contribution) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(reason.contribution for reason in reasons) + base == pytest.approx(total, abs=1e-9)
    for reason in reasons:
        without = 1 / (1 + np.exp(-(total - reason.contribution)))
        assert reason.change_in_probability == pytest.approx(1 / (1 + np.exp(-total)) - without, abs=1e-12)
        assert reason.change_in_probability * reason.contribution >= 0


def test_ties_fall_in_the_order_of_the_features() -> None:
    reasons = reason_codes(np.array([0.2, -0.2, 0.2, 0.0]), np.zeros(3), ["x", "y", "z"], top=2)
    assert [reason.feature for reason in reasons] == ["x", "y"]


def test_sums_that_miss_the_score_are_refused() -> None:
    rows = np.array([[0.1, 0.2, -0.5], [0.0, 0.0, 1.0]])
    check_additive(rows, rows.sum(axis=1))
    check_additive(rows[0], rows[0].sum())
    for wrong in (rows.sum(axis=1) + np.array([0.0, 2e-9]), np.array([np.nan, 1.0])):
        with pytest.raises(AdditivityError, match="log-odds"):
            check_additive(rows, wrong)


def test_shapes_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="2 names"):
        reason_codes(np.zeros(4), np.zeros(2), ["a", "b"])


def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid([-1000.0, 0.0, 1000.0]) == pytest.approx([0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("value", "text"), [(np.nan, "empty"), (0.0, "0"), (12345.0, "12,345"), (0.12345, "0.1235"), (1234.567, "1,234.57")]
)
def test_values_for_people(value: float, text: str) -> None:
    assert format_value(value) == text
