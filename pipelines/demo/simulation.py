"""All that happens at the shop, day by day, as columns; files are made of them in `exports`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from pipelines.console import progress
from pipelines.demo.clock import HOUR, MINUTE, day_start, hours
from pipelines.demo.config import ARMS, DemoConfig
from pipelines.demo.contacts import (
    Mailbox,
    calls_of_day,
    emails_of_day,
    line_of_day,
    plan_consequences,
    refunds_of_day,
    surveys_of_day,
)
from pipelines.demo.course import Moment, course
from pipelines.demo.orders import AT_TILL, WALK_IN, orders_of_day
from pipelines.demo.randomness import generator, uniforms
from pipelines.demo.season import factors
from pipelines.demo.sessions import ORDER, events_of_sessions, sessions_of_day
from pipelines.demo.tables import Columns, number_rows, stack
from pipelines.demo.traits import Integers, Traits

TABLES = ("orders", "events", "emails", "line", "calls", "surveys", "refunds", "arms")


@dataclass(frozen=True, slots=True)
class Simulation:
    """`tables` by the names in TABLES; `at` in each is the instant, int64 microseconds UTC.

    `last` is the moment of the last day.
    """

    traits: Traits
    tables: dict[str, Columns]
    last: Moment


def simulate(config: DemoConfig, traits: Traits) -> Simulation:
    """Run the shop over all days."""
    mailbox = Mailbox(subscribed=traits.has_email.copy())
    season = factors(config.start, config.days)
    parts: dict[str, list[Columns]] = {name: [] for name in TABLES}
    rows = 0
    with progress("Simulating days", config.days) as advance:
        for moment in course(config, traits):
            today = _day(config, traits, moment, mailbox, float(season[moment.day]))
            events = today["events"]
            events["order"] = np.where(events["order"] >= 0, events["order"] + rows, -1)
            rows += len(today["orders"]["number"])
            start = day_start(config.start + timedelta(days=moment.day))
            for name, columns in today.items():
                columns["at"] = start + columns.pop("time")
                parts[name].append(columns)
            advance(1)
    return Simulation(traits, {name: stack(listed) for name, listed in parts.items()}, moment)


def registration_times(config: DemoConfig, traits: Traits) -> Integers:
    """Time of day (microseconds after midnight, 08:00 to 20:00) at which each customer registers."""
    drawn = uniforms(config.seed, "registration", np.arange(traits.count))
    return (8 * HOUR + drawn * 12 * HOUR).astype(np.int64)


def _day(config: DemoConfig, traits: Traits, moment: Moment, mailbox: Mailbox, pull: float) -> dict[str, Columns]:
    def rng(purpose: str) -> np.random.Generator:
        return generator(config.seed, purpose, moment.day)

    opens_at = np.where(moment.registers, registration_times(config, traits) + 2 * MINUTE, 0)
    orders = orders_of_day(config, traits, moment, rng("orders"))
    sessions = sessions_of_day(config, traits, moment, orders, opens_at, pull, rng("sessions"))
    events = events_of_sessions(traits, moment.day, sessions, orders, rng("events"))
    orders["time"] = _order_times(orders, events, opens_at, rng("till"))
    today = {
        "orders": orders,
        "events": events,
        "emails": emails_of_day(config, traits, moment, mailbox, rng("emails")),
        "line": line_of_day(config, traits, moment, rng("line")),
        "calls": calls_of_day(config, moment, mailbox, rng("calls")),
        "surveys": surveys_of_day(config, moment, mailbox, rng("surveys")),
        "refunds": refunds_of_day(moment, mailbox, rng("refunds")),
        "arms": _arms(moment),
    }
    plan_consequences(config, moment.day, orders, mailbox, rng("consequences"))
    return today


def _order_times(orders: Columns, events: Columns, opens_at: Integers, rng: np.random.Generator) -> Integers:
    """At the till within its hours; online, the instant of the session's order."""
    till = hours(rng, len(orders["number"]), 10.0, 20.9)
    known = orders["customer"] != WALK_IN
    time = np.maximum(till, np.where(known, opens_at[orders["customer"]], 0))
    placed = events["kind"] == ORDER
    time[events["order"][placed]] = events["time"][placed]
    return np.where(orders["channel"] == AT_TILL, time // MINUTE * MINUTE, time)


def _arms(moment: Moment) -> Columns:
    """Who was drawn into which arm this morning at 07:00, the first instant of the day's business.

    Columns: customer, arm, propensity_ppm.
    """
    wave = moment.wave
    who = np.flatnonzero(moment.arm >= 0) if wave is not None else np.zeros(0, dtype=np.int64)
    chances = np.array([round(10**6 * wave.propensities[arm]) if wave else 0 for arm in ARMS])  # type: ignore[index]
    arm = moment.arm[who]
    time = np.full(len(who), 7 * HOUR)
    return number_rows(moment.day, {"customer": who, "arm": arm, "propensity_ppm": chances[arm], "time": time})
