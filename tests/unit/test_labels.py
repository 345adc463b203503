"""Labels of every kind against the oracle, over logs with ties, late arrivals and several opportunities."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from feature_repo.windows import DAY
from pipelines.console import UserError
from pipelines.dataset.labels import label_rows, labelled, log_range
from pipelines.dataset.population import Openings
from pipelines.dataset.snapshots import LogRange
from pipelines.settings.labels import ConversionLabel, Label
from tests.reference.labels import Event, Row, labels_at, labels_at_openings

STEP = DAY // 2
ORDER, REFUND, MAIL, STOP = "Order Completed", "Order Refunded", "Direct Mail Sent", "Unsubscribed"


def label_of(kind: str, **said: Any) -> Any:
    own: dict[str, dict[str, Any]] = {
        "churn": {"qualifying_events": [ORDER], "activity_window": "5d"},
        "value": {"qualifying_events": [ORDER], "activity_window": "5d", "add": [ORDER], "subtract": [REFUND]},
        "next_event": {"qualifying_events": [ORDER], "activity_window": "5d"},
        "conversion": {"opened_by": [MAIL], "open_for": "5d", "goal_events": [ORDER], "closed_by": [STOP]},
    }
    return TypeAdapter(Label).validate_python({"kind": kind, "horizon": "4d", **own[kind], **said})


def with_view(events: list[Event]) -> duckdb.DuckDBPyConnection:
    plain = {"customer_id": pa.string(), "event": pa.string(), "event_time": pa.int64(), "available_at": pa.int64()}
    columns = {name: pa.array([getattr(e, name) for e in events], kind) for name, kind in plain.items()}
    columns["value"] = pa.array([event.value for event in events], pa.int64())
    columns["properties"] = pa.array([properties(event.campaign) for event in events], pa.string())
    connection = duckdb.connect()
    connection.register("customer_events", pa.table(columns))
    return connection


def properties(campaign: str | None) -> str:
    return json.dumps({} if campaign is None else {"campaign_id": campaign})


# Times on a coarse grid, so that window edges and equal instants are met often.
EVENTS = st.builds(
    lambda customer, kind, step, delay, value, campaign: Event(
        customer, kind, step * STEP, (step + delay) * STEP, value, campaign
    ),
    st.sampled_from(["a", "b"]),
    st.sampled_from([ORDER, ORDER, MAIL, MAIL, REFUND, STOP]),
    st.integers(0, 30),
    st.integers(-1, 8),
    st.sampled_from([None, 0, 7, -3, 10**12, 10**12 + 1, 2**62]),
    st.sampled_from([None, "", "1", "2"]),
)
LOGS = st.lists(EVENTS, max_size=25)
# Enough of them that opportunities meet each other.
FULL_LOGS = st.lists(EVENTS, min_size=12, max_size=30)
DAYS = st.integers(1, 6).map(lambda days: f"{days}d")
RULES = st.fixed_dictionaries(
    {
        "horizon": DAYS,
        "gap": st.sampled_from(["0d", "1d", "2d"]),
        "exclude": st.sampled_from([None, {"events": [REFUND]}, {"events": [STOP, REFUND], "within": "2d"}]),
    }
)


def as_tuples(rows: pd.DataFrame) -> list[Row]:
    found = list(zip(rows["as_of"].tolist(), rows["customer_id"], rows["label"].tolist(), strict=True))
    assert found == sorted(found), "ordered by instant and customer"
    return found


@settings(max_examples=100, deadline=None)
@given(
    events=LOGS,
    instants=st.lists(st.integers(0, 40).map(lambda step: step * STEP), min_size=1, max_size=4, unique=True),
    rules=RULES,
    look_back=DAYS,
    later=st.integers(0, 20) | st.none(),
)
@pytest.mark.parametrize("kind", ["churn", "value", "next_event"])
def test_labels_of_active_customers_are_those_of_the_oracle(
    kind: str, events: list[Event], instants: list[int], rules: dict[str, Any], look_back: str, later: int | None
) -> None:
    label = label_of(kind, activity_window=look_back, **rules)
    known_by = 2**63 - 1 if later is None else max(instants) + later * STEP
    with with_view(events) as connection:
        found = label_rows(connection, label, instants, known_by)
    assert found.dtypes.astype(str).to_dict()["label"] == "int64"
    assert as_tuples(found) == labels_at(events, label, instants, known_by)


CONVERSIONS = st.builds(
    lambda rules, open_for, closed_by, goals, match: label_of(
        "conversion", open_for=open_for, closed_by=closed_by, goal_events=goals, match=match, **rules
    ),
    RULES,
    DAYS,
    st.sampled_from([(), (STOP,), (STOP, REFUND)]),
    st.sampled_from([(ORDER,), (ORDER, REFUND)]),
    st.sampled_from([None, "campaign_id"]),
)


@settings(max_examples=200, deadline=None)
@given(
    events=FULL_LOGS,
    instants=st.lists(st.integers(4, 34).map(lambda step: step * STEP), min_size=1, max_size=4, unique=True),
    label=CONVERSIONS,
    later=st.integers(0, 20) | st.none(),
)
def test_conversions_are_those_of_the_oracle(
    events: list[Event], instants: list[int], label: ConversionLabel, later: int | None
) -> None:
    known_by = 2**63 - 1 if later is None else max(instants) + later * STEP
    with with_view(events) as connection:
        found = label_rows(connection, label, instants, known_by)
    assert as_tuples(found) == labels_at(events, label, instants, known_by)


@settings(max_examples=200, deadline=None)
@given(events=FULL_LOGS, label=CONVERSIONS, begin=st.integers(0, 30), length=st.integers(0, 30))
def test_conversions_right_after_an_opening_are_those_of_the_oracle(
    events: list[Event], label: ConversionLabel, begin: int, length: int
) -> None:
    first, end = begin * STEP, (begin + length) * STEP + 1
    with with_view(events) as connection:
        found = label_rows(connection, label, Openings(first, end))
    assert as_tuples(found) == labels_at_openings(events, label, first, end)


@settings(max_examples=100, deadline=None)
@given(events=LOGS, step=st.integers(0, 40), kind=st.sampled_from(["churn", "value", "next_event", "conversion"]))
def test_the_population_is_known_from_what_had_arrived(events: list[Event], step: int, kind: str) -> None:
    label, instant = label_of(kind, exclude={"events": [REFUND]}), step * STEP
    cut = [event for event in events if event.available_at <= instant and event.event_time < instant]
    with with_view(events) as whole, with_view(cut) as truncated:
        everything, known_then = label_rows(whole, label, [instant]), label_rows(truncated, label, [instant])
    assert everything["customer_id"].tolist() == known_then["customer_id"].tolist()


@settings(max_examples=100, deadline=None)
@given(
    events=LOGS,
    step=st.integers(0, 30),
    later=st.integers(0, 20),
    kind=st.sampled_from(["churn", "value", "next_event", "conversion"]),
)
def test_train_labels_are_those_of_the_log_cut_where_the_test_begins(
    events: list[Event], step: int, later: int, kind: str
) -> None:
    label, cutoff = label_of(kind), (step + later) * STEP
    with with_view(events) as connection:
        found = label_rows(connection, label, [step * STEP], known_by=cutoff)
    cut = [event for event in events if event.available_at <= cutoff]
    assert as_tuples(found) == labels_at(cut, label, [step * STEP])


def test_an_opening_counts_from_the_instant_it_was_known() -> None:
    events = [
        Event("a", MAIL, 10 * DAY, 12 * DAY, campaign="1"),  # arrived two days late
        Event("a", ORDER, 11 * DAY, 11 * DAY, campaign="1"),  # before anybody knew of the mailing: it is closed
        Event("b", MAIL, 10 * DAY, 10 * DAY, campaign="1"),
        Event("b", MAIL, 10 * DAY, 10 * DAY, campaign="2"),  # one row for both
        Event("b", ORDER, 11 * DAY, 15 * DAY, campaign="2"),
        Event("b", ORDER, 10 * DAY, 10 * DAY, campaign="1"),  # at the very instant: neither closes nor converts
        Event("c", MAIL, 10 * DAY, 20 * DAY, campaign="1"),  # known when it was open no longer
        Event("d", MAIL, 10 * DAY, 10 * DAY),  # of no campaign
        Event("e", MAIL, 10 * DAY, 12 * DAY, campaign="1"),
        Event("e", ORDER, 11 * DAY, 11 * DAY, campaign="2"),  # of another campaign: it does not close
        Event("e", ORDER, 13 * DAY, 13 * DAY, campaign="2"),  # and does not convert
    ]
    label = label_of("conversion", match="campaign_id")
    with with_view(events) as connection:
        found = label_rows(connection, label, Openings(0, 30 * DAY))
        at_noon = label_rows(connection, label, [12 * DAY + STEP])
    assert as_tuples(found) == [(10 * DAY + 1, "b", 1), (12 * DAY + 1, "e", 0)]
    # Of b the mailing of campaign 2 is closed once its order is known; that of campaign 1 never was.
    assert as_tuples(at_noon) == [(12 * DAY + STEP, "b", 0), (12 * DAY + STEP, "e", 0)]


def test_who_is_excluded_is_counted() -> None:
    events = [Event("a", ORDER, DAY, DAY), Event("a", REFUND, DAY, DAY), Event("b", ORDER, DAY, DAY)]
    with with_view(events) as connection:
        found = labelled(connection, label_of("churn", exclude={"events": [REFUND]}), [2 * DAY, 3 * DAY])
    assert (found.left_out.excluded, found.rows["customer_id"].tolist()) == (2, ["b", "b"])


def test_the_log_ends_with_its_newest_event_that_is_not_dated_ahead() -> None:
    events = [
        Event("a", ORDER, 10 * DAY, 10 * DAY),
        Event("a", ORDER, 90 * DAY, 20 * DAY),  # a clock that ran ahead
        Event("a", ORDER, 12 * DAY, 50 * DAY),  # arrived late
        Event("b", MAIL, 99 * DAY, 99 * DAY),  # another feed
        Event("b", MAIL, 5 * DAY, 5 * DAY),
    ]
    orders, mails = (10 * DAY, 20 * DAY + 1), (5 * DAY, 99 * DAY + 1)
    with with_view(events) as connection:
        assert log_range(connection, label_of("churn")) == LogRange(*orders, *orders)
        assert log_range(connection, label_of("conversion")) == LogRange(*mails, *orders)


@pytest.mark.parametrize(
    ("kind", "events", "field", "missing"),
    [
        ("churn", [], "label.qualifying_events", ORDER),
        ("conversion", [Event("a", ORDER, 1, 1)], "label.opened_by", MAIL),
        ("conversion", [Event("a", MAIL, 1, 1)], "label.goal_events", ORDER),
    ],
)
def test_events_that_decide_and_are_not_there_are_said(
    kind: str, events: list[Event], field: str, missing: str
) -> None:
    with with_view(events) as connection, pytest.raises(UserError, match=missing) as caught:
        log_range(connection, label_of(kind))
    assert caught.value.problems[0].field == field
    assert caught.value.problems[0].hint


def test_an_outcome_counts_for_training_up_to_the_instant_it_is_known_by() -> None:
    events = [Event("a", ORDER, DAY, DAY), Event("a", ORDER, 3 * DAY, 5 * DAY)]
    with with_view(events) as connection:
        known, too_late = (label_rows(connection, label_of("churn"), [2 * DAY], 5 * DAY - n) for n in (0, 1))
    assert (as_tuples(known), as_tuples(too_late)) == ([(2 * DAY, "a", 0)], [(2 * DAY, "a", 1)])
