"""What the BG/NBD model of repeat buying says of one history (Fader, Hardie & Lee 2005, Marketing Science 24(2)).

While alive, a customer buys at Poisson rate lambda ~ Gamma(r, rate alpha); after every repeat purchase
the customer is gone for good with probability p ~ Beta(a, b). x is the number of repeat purchases, t_x the
age at the last one (0 if none), T the age now (`age` in the code), all in one unit of time, counted from the
first purchase. Training and the service compute these here, with NumPy alone, so that they agree to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Parameters; `alpha` in the unit of time the histories were given in."""

    r: float
    alpha: float
    a: float
    b: float


def history(recency: Array, frequency: Array, age: Array) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """x, t_x and T from days since the last purchase, number of purchases and days since the first, shape (rows,).

    The last of the four says which rows have a purchase at all; the others' values are 0.
    """
    known = np.isfinite(recency) & np.isfinite(frequency) & np.isfinite(age) & (frequency >= 1.0)
    x, whole = np.where(known, frequency - 1.0, 0.0), np.where(known, age, 0.0)
    t_x = np.where(x > 0, np.maximum(whole - np.where(known, recency, 0.0), 0.0), 0.0)
    return x, t_x, whole, np.asarray(known)


def alive_probability(model: BgNbd, x: Array, t_x: Array, age: Array) -> Array:
    """Chance of being still alive at age; 1 for x = 0, since nobody leaves before a repeat purchase."""
    repeats = np.maximum(x, 1.0)
    gone_to_alive = (
        np.log(model.a) - np.log(model.b + repeats - 1.0)
        + (model.r + x) * np.log((model.alpha + age) / (model.alpha + t_x))
    )  # fmt: skip
    return np.asarray(np.where(x > 0, 1.0 / (1.0 + np.exp(np.minimum(gone_to_alive, 700.0))), 1.0))


def no_purchase_soon(model: BgNbd, x: Array, t_x: Array, age: Array, horizon: float) -> Array:
    """Chance of no purchase in (age, age + horizon], shape (customers,)."""
    s = model.alpha + age
    bought = -np.expm1((model.r + x) * np.log(s / (s + horizon)))
    return np.asarray(1.0 - alive_probability(model, x, t_x, age) * bought)
