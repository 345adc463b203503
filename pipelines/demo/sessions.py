"""Visits to the web shop and the app: who comes, whether logged in, and what is done in which order."""

from __future__ import annotations

import numpy as np

from pipelines.demo.catalogue import catalogue, choose
from pipelines.demo.clock import DAY, MINUTE, SECOND, hours
from pipelines.demo.config import DemoConfig
from pipelines.demo.course import Moment
from pipelines.demo.dynamics import ABSENT, ENGAGED, FADING, GONE
from pipelines.demo.identities import cookie_numbers, stranger_numbers
from pipelines.demo.orders import AT_TILL, ON_APP, WIDTH
from pipelines.demo.tables import Columns, look_up, number_rows
from pipelines.demo.traits import Floats, Integers, Traits

OPEN, SEARCH, VIEW, ADD, CHECKOUT, ORDER = range(6)
STRANGER = -1
_PROSPECT_DAYS = 14
_GAP_SECONDS = 22.0
_APP_LOGGED_IN = 0.95
_LOGGED_IN_BEFORE_ORDERING = 0.6
_ABANDONED_CART, _ABANDONED_CHECKOUT = 0.14, 0.3
_SEARCHES = 0.35


def browsing_rate(config: DemoConfig, traits: Traits, moment: Moment) -> Floats:
    """Expected sessions without an order, (n,): usual while engaged, halving while fading, a rest when gone.

    In the fortnight before they register people come too, unknown to the shop.
    """
    phase = moment.outcome.phase
    faded = 0.5 ** ((moment.day - moment.fading_since) / config.browsing.fading_half_life_days)
    soon = traits.registered - moment.day
    prospect = (soon > 0) & (soon <= _PROSPECT_DAYS)
    share = np.select(
        [phase == ENGAGED, phase == FADING, phase == GONE, prospect],
        [1.0, np.where(phase == FADING, faded, 0.0), config.browsing.residual_share, 1.0],
        0.0,
    )
    return np.asarray(traits.browsing * share, dtype=np.float64)


def sessions_of_day(
    config: DemoConfig,
    traits: Traits,
    moment: Moment,
    orders: Columns,
    opens_at: Integers,
    pull: float,
    rng: np.random.Generator,
) -> Columns:
    """The day's sessions: those of online orders first, in their order, then the others.

    `opens_at` (n,) is the earliest time of day (microseconds) for each customer. Columns: customer,
    on_app, order (row of `orders`, -1 for none), knows (whether logged in from the start), logs_in
    (whether at the checkout), lines, start (time of day), cookie.
    """
    online = np.flatnonzero(orders["channel"] != AT_TILL)
    visits = np.repeat(np.arange(traits.count), rng.poisson(browsing_rate(config, traits, moment) * pull))
    strangers = rng.poisson(config.customers * config.browsing.strangers_per_day_share)
    customer = np.concatenate([orders["customer"][online], visits, np.full(strangers, STRANGER)])
    order = np.concatenate([online, np.full(len(visits) + strangers, -1)])
    count, known = len(customer), customer != STRANGER
    ordered = order >= 0
    prefers_app = rng.random(count) < traits.browse_on_app[customer]
    on_app = np.where(ordered, look_up(orders["channel"], order) == ON_APP, prefers_app & known)
    member = known & (moment.outcome.phase[customer] != ABSENT)
    share = np.where(on_app, _APP_LOGGED_IN, config.browsing.logged_in_share)
    share = np.where(ordered & ~on_app, _LOGGED_IN_BEFORE_ORDERING, share)
    knows = member & (rng.random(count) < share)
    start = np.maximum(hours(rng, count), np.where(known, opens_at[customer], 0))
    cookie = np.where(known, cookie_numbers(customer, moment.day), stranger_numbers(count, moment.day))
    return {
        "customer": customer,
        "on_app": on_app,
        "order": order,
        "knows": knows,
        "logs_in": knows | (member & ordered),
        "lines": np.where(ordered, look_up(orders["lines"], order), 0),
        "start": start,
        "cookie": cookie,
    }


