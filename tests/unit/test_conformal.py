"""Conformal intervals: they keep their level on new customers of the same kind, whatever the quantiles were."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.companions.conformal import find_offset, least_customers, move, off_scale, on_scale

_LEVEL = 0.9


def _outcomes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A signal, and outcomes of which half are exactly 0 and the others have a long tail."""
    generator = np.random.default_rng(seed)
    signal = generator.normal(size=count)
    amounts = np.exp(signal + generator.normal(size=count))
    return signal, np.where(generator.random(count) < 0.5, 0.0, amounts)


@pytest.mark.parametrize(("width", "narrows"), [(0.0, False), (0.3, False), (6.0, True)])
def test_coverage_of_new_customers_is_the_level(width: float, narrows: bool) -> None:
    """Too narrow and too wide quantiles are mended alike: the mean over 200 draws is the level, within noise."""
    covered, offsets = [], []
    for seed in range(200):
        signal, outcomes = _outcomes(400, seed)
        scaled = on_scale(outcomes, 1.0)
        lower, upper = np.zeros(400), np.maximum(signal, 0.0) + width
        offset = find_offset(lower[:200], upper[:200], scaled[:200], _LEVEL)
        low, high = move(lower[200:], upper[200:], offset)
        covered.append(((scaled[200:] >= low) & (scaled[200:] <= high)).mean())
        offsets.append(offset)
    noise = 4 * np.std(covered) / math.sqrt(200)
    assert _LEVEL - noise <= np.mean(covered) <= _LEVEL + 1 / 201 + noise
    assert bool(np.mean(offsets) < 0) == narrows


@given(
    st.lists(st.tuples(*[st.floats(-5, 5)] * 3), min_size=9, max_size=40),
    st.sampled_from([0.6, 0.8, 0.9]),
)
def test_the_offset_is_the_least_that_covers_enough_of_the_held_out(
    rows: list[tuple[float, float, float]], level: float
) -> None:
    lower, upper, outcomes = np.array(rows).T
    offset = find_offset(lower, upper, outcomes, level)
    asked = math.ceil(round((len(rows) + 1) * level, 6))

    def covered(by: float) -> int:
        low, high = move(lower, upper, by)
        return int(((outcomes >= low - 1e-12) & (outcomes <= high + 1e-12)).sum())

    assert covered(offset) >= asked
    assert covered(offset - 1e-6) < asked or offset < -100


@given(st.floats(-3, 3), st.floats(0, 3))
def test_intervals_are_nested_in_the_offset_and_never_turned_round(offset: float, more: float) -> None:
    generator = np.random.default_rng(0)
    lower, upper = generator.normal(size=50), generator.normal(size=50)
    low, high = move(lower, upper, offset)
    lower_wide, upper_wide = move(lower, upper, offset + more)
    assert (low <= high).all()
    assert ((lower_wide <= low) & (high <= upper_wide)).all()


@given(st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=20), st.floats(1, 1e6))
def test_the_scale_keeps_order_and_leads_back(money: list[int], unit: float) -> None:
    values = np.sort(np.array(money, dtype=float))
    scaled = on_scale(values, unit)
    assert (np.diff(scaled) >= 0).all()
    assert off_scale(scaled, unit) == pytest.approx(values, rel=1e-6, abs=1e-6)


def test_too_few_customers_are_refused() -> None:
    assert least_customers(0.9) == 9
    with pytest.raises(ValueError, match="9 customers are needed, there are 8"):
        find_offset(np.zeros(8), np.ones(8), np.ones(8), 0.9)
