"""The true chance of churn, exactly: no order over the horizon, given a customer's hidden state.

Given no order, the satisfaction's path is certain, so the phase is a Markov chain with known daily
transition chances. The recursion carries, for each customer, the chance of being in each phase *and*
not having ordered so far; its sum at the end is the answer. Where a campaign wave lies ahead, one
recursion runs for each arm, and they are averaged by the wave's propensities when its effect ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import numpy as np
import pyarrow as pa

from pipelines.demo.clock import DAY, OFFSET, day_start, instants
from pipelines.demo.config import ARMS, DemoConfig, WaveConfig
from pipelines.demo.course import NO_ARM, Moment, course, eligible, ratios
from pipelines.demo.dynamics import ENGAGED, FADING, GONE, leaving_chance, order_chance, settle
from pipelines.demo.identities import customer_ids
from pipelines.demo.season import factors
from pipelines.demo.traits import Floats, Traits, draw_traits


def snapshot_days(config: DemoConfig) -> tuple[int, ...]:
    """Day indices of the stated instants: every `every_days` back from the newest.

    That is the newest midnight UTC whose horizon ends before the last event, so on the last day.
    """
    truth = config.truth
    last = config.days - 1 - truth.horizon_days
    return tuple(sorted(range(last, truth.activity_days - 1, -truth.every_days)))


def day_of_instant(config: DemoConfig, as_of: int) -> int:
    """Day index of an as-of instant (microseconds UTC), for `churn_table`.

    Raises:
        ValueError: it is not 00:00 UTC.
    """
    elapsed = as_of - OFFSET - day_start(config.start)
    if elapsed % DAY:
        raise ValueError("an instant at 00:00 UTC")
    return elapsed // DAY


def churn_table(config: DemoConfig, days: Iterable[int] | None = None) -> pa.Table:
    """One row per customer who is active at each snapshot.

    `days` are day indices (default: `snapshot_days`); a snapshot stands at 00:00 UTC of its day,
    which is 07:00 in Bangkok, before any order of the day. Columns: customer_id, as_of, phase (1
    engaged, 2 fading, 3 gone), probability (of churn, given the hidden state), churned (whether it came so).

    Raises:
        ValueError: a day whose activity window or horizon is not wholly simulated.
    """
    wanted = sorted(snapshot_days(config) if days is None else set(days))
    truth = config.truth
    if wanted and not truth.activity_days <= wanted[0] <= wanted[-1] <= config.days - truth.horizon_days:
        raise ValueError(f"days between {truth.activity_days} and {config.days - truth.horizon_days}")
    traits = draw_traits(config)
    moments, ordered = {}, np.zeros((config.days, traits.count), dtype=np.bool_)
    for moment in course(config, traits):
        ordered[moment.day] = moment.outcome.ordered
        if moment.day in wanted:
            moments[moment.day] = moment
    return pa.concat_tables([_snapshot(config, traits, moments[day], ordered) for day in wanted] or [_empty()])


def _snapshot(config: DemoConfig, traits: Traits, moment: Moment, ordered: np.ndarray) -> pa.Table:
    truth, day = config.truth, moment.day
    who = np.flatnonzero(ordered[day - truth.activity_days : day].any(axis=0))
    names = customer_ids(traits.count)
    as_of = day_start(config.start + timedelta(days=day)) + OFFSET
    return pa.table(
        {
            "customer_id": [names[index] for index in who],
            "as_of": instants(np.full(len(who), as_of)),
            "phase": moment.before.phase[who],
            "probability": chance_of_no_order(config, traits, moment)[who],
            "churned": ~ordered[day : day + truth.horizon_days, who].any(axis=0),
        },
        schema=_empty().schema,
    )


def _empty() -> pa.Table:
    return pa.schema(
        [
            ("customer_id", pa.string()),
            ("as_of", pa.timestamp("us", tz="UTC")),
            ("phase", pa.int8()),
            ("probability", pa.float64()),
            ("churned", pa.bool_()),
        ]
    ).empty_table()


def chance_of_no_order(config: DemoConfig, traits: Traits, moment: Moment) -> Floats:
    """Chance (n,) that a customer does not order from the moment's morning over the horizon."""
    first, horizon = moment.day, config.truth.horizon_days
    season = factors(config.start + timedelta(days=first), horizon)
    satisfaction = moment.before.satisfaction
    chances = np.stack([moment.before.phase == phase for phase in (ENGAGED, FADING, GONE)]).astype(np.float64)
    chances = np.repeat(chances[:, None, :], len(ARMS), axis=1)  # phase, arm, customer
    waves = dict(config.waves)
    arms, ends, wave = _arms_in_force(config, moment)
    for offset in range(horizon):
        day = first + offset
        if day in waves:
            takes_part = eligible(config, traits, day, moment.last_order)
            arms = np.where(takes_part, np.arange(len(ARMS))[:, None], NO_ARM)
            ends, wave = day + config.campaign.effect_days, waves[day]
        elif day == ends:
            chances, arms = _average(chances, wave), np.full_like(arms, NO_ARM)
        chances = _one_day(config, traits, chances, satisfaction, season[offset] * ratios(config, traits.segment, arms))
        satisfaction = settle(config.satisfaction, traits, satisfaction)
    return np.asarray(_average(chances, wave)[:, 0].sum(axis=0), dtype=np.float64)


def _one_day(config: DemoConfig, traits: Traits, chances: Floats, satisfaction: Floats, pull: Floats) -> Floats:
    """Transitions of the morning, then no order: `chances` (phase, arm, customer) a day later."""
    engaged, fading, gone = chances
    leaving = leaving_chance(config.leaving, satisfaction)
    goes, recovers = 1.0 / config.leaving.fading_mean_days, config.leaving.recovery_per_day
    now_engaged = engaged * (1.0 - leaving) + fading * recovers
    now_fading = engaged * leaving * ~traits.silent + fading * (1.0 - goes - recovers)
    now_gone = gone + engaged * leaving * traits.silent + fading * goes
    keeps_engaged = 1.0 - order_chance(config, traits, ENGAGED, pull)
    keeps_fading = 1.0 - order_chance(config, traits, FADING, pull)
    return np.stack([now_engaged * keeps_engaged, now_fading * keeps_fading, now_gone])


def _arms_in_force(config: DemoConfig, moment: Moment) -> tuple[np.ndarray, int, WaveConfig | None]:
    """Arms already drawn before the snapshot, the day their effect ends, and no wave to average over.

    A wave that starts on the snapshot's own day lies ahead: its arms are not drawn yet.
    """
    running = [day for day, _ in config.waves if day < moment.day < day + config.campaign.effect_days]
    arm = moment.arm if running else np.full(len(moment.arm), NO_ARM)
    return np.tile(arm, (len(ARMS), 1)), max(running, default=NO_ARM) + config.campaign.effect_days, None


def _average(chances: Floats, wave: WaveConfig | None) -> Floats:
    """Average over the arms by propensity; without a wave ahead all arms are alike."""
    if wave is None:
        return chances
    weights = np.array([wave.propensities[arm] for arm in ARMS])  # type: ignore[index]
    mean = np.einsum("pan,a->pn", chances, weights)
    return np.repeat(mean[:, None, :], len(ARMS), axis=1)
