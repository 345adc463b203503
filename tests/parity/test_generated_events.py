"""Oracle, SQL and fold agree to the last bit on any events: late, duplicate, at window edges."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.state.plan import plan_state
from feature_repo.state.read import FeatureValue, StateReader
from feature_repo.state.tiles import LoggedEvent, decode, fold
from feature_repo.windows import DAY, HOUR, MINUTE
from tests.deep import examples
from tests.parity.harness import (
    Delivery,
    Point,
    accept,
    by_fold,
    by_oracle,
    by_sql,
    dense_log,
    differences,
    every_operation_spec,
)

SPEC = every_operation_spec()
NAMES = tuple(SPEC.by_name)
NOON = 19_000 * DAY + 12 * HOUR

# Instants pile up on the places where a window opens or closes, and one microsecond beside them.
_STEPS = st.sampled_from([0, MINUTE, 5 * MINUTE, HOUR, 12 * HOUR, DAY, 7 * DAY, 30 * DAY, 31 * DAY, 400 * DAY])
_NUDGE = st.sampled_from([-1, 0, 1, 17 * MINUTE + 3])
instants = st.builds(lambda a, b, nudge: NOON - a + b + nudge, _STEPS, _STEPS, _NUDGE)
delays = st.sampled_from([0, 1, 3 * MINUTE, HOUR, 26 * HOUR, 40 * DAY])
integers = st.sampled_from([None, 0, 1, -5, 7, 10**12, -(10**12), 10**12 + 1, 2**53 + 1])
texts = st.sampled_from(["a", "b", "c", "d", "é 'x", ""])
products = st.lists(st.fixed_dictionaries({}, optional={"product_id": st.one_of(texts, st.just(9))}), max_size=4)
properties = st.fixed_dictionaries(
    {},
    optional={
        "units": st.one_of(integers, st.sampled_from([1.5, "3", True, 2**63, 3.0])),
        "coupon": st.one_of(st.none(), texts, st.just(4)),
        "gift": st.sampled_from([True, False, 1, "true", None]),
        "products": st.lists(
            st.fixed_dictionaries({}, optional={"product_id": st.one_of(texts, st.just(9))}), max_size=4
        ),
    },
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[Delivery]:
    drawn = []
    for i in range(draw(st.integers(0, 14))):
        event_time = draw(instants)
        event = LoggedEvent(
            position=-1,
            event=draw(st.sampled_from(["Order Completed", "Order Completed", "Clicked", "Ignored"])),
            event_time=event_time,
            available_at=event_time + draw(delays) - draw(st.sampled_from([0, 0, HOUR])),
            channel=draw(st.sampled_from(["web", "pos", "app"])),
            value=draw(integers),
            properties=draw(properties),
        )
        drawn.append(Delivery(f"source-{i}", draw(st.sampled_from(["one", "two"])), event))
    repeated = draw(st.lists(st.sampled_from(drawn), max_size=4)) if drawn else []
    return draw(st.permutations(drawn + repeated))


points = st.lists(st.builds(Point, st.sampled_from(["one", "two", "nobody"]), instants), min_size=1, max_size=6)


def assert_same(left: Sequence[Sequence[FeatureValue]], right: Sequence[Sequence[FeatureValue]], what: str) -> None:
    found = differences(NAMES, left, right)
    assert not found, f"{what}: {len(found)} differences, first {found[:3]}"


@settings(max_examples=examples(80), deadline=None)
@given(deliveries(), points)
def test_three_ways_give_the_same_bits(delivered: list[Delivery], at: list[Point]) -> None:
    log = accept(delivered)
    truth = by_oracle(SPEC, NAMES, log, at)
    assert_same(truth, by_sql(SPEC, NAMES, log, at), "oracle against SQL")
    assert_same(truth, by_fold(SPEC, NAMES, log, at), "oracle against fold")


@pytest.mark.parametrize("seed", range(12))
def test_three_ways_give_the_same_bits_where_events_are_many(seed: int) -> None:
    delivered, at = dense_log(seed)
    log = accept(delivered)
    truth = by_oracle(SPEC, NAMES, log, at)
    assert_same(truth, by_sql(SPEC, NAMES, log, at), "oracle against SQL")
    assert_same(truth, by_fold(SPEC, NAMES, log, at), "oracle against fold")


def test_every_operation_takes_values_that_tell_something() -> None:
    seen: dict[str, set[FeatureValue]] = {name: set() for name in NAMES}
    for seed in range(8):
        delivered, at = dense_log(seed)
        for row in by_oracle(SPEC, NAMES, accept(delivered), at):
            for name, value in zip(NAMES, row, strict=True):
                seen[name].add(value)
    dull = [name for name, values in seen.items() if len(values) < 3 and "_5m" not in name and "_1h" not in name]
    assert not dull, dull


@settings(max_examples=examples(80), deadline=None)
@given(deliveries(), st.randoms(use_true_random=False), instants)
def test_state_does_not_depend_on_the_order_of_arrival(
    delivered: list[Delivery], chance: random.Random, later: int
) -> None:
    plan = plan_state(SPEC)
    events = [replace(d.event) for d in accept(delivered)]
    shuffled = events[:]
    chance.shuffle(shuffled)
    one = fold(plan, None, [replace(e, position=i) for i, e in enumerate(events)])
    step_by_step: bytes | None = None
    for i, event in enumerate(shuffled):
        step_by_step = fold(plan, step_by_step, [replace(event, position=i)])
    if events:
        reader = StateReader(SPEC, NAMES)
        as_of = max(later, decode(one).settled_until)
        assert reader.read(one, as_of) == reader.read(step_by_step, as_of)
        left, right = decode(one), decode(step_by_step or b"")
        assert left.streams == right.streams
        assert sorted((e.event_time, e.available_at) for e in left.waiting) == sorted(
            (e.event_time, e.available_at) for e in right.waiting
        )


@settings(max_examples=examples(50), deadline=None)
@given(deliveries(), points)
def test_features_ignore_what_arrived_after_the_as_of_instant(delivered: list[Delivery], at: list[Point]) -> None:
    log = accept(delivered)
    whole = by_sql(SPEC, NAMES, log, at)
    for row, point in enumerate(at):
        cut = [d for d in log if d.event.available_at <= point.as_of and d.event.event_time < point.as_of]
        assert_same([whole[row]], by_sql(SPEC, NAMES, cut, [point]), "whole log against the log cut at the as-of")


@settings(max_examples=examples(60), deadline=None)
@given(deliveries())
def test_an_event_handed_over_twice_changes_nothing(delivered: list[Delivery]) -> None:
    plan = plan_state(SPEC)
    events = [d.event for d in accept(delivered)]
    once = fold(plan, None, events)
    assert fold(plan, once, events) == once
