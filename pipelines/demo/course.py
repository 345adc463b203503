"""The course of the days: hidden states, orders and campaign arms of all customers, one day after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.config import ARMS, SEGMENTS, DemoConfig, WaveConfig
from pipelines.demo.dynamics import ABSENT, ENGAGED, FADING, GONE, Day, State, step
from pipelines.demo.randomness import generator
from pipelines.demo.season import factors
from pipelines.demo.traits import Flags, Floats, Integers, Traits

NEVER = -(10**6)
NO_ARM = -1


@dataclass(frozen=True, slots=True)
class Moment:
    """One day of all customers; every array has shape (n,).

    before: the state when the day began. last_order: day index of the last order before the day.
    arm: index in ARMS while an effect lasts, else NO_ARM. wave: the wave drawn this morning, if any.
    fading_since: first day of the current fading. left_on: day index of leaving, NEVER if not left.
    """

    day: int
    before: State
    outcome: Day
    registers: Flags
    last_order: Integers
    arm: NDArray[np.int64]
    wave: WaveConfig | None
    fading_since: Integers
    left_on: Integers


def course(config: DemoConfig, traits: Traits) -> Iterator[Moment]:
    """Every simulated day in order; the same for the same seed, whatever the end."""
    season = factors(config.start, config.days)
    waves = dict(config.waves)
    state = beginning(traits)
    last_order, left_on, fading_since = (np.full(traits.count, NEVER) for _ in range(3))
    arm, arm_ends = np.full(traits.count, NO_ARM), 0
    for day in range(config.days):
        wave = waves.get(day)
        if wave is not None:
            arm, arm_ends = draw_arms(config, traits, wave, day, last_order), day + config.campaign.effect_days
        elif day == arm_ends:
            arm = np.full(traits.count, NO_ARM)
        registers = traits.registered == day
        pull = season[day] * ratios(config, traits.segment, arm)
        after, outcome = step(config, traits, state, registers, pull, generator(config.seed, "day", day))
        faded = (outcome.phase == FADING) & (state.phase != FADING)
        fading_since = np.where(faded, day, fading_since)
        left_on = np.where((outcome.phase == GONE) & (state.phase != GONE), day, left_on)
        yield Moment(day, state, outcome, registers, last_order, arm, wave, fading_since, left_on)
        last_order = np.where(outcome.ordered, day, last_order)
        state = after


def beginning(traits: Traits) -> State:
    """The state before the first day: who has registered is engaged or has left already."""
    known = np.where(traits.left_before, GONE, ENGAGED)
    return State(np.where(traits.registered < 0, known, ABSENT).astype(np.int8), traits.base.copy())


def eligible(config: DemoConfig, traits: Traits, day: int, last_order: Integers) -> Flags:
    """Who takes part in a wave that starts on `day`: ordered lately, and has e-mail and LINE."""
    lately = last_order >= day - config.campaign.eligible_if_ordered_within_days
    return lately & traits.has_email & traits.has_line


def draw_arms(
    config: DemoConfig, traits: Traits, wave: WaveConfig, day: int, last_order: Integers
) -> NDArray[np.int64]:
    """Each eligible customer's arm, drawn with the wave's propensities and from nothing else."""
    draws = generator(config.seed, "arms", day).random(traits.count)
    bounds = np.cumsum([wave.propensities[arm] for arm in ARMS])[:-1]  # type: ignore[index]
    return np.where(eligible(config, traits, day, last_order), np.searchsorted(bounds, draws, side="right"), NO_ARM)


def ratios(config: DemoConfig, segment: Integers, arm: NDArray[np.int64]) -> Floats:
    """What the arm multiplies the rate of ordering by; 1 without an arm."""
    table = np.array([[*(config.campaign.ratio(name, each) for each in ARMS), 1.0] for name in SEGMENTS])
    return table[segment, arm]
