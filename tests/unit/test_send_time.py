"""The hour and the channel that suit a customer: found where the counts tell, and with a confidence that comes true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.catalogue import QuietHours
from pipelines.decisions.customer_clock import DAY, HOUR, MINUTE, clock_of, customer_zone
from pipelines.decisions.send_time import BestHour, best_channel, best_hour, chance_highest
from tests.reference.decisions import instants_to_send, local_minute
from tests.unit.decide_parts import NOON, action, situation

FALLBACK = 19


def _hours(**counts: int) -> list[int]:
    return [counts.get(f"h{hour}", 0) for hour in range(24)]


def _drawn(generator: np.random.Generator, chances: np.ndarray, answers: int) -> list[int]:
    return generator.multinomial(answers, chances).tolist()


def test_twenty_opens_near_eight_in_the_evening_say_so() -> None:
    found = best_hour(_hours(h19=5, h20=10, h21=5), 5, FALLBACK)
    assert found.hour == 20
    assert found.confidence is not None
    assert found.confidence > 0.99
    assert not found.is_fallback


@pytest.mark.parametrize("counts", [_hours(), _hours(h20=4)])
def test_too_few_answers_give_the_declared_hour(counts: list[int]) -> None:
    assert best_hour(counts, 5, FALLBACK) == BestHour(FALLBACK, None)
    assert best_hour(counts, 5, FALLBACK, shift=3 * HOUR).hour == FALLBACK  # on the customer's own clock already
    assert best_hour(_hours(), 0, FALLBACK).is_fallback


def test_the_day_is_a_circle_and_neighbours_count() -> None:
    assert best_hour(_hours(h23=4, h0=4, h1=4), 5, FALLBACK).hour == 0
    # Eleven around 20 against six at 3 alone.
    assert best_hour(_hours(h19=4, h20=3, h21=4, h3=6), 5, FALLBACK).hour == 20
    assert best_hour([1] * 24, 5, FALLBACK).hour == 0  # the earliest of equals


@pytest.mark.parametrize(
    ("shift", "hour"), [(0, 20), (2 * HOUR, 22), (5 * HOUR, 1), (-21 * HOUR, 23), (-90 * MINUTE, 19), (30 * MINUTE, 21)]
)
def test_hours_of_the_calendar_become_those_of_the_customer(shift: int, hour: int) -> None:
    assert best_hour(_hours(h20=20), 5, FALLBACK, shift).hour == hour


def test_confidence_grows_with_answers_and_is_low_where_every_hour_is_alike() -> None:
    grown = [best_hour(_hours(h20=count, h9=count // 2), 5, FALLBACK).confidence or 0.0 for count in (6, 12, 24, 48)]
    assert grown == sorted(grown)
    assert best_hour([2] * 24, 5, FALLBACK).confidence == pytest.approx(1 / 8, abs=1e-3)
    generator = np.random.default_rng(3)
    even = np.full(24, 1 / 24)
    found = [best_hour(_drawn(generator, even, 40), 5, FALLBACK).confidence or 0.0 for _ in range(300)]
    assert np.mean(found) < 0.5
    assert np.quantile(found, 0.95) < 0.8


def test_confidence_comes_true() -> None:
    """Rates drawn from the prior: of the answers given with a confidence near c, a share of c is right."""
    generator = np.random.default_rng(4)
    said, right = [], []
    for _ in range(6000):
        chances = generator.dirichlet(np.ones(24))
        found = best_hour(_drawn(generator, chances, int(generator.integers(5, 30))), 5, FALLBACK)
        around = np.roll(chances, 1 - found.hour).reshape(8, 3).sum(axis=1)
        said.append(found.confidence or 0.0)
        right.append(around.argmax() == 0)
    confidence, came = np.array(said), np.array(right)
    for low, high in ((0.0, 0.3), (0.3, 0.45), (0.45, 0.6), (0.6, 0.75), (0.75, 0.9), (0.9, 1.01)):
        within = (confidence >= low) & (confidence < high)
        assert within.sum() > 50
        error = 4 * np.sqrt(0.25 / within.sum()) + 0.01
        assert came[within].mean() == pytest.approx(confidence[within].mean(), abs=error)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=8, max_size=8))
def test_the_chance_of_the_highest_is_what_drawing_finds(counts: list[int]) -> None:
    shapes = np.array(counts) + 3.0
    drawn = np.random.default_rng(1).gamma(shapes, size=(20_000, 8))
    expected = (drawn.argmax(axis=1) == 0).mean()
    assert chance_highest(shapes[0], shapes[1:].tolist()) == pytest.approx(expected, abs=0.02)


def test_the_channel_that_is_answered_most() -> None:
    found = best_channel({"email": (5, 50), "line": (30, 60)}, 5, "email")
    assert found.channel == "line"
    assert found.confidence is not None
    assert found.confidence > 0.999
    # P(Beta(2, 2) > Beta(1, 1)) is 1/2; one answer of one against none known is 2/3.
    assert best_channel({"email": (1, 1), "line": (0, 0)}, 1, "line").confidence == pytest.approx(2 / 3, abs=1e-3)
    assert best_channel({"email": (1, 2), "line": (1, 2)}, 1, "line").confidence == pytest.approx(1 / 2, abs=1e-3)


def test_too_few_contacts_give_the_declared_channel() -> None:
    few = best_channel({"email": (4, 4), "line": (0, 0)}, 5, "line")
    assert (few.channel, few.confidence) == ("line", None)
    assert best_channel({}, 0, "line").channel == "line"
    with pytest.raises(ValueError, match="email: 3 of 2"):
        best_channel({"email": (3, 2)}, 5, "line")


_CHANGES = [NOON, 1_774_745_940_000_000, 1_775_314_800_000_000, 1_792_884_000_000_000, 1_792_900_000_000_000]
_ZONES = ["Asia/Bangkok", "Europe/London", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu"]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(_CHANGES).flatmap(lambda at: st.integers(at - DAY, at + DAY)),
    st.sampled_from(_ZONES),
    st.none() | st.integers(0, 23),
    st.none() | st.builds(QuietHours, st.integers(0, 1439), st.integers(0, 1439)),
    st.integers(1, 2 * DAY),
)
def test_the_instant_is_the_one_that_a_walk_over_every_minute_finds(
    as_of: int, name: str, hour: int | None, quiet: QuietHours | None, valid_for: int
) -> None:
    """Also on days on which clocks are changed."""
    zone = customer_zone(name, "Asia/Bangkok")
    offered = action(quiet_hours=quiet, ends=as_of + valid_for)
    instants = instants_to_send(offered, situation(as_of=as_of), zone)
    suits = [at for at in instants if hour is None or local_minute(zone, at) // 60 == hour]
    expected = next(iter([*suits, *instants]), None)
    until = min(as_of + valid_for, as_of + DAY)
    assert clock_of(zone, as_of).first_allowed(until, hour, quiet) == expected


@pytest.mark.parametrize(
    ("night_before", "nine"),
    [(1_774_735_200_000_000, 1_774_771_200_000_000), (1_792_879_200_000_000, 1_792_918_800_000_000)],
)
def test_in_the_night_in_which_clocks_are_changed_nine_is_nine(night_before: int, nine: int) -> None:
    """London, 2026: from 22:00 UTC it is 10 hours to 9:00 in March, when clocks go forward, and 11 in October."""
    clock = clock_of(customer_zone("Europe/London", "UTC"), night_before)
    assert clock.first_allowed(night_before + DAY, 9, None) == nine
    assert clock.first_allowed(night_before + DAY, None, QuietHours(20 * 60, 9 * 60)) == nine


@pytest.mark.parametrize("said", ["nowhere", "", "America", "../etc/passwd", "x" * 5000, "\ud800", None, 7])
def test_a_zone_that_is_none_is_the_catalogues(said: object) -> None:
    assert customer_zone(said, "Asia/Bangkok").key == "Asia/Bangkok"


def test_a_catalogue_without_a_zone_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'nowhere'"):
        customer_zone(None, "nowhere")