def events_of_sessions(
    traits: Traits, day: int, sessions: Columns, orders: Columns, rng: np.random.Generator
) -> Columns:
    """Everything done in the sessions, as one row an event, in order within a session.

    Columns: customer, known (whether the event carries the customer), cookie, on_app, kind, time (of
    day), product, quantity, price (satang, of the product), order (row of `orders`, -1), amount
    (satang: cart at CHECKOUT, total at ORDER), search (0 to 7), hits.
    """
    counts = _counts(sessions, rng)
    kinds = np.tile(np.arange(6), len(counts))
    per_session = counts.sum(axis=1)
    kind = np.repeat(kinds, counts.ravel())
    session = np.repeat(np.arange(len(counts)), per_session)
    first_of_kind = np.cumsum(counts.ravel()) - counts.ravel()
    place = np.arange(len(kind)) - np.repeat(first_of_kind, counts.ravel())
    gaps = np.minimum(rng.exponential(_GAP_SECONDS, len(kind)), 5 * _GAP_SECONDS) * SECOND + SECOND
    elapsed = np.cumsum(gaps)
    begun = np.repeat(elapsed[np.cumsum(per_session) - per_session], per_session)
    time = np.minimum(sessions["start"][session] + (elapsed - begun).astype(np.int64), DAY - MINUTE)
    products, quantities, prices = _baskets(traits, sessions, orders, rng)
    slot = place % WIDTH
    cart = (np.where(np.arange(WIDTH) < counts[:, [ADD]], quantities, 0) * prices).sum(axis=1)
    order = sessions["order"][session]
    amount = np.where(order >= 0, look_up(orders["total"], order), cart[session])
    return number_rows(
        day,
        {
            "customer": sessions["customer"][session],
            "known": np.where(kind >= CHECKOUT, sessions["logs_in"][session], sessions["knows"][session]),
            "cookie": sessions["cookie"][session],
            "on_app": sessions["on_app"][session],
            "kind": kind,
            "time": time,
            "product": products[session, slot],
            "quantity": quantities[session, slot],
            "price": prices[session, slot],
            "order": np.where(kind == ORDER, order, -1),
            "amount": amount,
            "search": rng.integers(0, 8, len(kind)),
            "hits": rng.poisson(9.0, len(kind)),
        },
    )


def _counts(sessions: Columns, rng: np.random.Generator) -> Integers:
    """How many events of each kind a session has, (sessions, 6)."""
    count, ordered = len(sessions["customer"]), sessions["order"] >= 0
    leaves_cart = (rng.random(count) < _ABANDONED_CART) & ~ordered
    adds = np.where(ordered, sessions["lines"], leaves_cart * (1 + (rng.random(count) < 0.3)))
    views = np.maximum(rng.poisson(np.where(ordered, 0.6, 1.1)) + adds, np.where(ordered, 1, 0))
    pages = np.where(sessions["on_app"], 1, 1 + rng.poisson(0.5, count))
    checkout = ordered | (leaves_cart & sessions["logs_in"] & (rng.random(count) < _ABANDONED_CHECKOUT))
    counts = [pages, rng.poisson(_SEARCHES, count), np.minimum(views, 12), adds, checkout, ordered]
    return np.stack(counts, axis=1).astype(np.int64)


def _baskets(
    traits: Traits, sessions: Columns, orders: Columns, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers]:
    """Products, quantities and prices in view, (sessions, WIDTH); those of the order where there is one."""
    count, known = len(sessions["customer"]), sessions["customer"] != STRANGER
    favourite = np.where(known, traits.favourite[sessions["customer"]], rng.integers(0, 8, count))
    level = np.where(known, traits.price_level[sessions["customer"]], rng.random(count))
    products = choose(rng, favourite, level, WIDTH)
    ordered, order = (sessions["order"] >= 0)[:, None], sessions["order"]
    products = np.where(ordered, look_up(orders["products"], order), products)
    return products, np.where(ordered, look_up(orders["quantities"], order), 1), catalogue().prices[products]
