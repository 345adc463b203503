"""Rows of actions against the oracle, over logs with ties, late arrivals, and chances that cannot be."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.windows import DAY
from pipelines.dataset import assignments
from pipelines.dataset.labels import labelled
from pipelines.dataset.population import Openings
from pipelines.dataset.spans import Spans
from pipelines.settings.labels import ActionLabel
from tests.reference.labels import ActionRow, Event, action_rows

STEP = DAY // 2
ORDER, REFUND, DRAWN, DECIDED = "Order Completed", "Order Refunded", "Campaign Assigned", "Decision Made"
REASONS = {
    assignments.NAMELESS: "nameless",
    assignments.NO_PROPENSITY: "no propensity",
    assignments.BAD_PROPENSITY: "bad propensity",
    assignments.NOT_ELIGIBLE: "not eligible",
    assignments.SECOND: "second",
}
FOR_EVER = 2**63 - 1


def label_of(**said: Any) -> ActionLabel:
    drawn = [
        {"event": DRAWN, "action": "arm", "propensity": "chance", "scale": 1000},
        {"event": DECIDED, "action": "it's", "propensity": "p", "eligible": "eligible", "only": {"holdout": False}},
    ]
    shared = {"kind": "action", "assigned_by": drawn, "horizon": "4d", "reward": {"events": [ORDER]}}
    return ActionLabel.model_validate({**shared, "actions": {"control": "no_action", "sms'": "text"}, **said})


@cache
def database() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def with_view(events: list[Event]) -> duckdb.DuckDBPyConnection:
    """The view `customer_events`, whose rows are not in the order in which they were stored."""
    plain = {"customer_id": pa.string(), "event": pa.string(), "event_time": pa.int64(), "available_at": pa.int64()}
    columns = {name: pa.array([getattr(e, name) for e in events], kind) for name, kind in plain.items()}
    columns["value"] = pa.array([event.value for event in events], pa.int64())
    columns["properties"] = pa.array([json.dumps(event.said or {}) for event in events], pa.string())
    columns["position"] = pa.array(range(len(events)), pa.int64())
    connection = database()
    connection.register("stored", pa.table(columns))
    connection.execute("CREATE OR REPLACE TEMP VIEW customer_events AS FROM stored ORDER BY hash(position)")
    return connection


def as_rows(rows: pd.DataFrame) -> list[ActionRow]:
    columns = (rows[name].tolist() for name in ("as_of", "customer_id", "label", "action", "propensity", "eligible"))
    return [
        ActionRow(as_of, customer, label, action, None if pd.isna(chance) else chance, eligible)
        for as_of, customer, label, action, chance, eligible in zip(*columns, strict=True)
    ]


def found_of(
    events: list[Event], label: ActionLabel, begin: int, end: int, spans: Spans, known_by: int = FOR_EVER
) -> tuple[list[ActionRow], dict[str, int]]:
    made = labelled(with_view(events), label, Openings(begin, end, spans), known_by)
    return as_rows(made.rows), {REASONS[reason]: count for reason, count in made.left_out.assignments.items()}


ARMS = st.sampled_from(["mail", "sms'", "control", "control", "no_action", "", 5, None])
CHANCES = st.sampled_from([0.25, 0.5, 1, 1, 0, -0.5, 1.5, "0.5", "nan", True, None])
LISTS = st.sampled_from([None, "mail", [], ["mail", "control"], ["mail", "sms'", "text", "control", "mail"], ["x"]])


@st.composite
def said(draw: st.DrawFn) -> dict[str, Any]:
    chance = draw(CHANCES)
    per_mille = chance * 1000 if isinstance(chance, float) else chance
    whole = {
        "arm": draw(ARMS),
        "it's": draw(ARMS),
        "p": chance,
        "chance": per_mille if chance != 1 else 1000,
        "eligible": draw(LISTS),
        "holdout": draw(st.sampled_from([False, False, False, True, "false", 0, None])),
    }
    return {name: value for name, value in whole.items() if value is not None or draw(st.booleans())}


EVENTS = st.builds(
    lambda customer, kind, step, delay, value, properties: Event(
        customer, kind, step * STEP, (step + delay) * STEP, value, None, properties
    ),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([ORDER, ORDER, REFUND, DRAWN, DRAWN, DECIDED, DECIDED]),
    st.integers(0, 16),
    st.sampled_from([-1, 0, 0, 0, 1, 5]),
    st.sampled_from([None, 0, 7, -3, 10**12, 10**12 + 1, 2**62]),
    said(),
)
LOGS = st.lists(EVENTS, min_size=6, max_size=30)
REWARDS = st.sampled_from(
    [
        {"events": [ORDER], "of": "any"},
        {"events": [ORDER, REFUND], "of": "count"},
        {"events": [ORDER], "of": "value", "subtract": [REFUND]},
    ]
)
RULES = st.fixed_dictionaries(
    {
        "horizon": st.sampled_from(["1d", "3d", "12h"]),
        "gap": st.sampled_from(["0d", "0d", "1d"]),
        "reward": REWARDS,
        "exclude": st.sampled_from([None, None, {"events": [REFUND], "within": "2d"}, {"events": [DRAWN]}]),
    }
)
OBSERVED = st.builds(
    lambda events, within: {
        "assigned_by": [
            {"event": DRAWN, "action": "arm"},
            {"event": DECIDED, "action": "it's", "eligible": "eligible"},
        ],
        "others": {"events": events, "within": within},
    },
    st.sampled_from([[ORDER], [ORDER, REFUND]]),
    st.sampled_from(["1d", "3d", "12h"]),
)


@settings(max_examples=120, deadline=None)
@given(
    events=LOGS,
    rules=RULES,
    observed=st.none() | OBSERVED,
    begin=st.integers(0, 8),
    length=st.integers(0, 16),
    every=st.integers(1, 9),
    known_by=st.none() | st.integers(0, 24),
)
def test_rows_are_those_of_the_oracle(
    events: list[Event],
    rules: dict[str, Any],
    observed: dict[str, Any] | None,
    begin: int,
    length: int,
    every: int,
    known_by: int | None,
) -> None:
    label = label_of(**rules, **(observed or {}))
    first, end = begin * STEP, (begin + length) * STEP
    spans = Spans(end, every * STEP)
    latest = FOR_EVER if known_by is None else known_by * STEP
    found = found_of(events, label, first, end, spans, latest)
    assert found == action_rows(events, label, first, end, spans.anchor, spans.every, latest)


@settings(max_examples=40, deadline=None)
@given(events=LOGS, rules=RULES, cutoff=st.integers(0, 24))
def test_training_rows_are_those_of_the_log_cut_where_the_test_begins(
    events: list[Event], rules: dict[str, Any], cutoff: int
) -> None:
    label, known_by, spans = label_of(**rules), cutoff * STEP, Spans(0, STEP)
    cut = [event for event in events if event.available_at <= known_by]
    assert found_of(events, label, 0, 20 * STEP, spans, known_by) == found_of(cut, label, 0, 20 * STEP, spans)


def drawn(customer: str, day: float, arm: str = "mail", chance: Any = 500, late: float = 0) -> Event:
    return Event(customer, DRAWN, int(day * DAY), int((day + late) * DAY), None, None, {"arm": arm, "chance": chance})


def test_an_outcome_at_the_very_instant_counts_and_one_before_does_not() -> None:
    events = [
        drawn("a", 10),
        Event("a", ORDER, 10 * DAY, 10 * DAY),
        Event("a", ORDER, 10 * DAY - 1, 10 * DAY),
        Event("a", ORDER, 14 * DAY - 1, 14 * DAY),
        Event("a", ORDER, 14 * DAY, 14 * DAY),
    ]
    rows, _ = found_of(events, label_of(), 0, 20 * DAY, Spans(0, DAY))
    assert rows == [ActionRow(10 * DAY, "a", 2, "mail", 0.5, None)]


def test_of_two_at_one_instant_the_first_that_was_stored_stays_unless_it_is_a_mistake() -> None:
    events = [
        drawn("a", 1, "mail"), drawn("a", 1, "control"),
        drawn("b", 1, "mail", chance=0), drawn("b", 1, "control"),
    ]  # fmt: skip
    rows, left_out = found_of(events, label_of(), 0, 9 * DAY, Spans(0, DAY))
    assert [(row.customer_id, row.action) for row in rows] == [("a", "mail"), ("b", "no_action")]
    assert left_out == {"second": 1, "bad propensity": 1}


@pytest.mark.parametrize(("chance", "kept"), [(1, 1), (1000, 1), (0, 0), (1001, 0), (None, 0), ("500", 0)])
def test_a_chance_that_cannot_be_leaves_the_row_out(chance: Any, kept: int) -> None:
    rows, left_out = found_of([drawn("a", 1, chance=chance)], label_of(), 0, 9 * DAY, Spans(0, DAY))
    assert (len(rows), sum(left_out.values())) == (kept, 1 - kept)


def test_controls_bought_lately_got_nothing_and_are_looked_at_when_others_got_theirs() -> None:
    label = label_of(
        assigned_by=[{"event": DRAWN, "action": "arm"}], others={"events": [ORDER], "within": "3d"}, horizon="4d"
    )
    bought = [Event(name, ORDER, 9 * DAY, 9 * DAY) for name in "bcdef"]
    events = [
        *bought,
        drawn("a", 10),
        drawn("c", 13.9),  # before the outcome's time is over
        drawn("d", 14),  # after it
        drawn("e", 7),  # as long before as purchases count
        Event("g", ORDER, 5 * DAY, 5 * DAY),  # too long ago
        Event("h", ORDER, 9 * DAY, 11 * DAY),  # was not known yet
        Event("b", ORDER, 12 * DAY, 12 * DAY),
    ]
    rows, _ = found_of(events, label, 10 * DAY, 11 * DAY, Spans(0, 2 * DAY))
    assert [(row.customer_id, row.action, row.reward) for row in rows] == [
        ("a", "mail", 0), ("b", "no_action", 1), ("d", "no_action", 0), ("f", "no_action", 0),
    ]  # fmt: skip
    assert {row.as_of for row in rows} == {10 * DAY}
    assert {row.propensity for row in rows} == {None}


def test_what_a_control_got_counts_only_if_it_was_known() -> None:
    others = {"events": [ORDER], "within": "3d"}
    label = label_of(assigned_by=[{"event": DRAWN, "action": "arm"}], others=others, horizon="4d")
    events = [Event("b", ORDER, 9 * DAY, 9 * DAY), drawn("a", 10), drawn("b", 11, late=9)]
    counts = [len(found_of(events, label, 0, 10 * DAY + 1, Spans(0, 90 * DAY), at * DAY)[0]) for at in (19, 20)]
    assert counts == [2, 1]


def test_one_of_no_known_name_is_no_control_either() -> None:
    others = {"events": [ORDER], "within": "3d"}
    label = label_of(assigned_by=[{"event": DRAWN, "action": "arm"}], others=others, horizon="4d")
    events = [Event("b", ORDER, 9 * DAY, 9 * DAY), drawn("a", 10), drawn("b", 11, arm="")]
    rows, _ = found_of(events, label, 0, 10 * DAY + 1, Spans(0, 90 * DAY))
    assert [row.customer_id for row in rows] == ["a"]
