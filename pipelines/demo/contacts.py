"""What the shop sends and what comes back: newsletters, LINE messages, coupons, surveys, calls, refunds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipelines.demo.clock import HOUR, MINUTE, hours
from pipelines.demo.config import ARMS, DemoConfig
from pipelines.demo.course import Moment
from pipelines.demo.dynamics import ABSENT, ENGAGED, FADING, GONE, RESOLVED, UNCALLED
from pipelines.demo.tables import Columns, number_rows, pick, stack
from pipelines.demo.traits import Flags, Floats, Traits

DELIVERED, OPENED, CLICKED, UNSUBSCRIBED, REPLIED = range(5)
EMAIL, LINE = ARMS.index("email_coupon"), ARMS.index("line_coupon")
NEWSLETTER, COUPON = 0, 1
_LATEST_REACTION = 14 * HOUR  # after a delivery at about 09:00: still on the same day
_ENQUIRY, _PROBLEM = 0, 1


@dataclass(slots=True)
class Mailbox:
    """Who still takes e-mail, and what will follow from orders on later days."""

    subscribed: Flags
    calls: dict[int, Columns] = field(default_factory=dict)
    surveys: dict[int, Columns] = field(default_factory=dict)
    refunds: dict[int, Columns] = field(default_factory=dict)


def attention(config: DemoConfig, moment: Moment) -> Floats:
    """Share of the usual attention to messages, (n,): 1 engaged, halving while fading, 0 when gone."""
    phase = moment.outcome.phase
    days = np.where(phase == FADING, moment.day - moment.fading_since, 0)
    faded = 0.5 ** (days / config.browsing.fading_half_life_days)
    return np.where(phase == ENGAGED, 1.0, np.where(phase == FADING, faded, 0.0))


def emails_of_day(
    config: DemoConfig, traits: Traits, moment: Moment, mailbox: Mailbox, rng: np.random.Generator
) -> Columns:
    """E-mail events of the day, and who unsubscribes (taken out of the mailbox).

    Columns: customer, action, time (of day), batch (NEWSLETTER or COUPON).
    """
    messaging = config.messaging
    member = (moment.outcome.phase != ABSENT) & ~moment.registers & mailbox.subscribed
    newsletter = member & (moment.day % messaging.newsletter_every_days == 2)
    coupon = member & (moment.arm == EMAIL) & (moment.wave is not None)
    parts = []
    for batch, receives in ((NEWSLETTER, newsletter), (COUPON, coupon)):
        who = np.flatnonzero(receives)
        opens = rng.random(len(who)) < (traits.email_opening * attention(config, moment))[who]
        clicks = opens & (rng.random(len(who)) < messaging.click_share)
        tired = np.where(moment.outcome.phase[who] == FADING, 3.0, 1.0) * messaging.unsubscribe_share
        stops = opens & (rng.random(len(who)) < tired)
        mailbox.subscribed[who[stops]] = False
        parts.append(_reactions(who, batch, {OPENED: opens, CLICKED: clicks, UNSUBSCRIBED: stops}, rng))
    return number_rows(moment.day, stack(parts))


def line_of_day(config: DemoConfig, traits: Traits, moment: Moment, rng: np.random.Generator) -> Columns:
    """LINE events of the day; columns as of `emails_of_day`."""
    messaging = config.messaging
    member = (moment.outcome.phase != ABSENT) & ~moment.registers & traits.has_line
    broadcast = member & (moment.day % messaging.broadcast_every_days == 10)
    coupon = member & (moment.arm == LINE) & (moment.wave is not None)
    parts = []
    for batch, receives in ((NEWSLETTER, broadcast), (COUPON, coupon)):
        who = np.flatnonzero(receives)
        opens = rng.random(len(who)) < (traits.line_opening * attention(config, moment))[who]
        replies = opens & (rng.random(len(who)) < messaging.reply_share)
        parts.append(_reactions(who, batch, {OPENED: opens, REPLIED: replies}, rng))
    return number_rows(moment.day, stack(parts))


def _reactions(who: np.ndarray, batch: int, reactions: dict[int, Flags], rng: np.random.Generator) -> Columns:
    """A delivery to everyone at about 09:00, then each reaction after the one before."""
    time = 9 * HOUR + rng.integers(0, 20 * MINUTE, len(who))
    parts = [{"customer": who, "action": np.full(len(who), DELIVERED), "time": time}]
    time = time + np.minimum(rng.exponential(4 * HOUR, len(who)), _LATEST_REACTION - 40 * MINUTE).astype(np.int64)
    for action, reacts in reactions.items():
        time = time + rng.integers(5_000_000, 6 * MINUTE, len(who))
        rows = {"customer": who, "action": np.full(len(who), action), "time": time}
        parts.append(pick(rows, reacts))
    rows = stack(parts)
    return {**rows, "batch": np.full(len(rows["customer"]), batch)}


def plan_consequences(
    config: DemoConfig, day: int, orders: Columns, mailbox: Mailbox, rng: np.random.Generator
) -> None:
    """Put the calls, refunds and surveys that follow the day's orders into the mailbox."""
    count = len(orders["customer"])
    problem, delay = orders["problem"], rng.integers(1, 5, count)
    calls = (problem > 0) & (problem != UNCALLED)
    refunded = (problem > 0) & (rng.random(count) < config.service.refund_share)
    asked = (orders["customer"] >= 0) & (rng.random(count) < config.service.survey_share)
    for later in range(1, 5):
        _put(mailbox.calls, day + later, orders, calls & (delay == later))
    _put(mailbox.refunds, day + 6, orders, refunded)
    _put(mailbox.surveys, day + 3, orders, asked)


