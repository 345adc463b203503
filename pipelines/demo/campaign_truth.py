"""The true effect of each arm on the orders of each customer who took part.

By Monte Carlo over the model's own dynamics: the days of the effect are played again `replicates`
times from each customer's hidden state on the wave's morning, with the same draws for every arm. The
*chances* of ordering are summed rather than the orders, which leaves only the noise of the hidden states.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from pipelines.demo.config import ARMS, SEGMENTS, DemoConfig, WaveConfig
from pipelines.demo.course import Moment, course, eligible, ratios
from pipelines.demo.dynamics import State, step
from pipelines.demo.identities import customer_ids
from pipelines.demo.other_exports import campaign_code
from pipelines.demo.randomness import generator
from pipelines.demo.season import factors
from pipelines.demo.traits import Floats, Traits, draw_traits


def campaign_table(config: DemoConfig) -> pa.Table:
    """One row per customer and wave.

    Columns: campaign_id, customer_id, segment, arm, propensity, starts, days (the effect lasts from
    00:00 Bangkok of `starts` for so many days), orders_control, orders_email_coupon, orders_line_coupon
    (expected orders in those days under each arm, given the hidden state on the first morning),
    effect_email_coupon and effect_line_coupon (their differences from control). A wave whose effect
    reaches past the last day is left out.
    """
    traits = draw_traits(config)
    inside = [wave for day, wave in config.waves if day + config.campaign.effect_days <= config.days]
    tables = [
        _wave(config, traits, moment, moment.wave)
        for moment in course(config, traits)
        if moment.wave is not None and moment.wave in inside
    ]
    return pa.concat_tables(tables) if tables else _empty()


def _wave(config: DemoConfig, traits: Traits, moment: Moment, wave: WaveConfig) -> pa.Table:
    who = np.flatnonzero(eligible(config, traits, moment.day, moment.last_order))
    before = State(moment.before.phase[who], moment.before.satisfaction[who])
    orders = {name: _expected_orders(config, traits.of(who), before, moment.day, arm) for arm, name in enumerate(ARMS)}
    names = customer_ids(traits.count)
    drawn = moment.arm[who]
    columns = {
        "campaign_id": [campaign_code(wave.starts)] * len(who),
        "customer_id": [names[index] for index in who],
        "segment": [SEGMENTS[index] for index in traits.segment[who]],
        "arm": [ARMS[index] for index in drawn],
        "propensity": [wave.propensities[ARMS[index]] for index in drawn],  # type: ignore[index]
        "starts": [wave.starts] * len(who),
        "days": [config.campaign.effect_days] * len(who),
        **{f"orders_{name}": values for name, values in orders.items()},
        **{f"effect_{name}": orders[name] - orders["control"] for name in ARMS[1:]},
    }
    return pa.table(columns, schema=_empty().schema)


def _expected_orders(config: DemoConfig, traits: Traits, before: State, first: int, arm: int) -> Floats:
    """Expected orders (n,) over the days of the effect, if everyone were in this arm."""
    shape = (config.truth.replicates, traits.count)
    state = State(np.broadcast_to(before.phase, shape), np.broadcast_to(before.satisfaction, shape))
    total = np.zeros(traits.count)
    nobody = np.zeros(traits.count, dtype=np.bool_)
    ratio = ratios(config, traits.segment, np.full(traits.count, arm))
    season = factors(config.start + timedelta(days=first), config.campaign.effect_days)
    for offset, pull in enumerate(season):
        rng = generator(config.seed, "campaign truth", first, offset)
        state, day = step(config, traits, state, nobody, pull * ratio, rng)
        total += day.order_chance.mean(axis=0)
    return total


def _empty() -> pa.Table:
    numbers = [f"orders_{arm}" for arm in ARMS] + [f"effect_{arm}" for arm in ARMS[1:]]
    texts = [(name, pa.string()) for name in ("campaign_id", "customer_id", "segment", "arm")]
    rest = [("propensity", pa.float64()), ("starts", pa.date32()), ("days", pa.int64())]
    return pa.schema([*texts, *rest, *((name, pa.float64()) for name in numbers)]).empty_table()
