"""What events set off: each trigger once an episode, late, early, twice, merged, denied, and after a kill."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.events.journal import NewEvent
from pipelines.events.opening import moments_key, open_moments
from pipelines.privacy.erase import erase
from pipelines.privacy.report import access_report
from pipelines.settings import Settings, Workspace
from serving.triggers.firing import Moment
from tests.unit.desk_parts import DAY, HOUR, decision_settings, furnish, says
from tests.unit.trigger_parts import (
    Station,
    cart_left,
    happened,
    hesitating,
    opened,
    recently,
    trigger,
    with_endpoints,
)

MINUTE = HOUR // 60
CRM = {"name": "crm", "url": "https://crm.example/hooks"}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = decision_settings(tmp_path_factory.mktemp("furnished"), clock="wall")
    furnish(settings)
    return settings


@pytest.fixture
def settings(furnished: Settings, tmp_path: Path) -> Settings:
    """A copy with a wall clock and one endpoint."""
    shutil.copytree(furnished.workspace.checkout, tmp_path / "copy")
    made = decision_settings(tmp_path / "copy", Workspace("test", checkout=tmp_path / "copy"), clock="wall")
    return with_endpoints(made, CRM)


@pytest.fixture
def start() -> int:
    return recently()


@pytest.fixture
def station(settings: Settings, start: int) -> Iterator[Station]:
    made = Station(settings, [hesitating(settings), cart_left(settings)], start)
    yield made
    made.close()


def test_three_mails_opened_and_none_clicked_fire_once_and_cite_the_messages(station: Station, start: int) -> None:
    station.happen(opened("c1", start, 1))
    station.happen(opened("c1", start + HOUR, 2))
    # The same message opened again is no third one.
    station.happen(happened("Email Opened", "c1", start + 2 * HOUR, "again", message_id="mail-2"))
    assert station.messages() == []
    station.happen(opened("c1", start + 3 * HOUR, 3))
    (told,) = station.told()
    assert (told["trigger"], told["customer_id"]) == ("hesitating", "c1")
    assert {item["properties"]["message_id"] for item in told["evidence"]} == {"mail-1", "mail-2", "mail-3"}
    assert told["features"] == {"email_opened_message_id_distinct_14d": 3, "email_link_clicked_count_14d": 0}
    # Another message strategy, with its exact chance, among those that the trigger offers.
    assert told["decision"]["action"] in ("line_coupon", "no_action")
    (decision,) = station.office.logged()
    assert decision.situation.offer == ("line_coupon",)
    lost = {item.action: (item.lost, item.propensity) for item in decision.decision.alternatives}
    assert lost["email_coupon"] == ("not_offered", 0.0)
    assert sum(chance for _, chance in lost.values()) == pytest.approx(1.0)
    (predicted,) = told["predictions"]
    assert predicted["model"] == "conversion"
    assert 0 < predicted["probability"] < 1
    assert predicted["reasons"]


def test_a_duplicate_changes_nothing(station: Station, start: int) -> None:
    mails = [opened("c1", start + number, number) for number in range(3)]
    station.happen(*mails)
    before = station.messages()
    station.happen(*mails)
    station.happen(opened("c1", start + 5, 9))
    assert station.messages() == before
    assert len(station.office.decisions()) == 1


def test_a_click_clears_and_cancels_and_later_it_may_fire_again(settings: Settings, start: int) -> None:
    never_again_this_day = hesitating(settings, again_after=DAY)
    station = Station(settings, [never_again_this_day], start)
    try:
        station.happen(*(opened("c1", start + number, number) for number in range(3)))
        station.happen(happened("Email Link Clicked", "c1", start + HOUR, message_id="mail-1"))
        assert station.states() == [("hesitating", "cancelled")]
        assert [message.error for message in station.messages()] == ["the trigger holds no more"]
        station.pass_time(start + 2 * DAY)
        assert station.states() == [("hesitating", "cancelled")]
    finally:
        station.close()


def test_a_cart_that_is_left_fires_after_its_delay(station: Station, start: int) -> None:
    station.happen(happened("Product Added", "c1", start, product_id="p1"))
    station.pass_time(start + HOUR - MINUTE)
    assert station.messages() == []
    station.pass_time(start + HOUR)
    (told,) = station.told()
    assert told["trigger"] == "cart_left"
    assert [item["properties"] for item in told["evidence"]] == [{"product_id": "p1"}]
    assert told["decision"]["action"] in ("email_coupon", "line_coupon", "no_action")
    station.pass_time(start + DAY)
    assert len(station.messages()) == 1


def test_every_product_more_moves_the_delay(station: Station, start: int) -> None:
    station.happen(happened("Product Added", "c1", start, product_id="p1"))
    station.happen(happened("Product Added", "c1", start + 50 * MINUTE, product_id="p2"))
    station.pass_time(start + 100 * MINUTE)
    assert station.messages() == []
    station.pass_time(start + 110 * MINUTE)
    assert len(station.messages()) == 1


def test_an_order_before_the_delay_leaves_nothing_to_fire(station: Station, start: int) -> None:
    station.happen(happened("Product Added", "c1", start, product_id="p1"))
    station.happen(happened("Order Completed", "c1", start + 30 * MINUTE, order_id="1"))
    station.pass_time(start + DAY)
    assert station.messages() == []


def test_an_order_cancels_what_was_not_sent(station: Station, start: int) -> None:
    station.happen(happened("Product Added", "c1", start, product_id="p1"))
    station.pass_time(start + 2 * HOUR)
    station.happen(happened("Order Completed", "c1", start + 3 * HOUR, order_id="1"))
    assert station.states() == [("cart_left", "cancelled")]
    # The next cart is another episode.
    station.happen(happened("Product Added", "c1", start + 4 * HOUR, product_id="p2"))
    station.pass_time(start + 6 * HOUR)
    assert station.states() == [("cart_left", "cancelled"), ("cart_left", "waiting")]


def test_an_event_cancels_also_where_the_rule_does_not_read_it(settings: Settings, start: int) -> None:
    blind = cart_left(settings)
    blind = trigger(settings, "blind", "product_added_count_7d >= 1", after=HOUR, cancelled_by=blind.cancelled_by)
    station = Station(settings, [blind], start)
    try:
        station.happen(happened("Product Added", "c1", start, product_id="p1"))
        station.pass_time(start + 2 * HOUR)
        assert station.states() == [("blind", "waiting")]
        # An order from before the cart says nothing of it, however late it comes.
        station.happen(
            replace(happened("Order Completed", "c1", start - HOUR, order_id="0"), available_at=start + 130 * MINUTE)
        )
        assert station.states() == [("blind", "waiting")]
        station.happen(happened("Order Completed", "c1", start + 3 * HOUR, order_id="1"))
        assert [message.error for message in station.messages()] == ["an event made it moot"]
        station.happen(happened("Page Viewed", "c1", start + 4 * HOUR))
        station.pass_time(start + 9 * HOUR)
        assert station.states() == [("blind", "cancelled")]
        station.happen(happened("Product Added", "c1", start + 10 * HOUR, product_id="p2"))
        station.pass_time(start + 11 * HOUR)
        assert station.states() == [("blind", "cancelled"), ("blind", "waiting")]
    finally:
        station.close()


def test_late_events_lead_where_timely_ones_do(station: Station, start: int) -> None:
    # The order is known first, and the cart from before it only then.
    station.happen(happened("Order Completed", "c1", start + HOUR, order_id="1"))
    late = replace(happened("Product Added", "c1", start, product_id="p1"), available_at=start + 2 * HOUR)
    station.happen(late)
    station.pass_time(start + DAY)
    assert station.messages() == []
    # A cart whose time was over before it came in fires at once.
    station.happen(replace(happened("Product Added", "c2", start + 2 * HOUR), available_at=start + 2 * DAY))
    assert station.states() == [("cart_left", "waiting")]


def test_who_denied_profiling_is_not_read_and_what_waits_is_cancelled(station: Station, start: int) -> None:
    station.happen(*(opened("c1", start + number, number) for number in range(3)))
    station.happen(says("c1", "profiling", False, start + HOUR))
    assert station.states() == [("hesitating", "cancelled")]
    station.happen(*(opened("c1", start + 2 * HOUR + number, 10 + number) for number in range(3)))
    assert len(station.messages()) == 1


def test_without_consent_to_marketing_the_decision_is_no_action_and_said(station: Station, start: int) -> None:
    station.happen(says("c1", "marketing", False, start))
    station.happen(*(opened("c1", start + HOUR + number, number) for number in range(3)))
    (told,) = station.told()
    assert told["decision"]["action"] == "no_action"
    assert station.messages()[0].purpose is None


def test_a_model_that_is_not_there_is_said_and_holds_nothing_up(settings: Settings, start: int) -> None:
    station = Station(settings, [hesitating(settings, predictions=("churn", "nonsense"), decide=False)], start)
    try:
        station.happen(*(opened("c1", start + number, number) for number in range(3)))
        (told,) = station.told()
    finally:
        station.close()
    problems = {item["model"]: item["problem"] for item in told["predictions"]}
    assert problems == {"churn": "model_missing", "nonsense": "unknown_model"}
    assert told["decision"] is None


def test_without_an_endpoint_a_message_is_kept(settings: Settings, start: int) -> None:
    for endpoints in ((), ({**CRM, "triggers": ("cart_left",)},)):
        station = Station(with_endpoints(settings, *endpoints), [hesitating(settings, decide=False)], start)
        try:
            station.happen(*(opened(f"c{len(endpoints)}", start + n, n) for n in range(3)))
            assert {(message.state, message.endpoint) for message in station.messages()} == {("kept", None)}
        finally:
            station.close()


def test_two_customers_who_become_one_go_on_as_one(station: Station, start: int) -> None:
    for who in ("c1", "c2"):
        station.happen(*(opened(who, start + number, number) for number in range(3)))
    assert station.states() == [("hesitating", "waiting")] * 2
    alias = NewEvent(
        "web", "alias", "Customer Aliased", start + HOUR, start + HOUR, "web", user_id="c1",
        properties={"previous_id": "c2"},
    )  # fmt: skip
    station.happen(alias)
    assert sorted(state for _, state in station.states()) == ["cancelled", "waiting"]
    station.happen(opened("c2", start + 2 * HOUR, 9), opened("c1", start + 2 * HOUR, 8))
    assert len(station.messages()) == 2


def test_what_fired_for_one_of_two_who_become_one_fired_for_both(settings: Settings, start: int) -> None:
    station = Station(settings, [cart_left(settings, again_after=3 * DAY)], start)
    try:
        station.happen(happened("Product Added", "c1", start, product_id="p1"))
        station.pass_time(start + 2 * HOUR)
        assert len(station.messages()) == 1
        # The same person at another device, who is known a little later.
        station.happen(happened("Product Added", "c2", start + 3 * HOUR, product_id="p1"))
        station.happen(happened("Customer Aliased", "c1", start + 4 * HOUR - 2, previous_id="c2"))
        station.pass_time(start + DAY)
        assert len(station.messages()) == 1
        station.happen(happened("Product Added", "c1", start + 4 * DAY, product_id="p2"))
        station.pass_time(start + 4 * DAY + 2 * HOUR)
        assert len(station.messages()) == 2
    finally:
        station.close()


def known_by_card(name: str, at: int, number: int, user_id: str | None = None, **properties: Any) -> NewEvent:
    return NewEvent(
        "web", f"{name}-card-{number}", name, at, at, "web", user_id=user_id, identifiers={"crm_id": "K1"},
        properties=properties,
    )  # fmt: skip


def test_who_had_no_user_id_and_gets_one_goes_on(settings: Settings, start: int) -> None:
    station = Station(settings, [cart_left(settings)], start)
    try:
        station.happen(known_by_card("Product Added", start, 1, product_id="p1"))
        (edge,) = station.outbox.edges(["~crm_id:K1"])
        assert edge.state == "waiting"
        station.happen(known_by_card("Product Viewed", start + HOUR // 2, 2, "c1", product_id="p1"))
        assert station.gate.ask("~crm_id:K1").customer_id == "c1"
        station.pass_time(start + 2 * HOUR)
        (message,) = station.messages()
        assert message.state == "waiting"
        # A denial reaches what stands under the former id too.
        station.happen(says("c1", "profiling", False, start + 3 * HOUR))
        assert station.gate.ask("~crm_id:K1").denied == "profiling"
        assert station.states() == [("cart_left", "cancelled")]
    finally:
        station.close()


def test_what_came_before_a_clock_stepped_back_counts(station: Station, start: int) -> None:
    station.happen(happened("Product Added", "c1", start, product_id="p1"))
    station.pass_time(start + 2 * HOUR)
    assert station.states() == [("cart_left", "waiting")]
    station.office.keep(happened("Order Completed", "c1", start + 3 * HOUR, order_id="1"))
    station.pass_time(start + 3 * HOUR - HOUR // 60)
    assert station.states() == [("cart_left", "cancelled")]


@pytest.mark.parametrize("dies", ["before", "while", "after"])
def test_what_a_process_dies_over_is_looked_at_by_the_next_and_fires_once(
    settings: Settings, start: int, dies: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Station(settings, [hesitating(settings)], start)
    first.office.keep(*(opened("c1", start + number, number) for number in range(3)))
    first.now = start + HOUR
    if dies == "before":
        first.close()
    else:
        # Decided, and the messages are not kept, or the position is not.
        where = "fire" if dies == "while" else "note_consulted"

        def die(*_: Any) -> bool:
            raise OSError("killed")

        monkeypatch.setattr(first.outbox, where, die)
        with pytest.raises(OSError, match="killed"):
            first.watch.round()
        first.close()
    second = Station(settings, [hesitating(settings)], start + 2 * HOUR)
    try:
        second.watch.round()
        second.watch.round()
        assert second.states() == [("hesitating", "waiting")]
        assert len(second.office.decisions()) == 1
    finally:
        second.close()


def test_events_that_left_the_journal_are_looked_at(settings: Settings, start: int) -> None:
    from pipelines.events.live_compaction import compact_folded

    first = Station(settings, [hesitating(settings)], start)
    first.office.keep(*(opened("c1", start + number, number) for number in range(3)))
    compact_folded(settings.workspace, first.office.files.journal, first.office.files.states)
    assert first.office.files.journal.read(0, 10) == []
    first.close()
    second = Station(settings, [hesitating(settings)], start + HOUR)
    try:
        second.watch.round()
        assert second.states() == [("hesitating", "waiting")]
    finally:
        second.close()


def test_two_stations_on_one_workspace_fire_once(settings: Settings, start: int) -> None:
    stations = [Station(settings, [hesitating(settings)], start) for _ in range(2)]
    try:
        for number in range(3):
            for station in stations:
                station.happen(opened("c1", start + number, number))
        for station in stations:
            station.pass_time(start + HOUR)
        assert stations[0].states() == [("hesitating", "waiting")]
        assert len(stations[0].office.decisions()) == 1
    finally:
        for station in stations:
            station.close()


def test_a_rule_that_begins_to_hold_with_time_alone_is_seen_by_the_sweep(settings: Settings, start: int) -> None:
    stopped = trigger(
        settings, "stopped", "application_opened_days_since_last_lifetime > 1", again_after=DAY
    )  # fmt: skip
    station = Station(settings, [stopped], start)
    try:
        station.happen(happened("Application Opened", "c1", start))
        station.pass_time(start + DAY - HOUR)
        assert station.messages() == []
        station.pass_time(start + DAY + 7 * HOUR)
        assert station.states() == [("stopped", "waiting")]
        station.happen(happened("Application Opened", "c1", start + DAY + 8 * HOUR))
        assert station.states() == [("stopped", "cancelled")]
    finally:
        station.close()


def test_what_held_before_anybody_watched_fires_nothing(settings: Settings, start: int) -> None:
    ordered = trigger(settings, "ordered", "order_completed_count_lifetime >= 1")
    station = Station(settings, [ordered], start)
    try:
        station.pass_time(start + HOUR)
        station.pass_time(start + 8 * HOUR)
        assert station.messages() == []
        # Of one who comes anew it fires.
        station.happen(happened("Order Completed", "new", start + 9 * HOUR, order_id="1"))
        assert station.states() == [("ordered", "waiting")]
    finally:
        station.close()


def test_with_a_clock_of_the_data_time_moves_with_events(settings: Settings, start: int) -> None:
    of_the_past = replace(settings, profile=settings.profile.model_copy(update={"clock": "data_end"}))
    station = Station(of_the_past, [cart_left(settings)], start)
    try:
        station.happen(happened("Product Added", "c1", start, product_id="p1"))
        station.pass_time(start + DAY)
        assert station.messages() == []
        station.happen(happened("Page Viewed", "c2", start + 2 * HOUR))
        assert station.states() == [("cart_left", "waiting")]
    finally:
        station.close()


def test_a_look_between_features_and_record_sees_the_events_of_the_features(station: Station, start: int) -> None:
    """Both are folded one after the other: of an order and a newer cart the record may have the order alone yet."""
    station.happen(happened("Product Added", "c1", start, "first", product_id="p1"))
    station.happen(happened("Order Completed", "c1", start + MINUTE, order_id="1"))
    key, moments = moments_key(station.settings), open_moments(station.settings)
    (before,) = moments.get_many(key, ["c1"]).values()
    station.office.keep(happened("Product Added", "c1", start + 2 * MINUTE, "second", product_id="p2"))
    (after,) = moments.get_many(key, ["c1"]).values()
    moments.replace_many(key, [before])
    station.pass_time(start + 3 * MINUTE)
    moments.replace_many(key, [after])
    station.pass_time(start + 2 * HOUR)
    assert station.states() == [("cart_left", "waiting")]


def test_an_action_whose_purpose_nobody_knows_is_not_delivered(station: Station, start: int) -> None:
    """Decided, then the process died and the catalogue has other actions: no consent could be asked for."""
    # Chance decides who gets the action that the trigger offers.
    customers = [f"c{number}" for number in range(1, 9)]
    station.happen(*(opened(who, start + number, number) for who in customers for number in range(3)))
    chosen = {told["customer_id"]: told["decision"]["action"] for told in station.told()}
    customer = next(who for who, action in chosen.items() if action == "line_coupon")
    catalogue = station.firing.catalogue()
    others = tuple(action for action in catalogue.actions if action.id != "line_coupon")
    assert len(others) == len(catalogue.actions) - 1
    changed = replace(station.firing, catalogue=lambda: replace(catalogue, actions=others))
    (edge,) = station.outbox.edges([customer])
    seen = Moment(customer, station.now, {}, ())
    (message,) = changed.messages(hesitating(station.settings), edge, seen)
    assert json.loads(message.payload)["data"]["decision"] == {
        "decision_id": None, "action": None, "problem": "action_not_offered_any_more"
    }  # fmt: skip


def test_an_erased_customer_leaves_the_outbox(station: Station, start: int) -> None:
    station.happen(*(opened("c1", start + number, number) for number in range(3)))
    station.happen(happened("Product Added", "c1", start + HOUR, product_id="p1"))
    settings = station.settings
    held = access_report(settings, "c1", actor="tests").messages
    assert [item["trigger"] for item in held] == ["hesitating"]
    report = erase(settings, "c1", reason="case 1", actor="tests")
    assert report.found == []
    station.pass_time(start + DAY)
    assert station.messages() == []
    assert b"mail-1" not in b"".join(path.read_bytes() for path in settings.workspace.root.glob("outbox.db*"))
