"""The window rule: floored start, strict end, hops by length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.windows import DAY, HOUR, LIFETIME, MINUTE, floor, hop, parse_window


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (5 * MINUTE, 5 * MINUTE),
        (12 * HOUR - 1, 5 * MINUTE),
        (12 * HOUR, HOUR),
        (12 * DAY - 1, HOUR),
        (12 * DAY, DAY),
        (365 * DAY, DAY),
    ],
)
def test_hop_grows_with_the_window(length: int, expected: int) -> None:
    assert hop(length) == expected


@pytest.mark.parametrize("label", ["0d", "7", "d7", "7w", "4m", "-1d", "3661d", "07d", "", "Lifetime", "7d "])
def test_other_labels_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="window"):
        parse_window(label)


def test_start_is_floored_to_the_hop() -> None:
    noon = 20_000 * DAY + 12 * HOUR + 34 * MINUTE
    assert parse_window("30d").start(noon) == (20_000 - 30) * DAY
    assert parse_window("7d").start(noon) == noon - 34 * MINUTE - 7 * DAY
    assert parse_window("1h").start(noon) == noon - 4 * MINUTE - HOUR
    assert LIFETIME.start(noon) is None


@given(st.integers(-(2**55), 2**55), st.sampled_from([5 * MINUTE, HOUR, DAY]))
def test_floor_is_the_latest_multiple_not_after(instant: int, width: int) -> None:
    floored = floor(instant, width)
    assert floored % width == 0
    assert floored <= instant < floored + width


@given(st.integers(0, 2**52), st.integers(0, 400 * DAY), st.sampled_from(["5m", "7d", "90d"]))
def test_a_window_only_loses_the_past_as_time_passes(as_of: int, passed: int, label: str) -> None:
    window = parse_window(label)
    before, after = window.start(as_of), window.start(as_of + passed)
    assert before is not None
    assert after is not None
    assert after >= before
