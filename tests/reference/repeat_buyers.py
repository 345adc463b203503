"""Slow and obvious: customers who buy and leave as BG/NBD says, one purchase after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import dblquad
from scipy.special import beta, gamma

from feature_repo.bg_nbd import BgNbd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Buyers:
    """Histories of repeat purchases at `age`, and how long after it the later ones came."""

    x: Floats
    t_x: Floats
    age: Floats
    later: tuple[Floats, ...]

    def bought(self, gap: float, horizon: float) -> NDArray[np.bool_]:
        """Whether each bought in (age + gap, age + gap + horizon]."""
        return np.array([bool(np.any((t > gap) & (t <= gap + horizon))) for t in self.later])


def simulate(model: BgNbd, ages: Floats, until: float, seed: int) -> Buyers:
    generator = np.random.default_rng(seed)
    x, t_x, later = [], [], []
    for age in ages:
        rate = generator.gamma(model.r, 1 / model.alpha)
        leaves = generator.beta(model.a, model.b)
        times: list[float] = []
        clock = 0.0
        while True:
            clock += generator.exponential(1 / rate)
            if clock > age + until:
                break
            times.append(clock)
            if generator.random() < leaves:
                break
        before = [t for t in times if t <= age]
        x.append(len(before))
        t_x.append(before[-1] if before else 0.0)
        later.append(np.array([t - age for t in times if t > age]))
    return Buyers(np.array(x, float), np.array(t_x), np.asarray(ages, float), tuple(later))


def likelihood(model: BgNbd, x: int, t_x: float, age: float) -> float:
    """Of one history, by integrating over the rate and the chance of leaving (paper, section 3)."""

    scale = beta(model.a, model.b) * gamma(model.r) / model.alpha**model.r

    def of_one(p: float, rate: float) -> float:
        alive = (1 - p) ** x * rate**x * np.exp(-rate * age)
        gone = p * (1 - p) ** (x - 1) * rate**x * np.exp(-rate * t_x) if x > 0 else 0.0
        of_p = p ** (model.a - 1) * (1 - p) ** (model.b - 1)
        of_rate = rate ** (model.r - 1) * np.exp(-model.alpha * rate)
        return float((alive + gone) * of_p * of_rate / scale)

    return float(dblquad(of_one, 0, 40 * model.r / model.alpha, 0, 1)[0])
