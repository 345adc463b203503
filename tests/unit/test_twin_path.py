"""How a customer came to where they stand: the path of stages and of the relationship, each step with what moved it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo.state.tiles import LoggedEvent
from feature_repo.windows import HOUR
from pipelines.events.moments import decode as decode_moments
from pipelines.events.moments import fold_moments, moment_of
from pipelines.twin.fold import TwinFold
from pipelines.twin.ruled import holding
from pipelines.twin.state import Standing, Twin
from tests.unit.twin_parts import CUSTOMER, at, features_at, fold, happened, settings, twin_of


def order(day: float, number: int = 1, **more: object) -> LoggedEvent:
    return happened("Order Completed", day, order_id=f"o{number}", total=10_000, **more)  # type: ignore[arg-type]


def viewed(day: float) -> LoggedEvent:
    return happened("Product Viewed", day, product_id="p1")


def steps(standing: Standing) -> list[tuple[str, float, str | None]]:
    return [
        (step.stage, (step.at - at(0)) / (24 * HOUR), step.moved_by and step.moved_by.event) for step in standing.path
    ]


def test_the_stages_of_a_journey_and_the_events_that_moved_it() -> None:
    events = [
        happened("Page Viewed", 0), viewed(1), happened("Product Added", 2, product_id="p1", price=100),
        order(3, 1), order(4, 2), order(5, 3),
    ]  # fmt: skip
    twin = twin_of(events, 6)
    assert steps(twin.stage) == [
        ("awareness", 0, "Page Viewed"),
        ("consideration", 1, "Product Viewed"),
        ("decision", 2, "Product Added"),
        ("usage", 3, "Order Completed"),
        ("retention", 5, "Order Completed"),
    ]
    assert (twin.stage.stage, twin.stage.since, twin.stage.path_is_whole) == ("retention", at(5), True)
    assert [cited.event for cited in twin.stage.now.evidence] == ["Order Completed"] * 3
    assert twin.stage.now.features == {"order_completed_count_lifetime": 3}
    assert twin_of(events, 2.5).stage.stage == "decision"  # as of any instant


def test_a_stage_that_lapses_was_moved_by_nothing_but_time() -> None:
    """The view leaves its window of 30 days at the end of the day on which it is 30 days old."""
    events = [viewed(0), happened("Page Viewed", 50)]
    twin = twin_of(events, 51)
    (first, second) = twin.stage.path
    assert (first.stage, first.moved_by and first.moved_by.event) == ("consideration", "Product Viewed")
    assert (second.stage, second.moved_by) == ("awareness", None)
    assert second.at == -(-at(30) // (24 * HOUR)) * 24 * HOUR  # the first midnight from then on


def test_the_relationship_starts_goes_forward_and_backward_with_what_did_it() -> None:
    events = [happened("Page Viewed", 0), order(1), happened("Order Refunded", 5, order_id="o1", total=10_000)]
    twin = twin_of(events, 6)
    assert steps(twin.relationship) == [
        ("start", 0, "Page Viewed"),
        ("forward", 1, "Order Completed"),
        ("backward", 5, "Order Refunded"),
    ]
    assert [cited.event for cited in twin.relationship.now.evidence] == ["Order Refunded", "Order Completed"]
    assert twin.dropped_at is None


def test_when_activity_stops_the_relationship_does_and_the_step_of_the_drop_is_named() -> None:
    events = [viewed(0), happened("Product Added", 1, product_id="p1", price=100)]
    assert twin_of(events, 60).relationship.stage == "start"
    twin = twin_of(events, 62)  # no new event
    assert twin.relationship.stage == "stopped"
    assert twin.relationship.path[-1].moved_by is None
    assert at(61) <= twin.relationship.path[-1].at <= at(61) + HOUR
    assert twin.stage.stage == "awareness"
    assert twin.dropped_at == "decision"
    assert [found.name for found in twin.triggers] == ["activity_stopped"]


def test_who_comes_back_had_stopped() -> None:
    twin = twin_of([order(0), happened("Page Viewed", 100)], 101)
    assert [stage for stage, _, _ in steps(twin.relationship)] == ["forward", "stopped", "forward"]
    assert twin.dropped_at is None


def test_mail_alone_begins_a_path_and_says_no_more() -> None:
    twin = twin_of([happened("Email Delivered", 0, message_id="m"), happened("Email Delivered", 9, message_id="n")], 10)
    assert steps(twin.stage) == [("awareness", 0, "Email Delivered")]


def test_a_customer_without_events() -> None:
    twin = twin_of([], 0)
    assert (twin.stage.stage, twin.stage.path, twin.stage.since) == ("awareness", (), None)
    assert twin.relationship.stage == "start"
    assert (twin.experience.outcome, twin.personas, twin.triggers, twin.barriers, twin.contacts) == (
        None,
        (),
        (),
        (),
        (),
    )


def test_where_older_events_are_not_kept_the_path_says_so_and_the_stage_is_right_all_the_same() -> None:
    few = TwinFold(replace(settings().twin, kept_of_each=2), settings().features)
    events = [order(day, day) for day in range(4)]
    moments = [moment_of(event) for event in events]
    twin = few.twin_at(CUSTOMER, at(5), moments, features_at(events, at(5)), 4)
    assert twin.stage.stage == "retention"
    assert not twin.stage.path_is_whole
    assert steps(twin.stage) == [("usage", 2, "Order Completed"), ("retention", 5, None)]


def test_of_two_events_at_one_instant_the_first_by_name_moved_it() -> None:
    added, started = happened("Product Added", 0, product_id="p", price=1), happened("Checkout Started", 0, total=1)
    for events in ([added, started], [started, added]):
        assert steps(twin_of(events, 1).stage) == [("decision", 0, "Checkout Started")]


def test_an_event_that_no_rule_reads_moves_nothing_but_the_beginning() -> None:
    events = [happened("Email Delivered", 0, message_id="m"), order(0)]
    assert steps(twin_of(events, 1).stage) == [("usage", 0, "Order Completed")]


def test_the_newest_twenty_events_are_cited() -> None:
    events = [order(day, day) for day in range(30)]
    evidence = twin_of(events, 31).stage.now.evidence
    assert [cited.properties["order_id"] for cited in evidence] == [f"o{day}" for day in range(29, 9, -1)]


# Of 1 hour and 7 minutes, so that events are near each other, and near the hours at which windows begin.
DAYS = st.integers(0, 4_000).map(lambda steps: steps * 67 / (24 * 60))
KINDS: list[tuple[str, dict[str, object]]] = [
    ("Page Viewed", {}),
    ("Product Viewed", {"product_id": "p"}),
    ("Product Added", {"product_id": "p", "price": 100}),
    ("Order Completed", {"order_id": "o", "total": 100}),
    ("Order Refunded", {"order_id": "o", "total": 100}),
    ("Survey Answered", {"survey": "nps", "score": 4}),
    ("Survey Answered", {"survey": "nps", "score": 10}),
    ("Email Opened", {"message_id": "m"}),
    ("Email Opened", {"message_id": "n"}),
    ("Product Mismatch Reported", {"reason": "shade"}),
    ("Coupon Applied", {"coupon_id": "c"}),
    ("Customer Identified", {"language": "th"}),
    ("Customer Identified", {"language": "en"}),
    ("Decision Made", {"decision_id": "d", "action_id": "a", "contacted": True}),
]


@st.composite
def histories(draw: st.DrawFn) -> list[LoggedEvent]:
    """Events, some at the same instant, some that arrive late; each with an id of its own."""
    found = []
    for number in range(draw(st.integers(1, 12))):
        event, properties = draw(st.sampled_from(KINDS))
        day = draw(DAYS)
        late = draw(st.sampled_from([0.0, 0.0, 0.5, 20.0]))
        found.append(happened(event, day, event_id=f"e{number}", arrived=day + late, **properties))  # type: ignore[arg-type]
    return found


def moved(event: LoggedEvent, position: int) -> LoggedEvent:
    return replace(event, position=position)


def told(twin: Twin) -> Twin:
    """Without the position, which is the log's."""
    return Twin(**{name: getattr(twin, name) for name in twin.__struct_fields__} | {"position": 0})


