"""How a customer's hidden state moves from day to day. Everything else only watches it.

A day: first customers may leave, fade or recover (at 00:00), then those who are not gone may order,
then an order may go wrong, which lowers the satisfaction from the next day on. Nothing but an order
changes the satisfaction other than its return to the base; so, given no order, its path is certain,
and the chance of no order over a horizon has an exact recursion (`churn_truth`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.config import DemoConfig, LeavingConfig, SatisfactionConfig
from pipelines.demo.traits import Flags, Floats, Traits

ABSENT, ENGAGED, FADING, GONE = 0, 1, 2, 3
Phases = NDArray[np.int8]
NO_PROBLEM, RESOLVED, UNCALLED, UNRESOLVED = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class State:
    """Before a day begins: the phase and the satisfaction, each of shape (..., n)."""

    phase: Phases
    satisfaction: Floats


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on one day, each of shape (..., n): phase during the day, orders, and how they went."""

    phase: Phases
    order_chance: Floats
    ordered: Flags
    problem: NDArray[np.int8]


def leaving_chance(config: LeavingConfig, satisfaction: Floats) -> Floats:
    """Chance that an engaged customer begins to leave at the start of a day."""
    return 1.0 - np.exp(-config.base_per_day * np.exp(-config.sensitivity * satisfaction))


def order_chance(config: DemoConfig, traits: Traits, phase: Phases | int, pull: Floats | float) -> Floats:
    """Chance of an order on a day; `pull` is what season and campaign multiply the rate by."""
    activity = np.array([0.0, 1.0, config.purchase.fading_factor, 0.0])[phase]
    return 1.0 - np.exp(-traits.rate * activity * pull)


def settle(config: SatisfactionConfig, traits: Traits, satisfaction: Floats) -> Floats:
    """One day's return of the satisfaction towards the customer's base."""
    keep = 0.5 ** (1.0 / config.half_life_days)
    return traits.base + (satisfaction - traits.base) * keep


def move(config: LeavingConfig, traits: Traits, state: State, draws: Floats) -> Phases:
    """The phase after the transitions at the start of a day; `draws` is uniform, of the state's shape."""
    leaves = draws < leaving_chance(config, state.satisfaction)
    goes = draws < 1.0 / config.fading_mean_days
    recovers = draws > 1.0 - config.recovery_per_day
    engaged = np.where(leaves, np.where(traits.silent, GONE, FADING), ENGAGED)
    fading = np.where(goes, GONE, np.where(recovers, ENGAGED, FADING))
    moved = np.where(state.phase == ENGAGED, engaged, np.where(state.phase == FADING, fading, state.phase))
    return moved.astype(np.int8)


def step(
    config: DemoConfig, traits: Traits, state: State, registers: Flags, pull: Floats | float, rng: np.random.Generator
) -> tuple[State, Day]:
    """One day. `registers` (n,) marks those who open their account on it, engaged and at their base."""
    shape = state.phase.shape
    phase = np.where(registers, np.int8(ENGAGED), move(config.leaving, traits, state, rng.random(shape)))
    chance = np.where(registers, config.purchase.first_order_share, order_chance(config, traits, phase, pull))
    ordered = rng.random(shape) < chance
    problem = _problems(config.satisfaction, ordered, rng.random(shape), rng.random(shape))
    shocks = config.satisfaction
    shock = np.array([0.0, shocks.shock_resolved, shocks.shock_uncalled, shocks.shock_unresolved])[problem]
    satisfaction = settle(config.satisfaction, traits, state.satisfaction) - shock
    return State(phase, satisfaction), Day(phase, chance, ordered, problem)


def _problems(config: SatisfactionConfig, ordered: Flags, first: Floats, second: Floats) -> NDArray[np.int8]:
    """Which orders go wrong, and whether a call follows that solves it (uniform draws in, codes out)."""
    resolved = config.call_share * config.resolved_share
    kind = np.where(second < resolved, RESOLVED, np.where(second < config.call_share, UNRESOLVED, UNCALLED))
    return np.where(ordered & (first < config.problem_share), kind, NO_PROBLEM).astype(np.int8)
