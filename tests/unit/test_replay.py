"""Decisions made again: from their records and from the log, to the last bit, and every change is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.console import UserError
from pipelines.decisions.decide import decide
from pipelines.decisions.ledger_event import Origin, Read, decision_event, recorded
from pipelines.decisions.record import UnreadableRecord
from pipelines.decisions.replay import NO_CATALOGUE, UNREADABLE, Replay, of_record, replay_decisions
from pipelines.decisions.replay_difference import same
from pipelines.decisions.replay_log import CHANGED, NO_MODEL
from pipelines.decisions.situation import Predicted
from pipelines.identity.vocabulary import Form
from pipelines.settings import Settings
from tests.unit import decide_parts
from tests.unit.desk_parts import EFFECTS, NOON, Office, decision_settings, furnish, order, says


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """After 60 decisions on 6 customers, with events in between."""
    settings = decision_settings(tmp_path_factory.mktemp("replayed"))
    furnish(settings)
    made = Office(settings)
    for number in range(60):
        made.decide(f"c{number % 6}", f"d{number}")
        if number % 7 == 0:
            made.keep(order(100 + number, f"c{number % 5}", NOON + number * 1_000))
    yield made
    made.close()


def again(settings: Settings, *ids: str, **more: Any) -> Replay:
    return replay_decisions(settings, ids, **more)


def test_all_are_equal_to_the_last_bit(office: Office) -> None:
    done = again(office.settings)
    assert done.differences == ()
    assert (done.decisions, done.from_record, done.from_log, done.not_replayed) == (60, 60, 60, {})
    # What the catalogue reads, and no action and two actions of the model.
    assert done.values == 60 * (len(office.watch.offered.catalogue.features) + 3)  # type: ignore[union-attr]
    assert done.passed
    assert "60 decisions: 60 made again from their record, 60 from the events" in done.text()


def test_some_are_asked_for_by_id_or_as_the_newest(office: Office) -> None:
    assert again(office.settings, "d3", "d5").decisions == 2
    assert again(office.settings, sample=7).decisions == 7
    with pytest.raises(UserError, match="not every decision is in the log"):
        again(office.settings, "d3", "nothing")


def change(office: Office, name: str, act: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
    """Alter a logged decision in the journal's file; gives what puts it back."""
    journal: Any = office.files.journal
    with journal._transaction() as connection:
        query = "SELECT properties FROM journal_events WHERE event_id = ?"
        before = connection.execute(query, (name,)).fetchone()[0]
        properties = json.loads(before)
        act(properties["record"][0])
        update = "UPDATE journal_events SET properties = ? WHERE event_id = ?"
        connection.execute(update, (json.dumps(properties), name))

    def put_back() -> None:
        with journal._transaction() as connection:
            connection.execute(update, (before, name))

    return put_back


CHANGES: list[tuple[Callable[[dict[str, Any]], None], set[tuple[str, str]]]] = [
    (lambda r: r["decision"].update(propensity=0.123), {("record", "propensity")}),
    (lambda r: r["decision"].update(cost=r["decision"]["cost"] + 1), {("record", "cost")}),
    (lambda r: r["situation"]["features"].update(order_completed_count_lifetime=99),
     {("log", "features.order_completed_count_lifetime")}),
    (lambda r: r["situation"]["predicted"]["no_action"].update(response=1.5), {("log", "predicted.no_action")}),
]  # fmt: skip


@pytest.mark.parametrize(("act", "expected"), CHANGES)
def test_each_change_is_told(office: Office, act: Any, expected: set[tuple[str, str]]) -> None:
    put_back = change(office, "d8", act)
    try:
        done = again(office.settings)
    finally:
        put_back()
    assert {difference.decision_id for difference in done.differences} == {"d8"}
    assert expected <= {(difference.where, difference.field) for difference in done.differences}
    assert not done.passed
    assert again(office.settings).passed


def test_what_cannot_be_made_again_is_counted(office: Office) -> None:
    settings = office.settings
    put_back = change(office, "d8", lambda record: record.pop("read"))
    assert again(settings).not_replayed == {UNREADABLE: 1}
    put_back()
    catalogue = next(settings.workspace.catalogues.glob("*.json"))
    hidden = catalogue.rename(catalogue.with_suffix(".hidden"))
    assert again(settings, "d1").not_replayed == {NO_CATALOGUE: 1}
    hidden.rename(catalogue)
    model = settings.workspace.bentoml_home / "models" / EFFECTS / "1"
    away = model.rename(model.with_name("away"))
    assert again(settings).not_replayed == {NO_MODEL: 60}
    away.rename(model)
    assert again(settings).passed


def test_who_changed_since_is_counted(tmp_path: Path) -> None:
    settings = decision_settings(tmp_path)
    furnish(settings, customers=2)
    made = Office(settings)
    made.decide("c0", "before")
    made.keep(says("c0", "profiling", True, NOON))
    made.decide("c0", "after")
    done = again(settings)
    made.close()
    assert (done.from_record, done.from_log, done.differences) == (2, 1, ())
    assert done.not_replayed == {CHANGED: 1}


def test_none_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no decision is in the log"):
        again(decision_settings(tmp_path))


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_records_give_the_same_decisions_however_many(count: int) -> None:
    """Through the event's JSON, with every part of a situation drawn."""
    catalogue = decide_parts.catalogue(
        decide_parts.action(), decide_parts.action("reviews", channel="line"), exploration_share=0.3, holdout_share=0.05
    )
    for number in range(count):
        situation = decide_parts.situation(
            decision_id=f"d{number}",
            customer_id=f"c{number % 997}",
            as_of=decide_parts.NOON + number * 7_919_000_000,
            predicted={
                "coupon": Predicted(0.1 + number / 3e4, 1 / (number + 1)),
                "reviews": Predicted(number / 7e4, 0.3),
            },
            spent=number,
        )
        decision = decide(catalogue, situation)
        origin = Origin(Read("spec", number, 0), "THB")
        event = decision_event(decision, situation, origin, Form("user_id", situation.customer_id), situation.as_of)
        back = recorded(json.loads(json.dumps(event.properties)))
        assert of_record(catalogue, back) == []
        assert (back.decision, back.situation, back.origin) == (decision, situation, origin)
    with pytest.raises(UnreadableRecord):
        recorded({"record": []})
    assert of_record(catalogue, replace(back, situation=replace(back.situation, spent=7, predicted={}))) != []


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        (0.1, 0.1, True), (0.1 + 0.2, 0.3, False), (1, 1.0, False), (0.0, -0.0, False), (None, None, True),
        ([1, (2.0,)], (1, [2.0]), True), ({"a": 1.0}, {"a": 1}, False), ({"a": 1}, {"b": 1}, False), (True, 1, False),
    ],
)  # fmt: skip
def test_the_same_is_the_same_to_the_last_bit(left: object, right: object, is_same: bool) -> None:
    assert same(left, right) is is_same