def _put(agenda: dict[int, Columns], day: int, orders: Columns, rows: Flags) -> None:
    kept = pick({name: orders[name] for name in ("customer", "number", "problem", "total", "units", "lines")}, rows)
    agenda[day] = stack([agenda[day], kept]) if day in agenda else kept


def calls_of_day(config: DemoConfig, moment: Moment, mailbox: Mailbox, rng: np.random.Generator) -> Columns:
    """Calls about problems of earlier orders and plain enquiries, by customers who are not gone.

    Columns: customer, topic (0 enquiry, 1 problem), solved, seconds, time (of day).
    """
    phase = moment.outcome.phase
    present = (phase == ENGAGED) | (phase == FADING)
    enquiries = np.flatnonzero((rng.random(len(phase)) < config.service.enquiries_per_day) & present)
    due = mailbox.calls.pop(moment.day, None)
    callers = due["customer"] if due is not None else np.zeros(0, dtype=np.int64)
    still = phase[callers] != GONE
    solved = due["problem"] == RESOLVED if due is not None else np.zeros(0, dtype=np.bool_)
    customer = np.concatenate([callers[still], enquiries])
    topic = np.repeat([_PROBLEM, _ENQUIRY], [int(still.sum()), len(enquiries)])
    seconds = rng.gamma(2.0, np.where(topic == _PROBLEM, 210.0, 90.0)).astype(np.int64) + 20
    return number_rows(
        moment.day,
        {
            "customer": customer,
            "topic": topic,
            "seconds": seconds,
            "solved": np.concatenate([solved[still], rng.random(len(enquiries)) < 0.93]),
            "time": hours(rng, len(customer), 8.6, 18.9),
        },
    )


def surveys_of_day(config: DemoConfig, moment: Moment, mailbox: Mailbox, rng: np.random.Generator) -> Columns:
    """Answers to the survey after an order; a score of 0 to 10 that follows the satisfaction, with noise.

    Columns: customer, order (its number), score, time (of day).
    """
    due = mailbox.surveys.pop(moment.day, None)
    who = due["customer"] if due is not None else np.zeros(0, dtype=np.int64)
    order = due["number"] if due is not None else np.zeros(0, dtype=np.int64)
    service = config.service
    mean = service.score_at_zero + service.score_slope * moment.before.satisfaction[who]
    score = np.clip(np.rint(mean + rng.normal(0.0, service.score_noise, len(who))), 0, 10).astype(np.int64)
    rows = {"customer": who, "order": order, "score": score, "time": hours(rng, len(who))}
    return number_rows(moment.day, pick(rows, moment.outcome.phase[who] != GONE))


def refunds_of_day(moment: Moment, mailbox: Mailbox, rng: np.random.Generator) -> Columns:
    """Refunds that the back office books. Columns: customer, order (its number), total, units, lines, time."""
    due = mailbox.refunds.pop(moment.day, None)
    names = ("customer", "number", "total", "units", "lines")
    kept = {name: due[name] if due is not None else np.zeros(0, dtype=np.int64) for name in names}
    order = kept.pop("number")
    return number_rows(moment.day, {**kept, "order": order, "time": hours(rng, len(order), 9.0, 17.5)})
