"""Who the customers are: what is fixed about each of them, drawn once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pipelines.demo.catalogue import CATEGORY_NAMES
from pipelines.demo.config import SEGMENTS, DemoConfig
from pipelines.demo.randomness import generator

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

CHANNELS = ("web", "app", "pos")
# Shares of a segment's orders by channel, in the order of CHANNELS, before each customer's own draw.
_ORDER_MIX = {"web": (0.70, 0.18, 0.12), "app": (0.15, 0.75, 0.10), "store": (0.12, 0.13, 0.75)}
_MIX_CONCENTRATION = 12.0
_MEAN_AGE_DAYS, _LONGEST_AGE_DAYS = 380.0, 1500.0


@dataclass(frozen=True, slots=True)
class Traits:
    """Columns of length n (customers). `registered` is a day index, negative before the first day.

    rate: orders a day while engaged. base: level the satisfaction returns to. silent: leaves without
    fading. left_before: had left before the first day. browsing: sessions a day without an order.
    """

    segment: Integers
    registered: Integers
    rate: Floats
    base: Floats
    silent: Flags
    left_before: Flags
    browsing: Floats
    browse_on_app: Floats
    order_mix: Floats
    favourite: Integers
    price_level: Floats
    has_email: Flags
    has_line: Flags
    email_opening: Floats
    line_opening: Floats

    @property
    def count(self) -> int:
        return len(self.segment)

    def of(self, customers: Integers) -> Traits:
        """The traits of some customers, by their indices."""
        return Traits(**{field.name: getattr(self, field.name)[customers] for field in fields(self)})


def draw_traits(config: DemoConfig) -> Traits:
    """Draw every customer's traits; the first `existing_share` of them registered before the first day."""
    rng = generator(config.seed, "traits")
    count = config.customers
    segment = rng.choice(len(SEGMENTS), count, p=[config.segment_shares[name] for name in SEGMENTS])  # type: ignore[index]
    registered = _registered(config, rng)
    base = rng.normal(0.0, config.satisfaction.base_spread, count)
    shape = config.purchase.rate_shape
    mix = np.array([_ORDER_MIX[name] for name in SEGMENTS])[segment]
    order_mix = rng.standard_gamma(mix * _MIX_CONCENTRATION)
    messaging = config.messaging
    return Traits(
        segment=segment,
        registered=registered,
        rate=rng.gamma(shape, 1.0 / (shape * config.purchase.mean_days_between), count),
        base=base,
        silent=rng.random(count) < config.leaving.silent_share,
        left_before=_left_before(config, rng, registered, base),
        browsing=config.browsing.sessions_per_day
        * rng.lognormal(-(config.browsing.spread**2) / 2, config.browsing.spread, count),
        browse_on_app=np.clip(np.array([0.2, 0.85, 0.4])[segment] + rng.normal(0.0, 0.1, count), 0.0, 1.0),
        order_mix=order_mix / order_mix.sum(axis=1, keepdims=True),
        favourite=rng.integers(0, len(CATEGORY_NAMES), count),
        price_level=rng.beta(2.0, 3.0, count),
        has_email=rng.random(count) < messaging.email_share,
        has_line=rng.random(count) < messaging.line_share,
        email_opening=_spread_share(rng, messaging.open_share, count),
        line_opening=_spread_share(rng, messaging.line_open_share, count),
    )


def _registered(config: DemoConfig, rng: np.random.Generator) -> Integers:
    existing = round(config.customers * config.existing_share)
    age = np.minimum(rng.exponential(_MEAN_AGE_DAYS, existing), _LONGEST_AGE_DAYS)
    new = np.sort(rng.integers(0, config.acquisition_days, config.customers - existing))
    return np.concatenate([-1 - np.sort(age)[::-1].astype(np.int64), new])


def _left_before(config: DemoConfig, rng: np.random.Generator, registered: Integers, base: Floats) -> Flags:
    """Leaving at the hazard of the base satisfaction between registration and the first day."""
    hazard = config.leaving.base_per_day * np.exp(-config.leaving.sensitivity * base)
    return rng.random(len(base)) < 1.0 - np.exp(-hazard * np.maximum(-registered, 0))


def _spread_share(rng: np.random.Generator, mean: float, count: int) -> Floats:
    """Shares around `mean`, by a beta distribution of concentration 4."""
    if mean in (0.0, 1.0):
        return np.full(count, mean)
    return rng.beta(4.0 * mean, 4.0 * (1.0 - mean), count)