@given(histories(), st.randoms(use_true_random=False), DAYS)
@hypothesis_settings(max_examples=60, deadline=None)
def test_no_order_of_arrival_and_no_duplicate_changes_a_twin(
    events: list[LoggedEvent], random: object, day: float
) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    shuffled = [moved(event, place) for place, event in enumerate([*shuffled, shuffled[0]])]
    assert told(twin_of(shuffled, day)) == told(twin_of(events, day))


@given(histories(), DAYS)
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_twin_of_a_past_instant_is_that_of_what_was_visible_then(events: list[LoggedEvent], day: float) -> None:
    then = at(day)
    visible = [event for event in events if event.event_time < then and event.available_at <= then]
    assert told(twin_of(events, day)) == told(twin_of(visible, day))


@given(histories())
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_kept_record_says_the_same_as_the_log(events: list[LoggedEvent]) -> None:
    kept = settings().twin.kept_of_each
    moments = decode_moments(fold_moments(None, events, kept)).moments
    as_of = max(event.available_at for event in events) + 1
    day = (as_of - at(0)) / (24 * HOUR)
    features = features_at(events, as_of)
    assert told(fold().twin_at(CUSTOMER, as_of, moments, features, 0)) == told(
        fold().twin_at(CUSTOMER, as_of, [moment_of(event) for event in events], features, 0)
    ), day


def slow_stage(events: list[LoggedEvent], instant: int) -> tuple[str, str]:
    """The oracle: fold all events that had happened, read every feature, ask every rule."""
    rules = settings().twin
    features = features_at([event for event in events if event.event_time < instant], instant)
    return holding(rules.stages, features).name, holding(rules.relationship, features).name


@given(histories(), DAYS)
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_path_says_at_each_instant_what_the_rules_say_of_the_events_before_it(
    events: list[LoggedEvent], day: float
) -> None:
    events = [replace(event, available_at=event.event_time) for event in events]
    twin = twin_of(events, day)
    known = [event for event in events if event.event_time < at(day)]
    times = sorted({event.event_time for event in known})
    for look in [*(time + 1 for time in times), *times[1:], at(day)] if times else []:
        expected = slow_stage(known, look)
        for standing, stage in zip((twin.stage, twin.relationship), expected, strict=True):
            before = [step for step in standing.path if step.at < look or (step.moved_by is None and step.at == look)]
            assert before[-1].stage == stage
    for standing in (twin.stage, twin.relationship):
        for step in standing.path:
            assert (step.moved_by is None) or step.moved_by.at == step.at
        assert [step.at for step in standing.path] == sorted(step.at for step in standing.path)


@pytest.mark.parametrize("arrived", [0.5, 30.0])
def test_a_late_event_is_in_the_path_from_its_arrival_on(arrived: float) -> None:
    events = [happened("Page Viewed", 0), order(0.25, arrived=arrived), happened("Page Viewed", 1)]
    assert [stage for stage, _, _ in steps(twin_of(events, arrived - 0.1).stage)] == ["awareness"]
    assert steps(twin_of(events, max(arrived, 2)).stage)[-1] == ("usage", 0.25, "Order Completed")
