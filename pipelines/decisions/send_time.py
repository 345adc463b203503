"""At which hour, and on which channel, a customer answers: from counts, with the confidence that they allow.

Nothing is drawn: both confidences are integrals by a fixed rule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HOURS = 24
# What is believed before the first answer: each hour as if it had been answered once.
_PRIOR = 1.0
# Steps, in standard deviations, of the integral over the best block's rate.
_STEPS = tuple(-4.0 + 8.0 * step / 24 for step in range(25))
_WEIGHTS = tuple(math.exp(-step * step / 2) for step in _STEPS)
_WEIGHT = sum(_WEIGHTS)


@dataclass(frozen=True, slots=True)
class BestHour:
    """An hour of the customer's day, 0 to 23. `confidence` is None where it is the declared fallback."""

    hour: int
    confidence: float | None

    @property
    def is_fallback(self) -> bool:
        return self.confidence is None


@dataclass(frozen=True, slots=True)
class BestChannel:
    """A channel, and the chance that no other is answered more often; None where it is the declared fallback."""

    channel: str
    confidence: float | None


def best_hour(counts: Sequence[int], at_least: int, fallback_hour: int, shift: int = 0) -> BestHour:
    """The hour around which most contacts were answered, of counts by hour of a calendar, shape (24,).

    `shift` is how many microseconds the customer's clock is ahead of that calendar; an hour that straddles two of the
    customer's is the one that its middle lies in. With fewer than `at_least` answers it is `fallback_hour`.

    Hours are smoothed by 1/4, 1/2, 1/4, and the highest is taken, the earliest of equals. The confidence: the day is
    cut into 8 blocks of three hours, one around the best hour; it is the chance that the rate of this block is the
    highest, under a Dirichlet prior of 1 an hour.
    """
    if sum(counts) < at_least or not any(counts):
        return BestHour(fallback_hour, None)
    hour, confidence = _best_of(tuple(counts))
    minutes = hour * 60 + 30 + shift // 60_000_000
    return BestHour(minutes // 60 % HOURS, confidence)


@lru_cache(maxsize=4096)
def _best_of(counts: tuple[int, ...]) -> tuple[int, float]:
    smooth = [counts[hour - 1] + 2 * counts[hour] + counts[(hour + 1) % HOURS] for hour in range(HOURS)]
    hour = smooth.index(max(smooth))
    around = [counts[(hour - 1 + step) % HOURS] for step in range(HOURS)]
    blocks = [sum(around[begins : begins + 3]) + 3 * _PRIOR for begins in range(0, HOURS, 3)]
    return hour, chance_highest(blocks[0], blocks[1:])


def chance_highest(shape: float, others: Sequence[float]) -> float:
    """The chance that the first share of a Dirichlet distribution is the highest of all.

    Shares are gamma variables over their sum, and the root of a gamma variable is nearly normal with mean
    sqrt(shape - 1/4) and variance 1/4 (Wilson and Hilferty 1931 compare it with the cube root), so that the chance is
    the mean, over the first root, of the product of the others' distribution functions.
    """
    groups: dict[float, int] = {}
    for other in others:
        groups[other] = groups.get(other, 0) + 1
    mean = _root(shape)
    behind = [(mean - _root(other), times) for other, times in groups.items()]
    total = 0.0
    for step, weight in zip(_STEPS, _WEIGHTS, strict=True):
        product = weight
        for ahead, times in behind:
            product *= _normal(ahead + step) ** times
        total += product
    return total / _WEIGHT


def _root(shape: float) -> float:
    """The mean of twice the root of a gamma variable, whose variance is then 1."""
    return 2 * math.sqrt(max(shape - 0.25, 0.0))


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def best_channel(contacts: Mapping[str, tuple[int, int]], at_least: int, fallback: str) -> BestChannel:
    """The channel that is answered most often, of (answered, delivered) contacts by channel.

    The rate of a channel is Beta(1 + answered, 1 + delivered - answered); the highest mean is taken, the first of
    equals, and its confidence is the chance that its rate is the highest (by the integral of its density times the
    others' distribution functions). With fewer than `at_least` contacts delivered it is `fallback`.

    Raises:
        ValueError: more contacts were answered than delivered.
    """
    for channel, (answered, delivered) in contacts.items():
        if not 0 <= answered <= delivered:
            raise ValueError(f"{channel}: {answered} of {delivered} contacts answered")
    if sum(delivered for _, delivered in contacts.values()) < max(at_least, 1):
        return BestChannel(fallback, None)
    best = max(contacts, key=lambda channel: (contacts[channel][0] + 1) / (contacts[channel][1] + 2))
    others = tuple(counted for channel, counted in contacts.items() if channel != best)
    return BestChannel(best, _chance_best(contacts[best], others))


@lru_cache(maxsize=65_536)
def _chance_best(best: tuple[int, int], others: tuple[tuple[int, int], ...]) -> float:
    mass = _beta_masses(*best)
    for other in others:
        of_other = _beta_masses(*other)
        # Within one cell either is higher with the same chance.
        mass = mass * (np.cumsum(of_other) - of_other / 2)
    return float(mass.sum())


_CELLS = 1000
_RATES = (np.arange(_CELLS) + 0.5) / _CELLS
_LOG, _LOG_REST = np.log(_RATES), np.log1p(-_RATES)


def _beta_masses(answered: int, delivered: int) -> NDArray[np.float64]:
    """How likely each cell of (0, 1) is to hold the rate, shape (cells,)."""
    logs = answered * _LOG + (delivered - answered) * _LOG_REST
    weights = np.exp(logs - logs.max())
    masses: NDArray[np.float64] = weights / weights.sum()
    return masses
