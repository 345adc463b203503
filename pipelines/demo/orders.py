"""What is bought: an order's channel, products, coupon and amount. Money is int64 satang."""

from __future__ import annotations

import numpy as np

from pipelines.demo.catalogue import catalogue, choose
from pipelines.demo.config import DemoConfig
from pipelines.demo.course import Moment
from pipelines.demo.tables import Columns, number_rows
from pipelines.demo.traits import Traits

WIDTH = 8
WALK_IN = -1
ON_WEB, ON_APP, AT_TILL = 0, 1, 2
NO_COUPON = 0


def orders_of_day(config: DemoConfig, traits: Traits, moment: Moment, rng: np.random.Generator) -> Columns:
    """All orders of a day, without their time, and till receipts of people without a card.

    Columns: customer (WALK_IN for those), channel, lines (1..WIDTH), products, quantities and prices
    of shape (orders, WIDTH), of which the first `lines` count, coupon (index in ARMS, 0 for none),
    problem, total, units.
    """
    customers = np.flatnonzero(moment.outcome.ordered)
    walk_ins = rng.poisson(config.customers * config.export.walk_in_receipts_per_day_share)
    who = np.concatenate([customers, np.full(walk_ins, WALK_IN)])
    known = who != WALK_IN
    favourite = np.where(known, traits.favourite[who], rng.integers(0, 8, len(who)))
    level = np.where(known, traits.price_level[who], rng.random(len(who)))
    mix = np.cumsum(traits.order_mix[who], axis=1)
    channel = np.where(known, (rng.random(len(who))[:, None] > mix[:, :-1]).sum(axis=1), AT_TILL)
    lines = np.minimum(1 + rng.poisson(config.purchase.mean_basket_lines - 1.0, len(who)), WIDTH)
    products = choose(rng, favourite, level, WIDTH)
    quantities = 1 + (rng.random((len(who), WIDTH)) < 0.18).astype(np.int64)
    uses = (rng.random(len(who)) < config.campaign.coupon_use_share) & known & (moment.arm[who] > 0)
    prices = catalogue().prices[products]
    discounted = np.floor(prices * (1.0 - config.campaign.discount)).astype(np.int64)
    prices = np.where(uses[:, None], discounted, prices)
    counts = np.where(np.arange(WIDTH) < lines[:, None], quantities, 0)
    return number_rows(
        moment.day,
        {
            "customer": who,
            "channel": channel,
            "lines": lines,
            "products": products,
            "quantities": quantities,
            "prices": prices,
            "coupon": np.where(uses, moment.arm[who], NO_COUPON),
            "problem": np.where(known, moment.outcome.problem[who], 0),
            "total": (prices * counts).sum(axis=1),
            "units": counts.sum(axis=1),
        },
    )
